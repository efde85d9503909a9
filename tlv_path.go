package dirty

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxPathSteps = 16 // shown; of more, the first and the last ones
	maxPathKey   = 32 // bytes of a key that are shown
)

// pathString writes steps as people read them: kwargs.image[3]. Keys that
// are no plain names are quoted, and cut if they are long.
func pathString(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		if len(steps) > maxPathSteps {
			if i == maxPathSteps/2 {
				b.WriteString("...")
			}
			if i >= maxPathSteps/2 && i < len(steps)-maxPathSteps/2 {
				continue
			}
		}
		switch {
		case !s.isKey:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case isName(s.key):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		default:
			key := s.key
			if len(key) > maxPathKey {
				key = strings.ToValidUTF8(key[:maxPathKey], "") + "..."
			}
			b.WriteString("[" + strconv.Quote(key) + "]")
		}
	}
	return b.String()
}

func isName(s string) bool {
	if s == "" || len(s) > maxPathKey {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// pathAt returns the path to the value of data that begins at the offset or
// contains it. Everything before the offset must be well-formed. Errors are
// rare, so the way is walked again instead of being kept track of.
func pathAt(data []byte, offset int) string {
	type level struct {
		left int
		step step
	}
	var levels []level
	c := cursor{data: data}
	for {
		for n := len(levels); n > 0 && levels[n-1].left == 0; n-- {
			levels = levels[:n-1]
		}
		if n := len(levels); n > 0 {
			top := &levels[n-1]
			top.left--
			top.step.index++
			if top.step.isKey {
				if c.off >= offset || c.off+c.size() > offset {
					levels = levels[:n-1] // the key is at fault: name its dict
					break
				}
				top.step.key = string(c.body())
			}
		}
		if c.off >= offset {
			break
		}
		if k := c.kind(); k == KindList || k == KindDict {
			levels = append(levels, level{c.count(), step{index: -1, isKey: k == KindDict}})
		} else if size := c.size(); c.off+size > offset {
			break
		} else {
			c.off += size
		}
	}
	steps := make([]step, len(levels))
	for i, l := range levels {
		steps[i] = l.step
	}
	return pathString(steps)
}

// locate finishes an error that has come all the way up. Too deep a value
// that has passed the same container twice is a cycle.
func (e *MarshalError) locate() *MarshalError {
	slices.Reverse(e.steps)
	e.Path = pathString(e.steps)
	seen := make(map[visit]bool, len(e.visited))
	for _, v := range e.visited {
		if seen[v] {
			e.Err, e.Reason = ErrUnsupportedType, "it contains itself"
			break
		}
		seen[v] = true
	}
	e.steps, e.visited = nil, nil
	return e
}
