package dirty

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxPathSteps = 16 // how many steps are shown: half of them from each end
	maxPathKey   = 32 // how many bytes of a key are shown
)

// pathString returns the steps in the form kwargs.image[3]. Keys that are no plain
// names are quoted. Long keys and long paths are shortened.
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

// isName reports whether a key is short and looks like a name in a program.
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

// pathAt returns the path to the value that begins at an offset of data or
// contains it. Everything before the offset must be well-formed.
//
// Nothing keeps track of the path while values are read, because errors are rare.
// So pathAt goes from the start of data to the offset once more.
func pathAt(data []byte, offset int) string {
	type level struct { // a list or a dict around the current value
		left int  // elements that are still to come
		step step // to the current value
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

// locate fills in the path of an error that has come all the way up. If a value
// is too deep and the error has passed a container twice, the value contains
// itself.
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
