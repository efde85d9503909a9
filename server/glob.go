package server

// KeyMatcher returns a function that reports whether a key of the stash
// matches a pattern. The rules are those of Python's fnmatch, applied to str of the
// key, with regard to case:
//
//   - any text, also none; a slash is nothing special
//     ?        any one character
//     [a-z_]   one of these characters
//     [!a-z_]  one character that is none of these
//
// Nothing quotes: [*] matches a star, and a [ that no ] follows itself. A ] that
// comes first in brackets, and a - that comes first or last, stand for themselves.
// The empty pattern matches all keys.
//
// It takes memory of about 60 times the pattern, and a match at most time for
// each pair of their characters.
func KeyMatcher(pattern string) func(key any) bool {
	match := keyMatcher(pattern, func() bool { return false })
	return func(key any) bool {
		ok, _ := match(key)
		return ok
	}
}

// keyMatcher is KeyMatcher for patterns that may take long: stop is asked now
// and then whether to stop, at which the result is not done.
func keyMatcher(pattern string, stop func() bool) func(key any) (ok, done bool) {
	if pattern == "" {
		return func(any) (bool, bool) { return true, true }
	}
	m := matcher{glob: compileGlob(pattern), stop: stop}
	return func(key any) (bool, bool) {
		ok := m.match([]rune(pythonText(key)))
		return ok && !m.stopped, !m.stopped
	}
}

// glob is a pattern in parts, between each two of which there was a star.
type glob [][]globChar

// globChar matches one character: one of a set, or any.
type globChar struct {
	any    bool
	negate bool
	set    []runeRange // a single character is one range
}

type runeRange struct{ from, to rune }

func (c globChar) matches(r rune) bool {
	if c.any {
		return true
	}
	for _, in := range c.set {
		if in.from <= r && r <= in.to {
			return !c.negate
		}
	}
	return c.negate
}

func compileGlob(pattern string) glob {
	g := glob{nil}
	add := func(c globChar) { g[len(g)-1] = append(g[len(g)-1], c) }
	p := []rune(pattern)
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*':
			g = append(g, nil)
		case '?':
			add(globChar{any: true})
		case '[':
			if n := setLength(p[i+1:]); n >= 0 {
				add(compileSet(p[i+1 : i+1+n]))
				i += n + 1
				continue
			}
			fallthrough
		default:
			add(globChar{set: []runeRange{{p[i], p[i]}}})
		}
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
	var c globChar
	if p[0] == '!' {
		c.negate = true
		p = p[1:]
	}
	add := func(from, to rune) { c.set = append(c.set, runeRange{from, to}) }
	dropped := false
	for i := 0; i < len(p); i++ {
		isRange := i+2 < len(p) && p[i+1] == '-'
		switch {
		case isRange && p[i] > p[i+2]: // there is nothing in it
			dropped = true
			i += 2
		case dropped && !c.negate && len(c.set) == 0 && p[i] == '!':
			// fnmatch leaves the empty range out, and then sees a ! in front.
			c.negate = true
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
	return c
}

// matcher matches a glob, unless it is stopped.
type matcher struct {
	glob    glob
	stop    func() bool
	steps   int // since stop was asked
	stopped bool
}

// stepsToStop is how many characters are compared before stop is asked.
const stepsToStop = 1 << 20

// match matches a whole text. Each part takes the first place that it can
// have, but for the last one, which must be at the end: what is before it is the
// star's.
func (m *matcher) match(t []rune) bool {
	first, last := m.glob[0], m.glob[len(m.glob)-1]
	if !m.matchesAt(first, t) {
		return false
	}
	if len(m.glob) == 1 {
		return len(t) == len(first)
	}
	t = t[len(first):]
	for _, part := range m.glob[1 : len(m.glob)-1] {
		for !m.matchesAt(part, t) {
			if len(t) == 0 || m.stopped {
				return false
			}
			t = t[1:]
		}
		t = t[len(part):]
	}
	tail := len(t) - len(last)
	return tail >= 0 && m.matchesAt(last, t[tail:])
}

// matchesAt reports whether a text begins with what a part matches.
func (m *matcher) matchesAt(part []globChar, t []rune) bool {
	if len(t) < len(part) {
		return false
	}
	for i, c := range part {
		if m.steps++; m.steps == stepsToStop {
			m.steps = 0
			m.stopped = m.stopped || m.stop()
		}
		if !c.matches(t[i]) {
			return false
		}
	}
	return true
}
