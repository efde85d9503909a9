package server

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// KeyMatcher returns a function that reports whether a key of the stash matches
// a pattern. It may be called concurrently.
//
// The rules are those of Python's fnmatch.fnmatchcase, applied to str(key). In a
// pattern these are special:
//
//   - A star matches any text, also none. A slash in it is nothing special.
//   - A question mark matches any one character.
//   - [a-z_] matches one of these characters.
//   - [!a-z_] matches one character that is none of these.
//
// Nothing quotes: [*] matches a star, and a [ without a ] matches itself. A ]
// that comes first in brackets stands for itself, and so does a - that comes
// first or last. The empty pattern matches all keys.
//
// The matcher takes memory of about 40 times the pattern. At worst a match takes
// time for each pair of a character of the pattern and one of the key: patterns of
// others are for [FilterKeys], which bounds that.
func KeyMatcher(pattern string) func(key any) bool {
	g := compileGlob(pattern)
	return func(key any) bool {
		m := matcher{glob: g, left: math.MaxInt, check: math.MaxInt}
		return pattern == "" || m.match(pythonText(key))
	}
}

// FilterKeys returns the keys that match a pattern, by the rules of
// [KeyMatcher], in their order. It uses the memory of keys for the result.
//
// It is for a [Store], whose patterns are those of clients: it ends with the
// context, and after a second or a few with an error if there is too much to
// compare.
func FilterKeys(ctx context.Context, keys []any, pattern string) ([]any, error) {
	if pattern == "" {
		return keys, nil
	}
	m := matcher{glob: compileGlob(pattern), ctx: ctx, left: maxSteps, check: stepsPerCheck}
	matching := keys[:0]
	for _, key := range keys {
		text := pythonText(key)
		m.spend(1 + len(text)/16) // for making the text
		if m.match(text) {
			matching = append(matching, key)
		}
		if m.err != nil {
			return nil, m.err
		}
	}
	return matching, nil
}

const (
	maxSteps      = 1 << 27 // comparisons for one call of FilterKeys
	stepsPerCheck = 1 << 20 // comparisons between two looks at the context
)

// glob is a pattern in parts, between each two of which there was a star.
type glob [][]globChar

// globChar matches one character: one from lo to hi, or if there is a set, one
// that is in it or, negated, one that is not.
type globChar struct {
	lo, hi rune
	set    []runeRange // in order, without overlaps
	negate bool
}

type runeRange struct{ lo, hi rune }

var (
	anyChar = globChar{lo: 0, hi: utf8.MaxRune}
	noChar  = globChar{lo: 1, hi: 0}
)

func (c *globChar) matches(r rune) bool {
	if len(c.set) == 0 {
		return c.lo <= r && r <= c.hi
	}
	_, found := slices.BinarySearchFunc(c.set, r, func(in runeRange, r rune) int {
		switch {
		case in.hi < r:
			return -1
		case in.lo > r:
			return 1
		}
		return 0
	})
	return found != c.negate
}

func compileGlob(pattern string) glob {
	g := glob{nil}
	add := func(c globChar) { g[len(g)-1] = append(g[len(g)-1], c) }
	p := []rune(pattern)
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*':
			g = append(g, nil)
			continue
		case '?':
			add(anyChar)
			continue
		case '[':
			if n := setLength(p[i+1:]); n >= 0 {
				add(compileSet(p[i+1 : i+1+n]))
				i += n + 1
				continue
			}
		}
		add(globChar{lo: p[i], hi: p[i]})
	}
	return g
}

// setLength returns how many characters there are before the ] that ends a
// set, or -1 if there is none.
func setLength(p []rune) int {
	n := 0
	if n < len(p) && p[n] == '!' {
		n++
	}
	if n < len(p) && p[n] == ']' {
		n++
	}
	for ; n < len(p); n++ {
		if p[n] == ']' {
			return n
		}
	}
	return -1
}

// compileSet compiles what is in brackets, which is not empty.
func compileSet(p []rune) globChar {
	negate := p[0] == '!'
	if negate {
		p = p[1:]
	}
	var set []runeRange
	add := func(lo, hi rune) { set = append(set, runeRange{lo, hi}) }
	dropped := false
	for i := 0; i < len(p); i++ {
		isRange := i+2 < len(p) && p[i+1] == '-'
		switch {
		case isRange && p[i] > p[i+2]: // there is nothing in it
			dropped = true
			i += 2
		case dropped && !negate && len(set) == 0 && p[i] == '!':
			// fnmatch leaves the empty range out, and then sees a ! in front.
			negate = true
			if isRange {
				add('-', '-')
				i++
			}
		case isRange:
			add(p[i], p[i+2])
			i += 2
		default:
			add(p[i], p[i])
		}
	}
	set = mergeRanges(set)
	switch {
	case len(set) == 0 && negate:
		return anyChar
	case len(set) == 0:
		return noChar
	case len(set) == 1 && !negate:
		return globChar{lo: set[0].lo, hi: set[0].hi}
	}
	return globChar{set: set, negate: negate}
}

// mergeRanges sorts ranges and joins those that overlap.
func mergeRanges(set []runeRange) []runeRange {
	slices.SortFunc(set, func(a, b runeRange) int { return cmp.Compare(a.lo, b.lo) })
	merged := set[:0]
	for _, r := range set {
		if n := len(merged); n > 0 && r.lo <= merged[n-1].hi {
			merged[n-1].hi = max(merged[n-1].hi, r.hi)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// matcher matches a glob, until it has taken too many steps or its context has
// ended. Then err says why, and the results are of no use.
type matcher struct {
	glob  glob
	ctx   context.Context
	left  int // steps that it may take
	check int // steps until it looks at the context
	err   error
}

// spend counts steps.
func (m *matcher) spend(steps int) {
	if m.left -= steps; m.left < 0 && m.err == nil {
		m.err = dirtyError("the pattern takes too long for these keys")
	}
	if m.check -= steps; m.check < 0 {
		m.check = stepsPerCheck
		if m.err == nil && m.ctx != nil && m.ctx.Err() != nil {
			m.err = context.Cause(m.ctx)
		}
	}
}

// match matches a whole text. Each part takes the first place that it can
// have, but for the last one, which must be at the end: what is before it is the
// star's.
func (m *matcher) match(text string) bool {
	text, ok := m.cutPrefix(text, m.glob[0])
	if !ok || len(m.glob) == 1 {
		return ok && text == ""
	}
	last := len(m.glob) - 1
	for _, part := range m.glob[1:last] {
		if text, ok = m.cutFirst(text, part); !ok {
			return false
		}
	}
	return m.hasSuffix(text, m.glob[last])
}

// cutPrefix returns the rest of a text behind what a part matches at its start.
func (m *matcher) cutPrefix(text string, part []globChar) (rest string, ok bool) {
	steps := 0
	for i := range part {
		r, size := utf8.DecodeRuneInString(text)
		c := &part[i]
		steps += 1 + bits.Len(uint(len(c.set)))
		if size == 0 || !c.matches(r) {
			m.spend(steps)
			return "", false
		}
		text = text[size:]
	}
	m.spend(steps)
	return text, true
}

// cutFirst returns the rest of a text behind the first place that a part
// matches.
func (m *matcher) cutFirst(text string, part []globChar) (rest string, ok bool) {
	for len(text) >= len(part) && m.err == nil { // a character has at least a byte
		if rest, ok = m.cutPrefix(text, part); ok {
			return rest, true
		}
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	return "", false
}

// hasSuffix reports whether a part matches the end of a text.
func (m *matcher) hasSuffix(text string, part []globChar) bool {
	begin := len(text)
	for range part {
		_, size := utf8.DecodeLastRuneInString(text[:begin])
		if size == 0 {
			return false
		}
		begin -= size
	}
	_, ok := m.cutPrefix(text[begin:], part)
	return ok
}
