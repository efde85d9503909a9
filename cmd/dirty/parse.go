package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gunicorn-go/dirty"
)

// syntaxError is a place in a line where something else was expected.
type syntaxError struct {
	pos  int
	text string
}

func (e *syntaxError) Error() string { return e.text }

// parser turns the notations of values, decode's JSON and dirty.Diagnose's,
// into their encoding. They differ only in how they write what JSON lacks.
// encoding/json would lose what matters here: the order and repetition of
// keys, and the difference between 1 and 1.0.
type parser struct {
	in   []byte
	pos  int
	json bool
	out  []byte // what is encoded is appended here
}

func (p *parser) failf(format string, args ...any) error {
	return &syntaxError{p.pos, fmt.Sprintf(format, args...)}
}

// peek skips white space and returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	for p.pos < len(p.in) && (p.in[p.pos] == ' ' || p.in[p.pos] == '\t') {
		p.pos++
	}
	if p.pos == len(p.in) {
		return 0
	}
	return p.in[p.pos]
}

// skip moves over the text if it comes next.
func (p *parser) skip(text string) bool {
	p.peek()
	if !bytes.HasPrefix(p.in[p.pos:], []byte(text)) {
		return false
	}
	p.pos += len(text)
	return true
}

func (p *parser) want(text string) error {
	if !p.skip(text) {
		return p.failf("want %q", text)
	}
	return nil
}

// word returns what comes next up to a space or the end.
func (p *parser) word() string {
	p.peek()
	rest := p.in[p.pos:]
	if i := bytes.IndexByte(rest, ' '); i >= 0 {
		rest = rest[:i]
	}
	p.pos += len(rest)
	return string(rest)
}

// value encodes the next value; depth is how many lists and dicts are around
// it.
func (p *parser) value(depth int) error {
	c := p.peek()
	switch {
	case c == '"':
		return p.sized(dirty.KindString, p.text)
	case c == '[' || c == '{':
		if depth == dirty.DefaultMaxDepth {
			return p.failf("more than %d lists and dicts within each other", dirty.DefaultMaxDepth)
		}
		p.pos++
		if c == '[' {
			return p.list(depth + 1)
		}
		return p.dict(depth + 1)
	case !p.json && p.skip("-Infinity"):
		p.out = dirty.AppendFloat64(p.out, math.Inf(-1))
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case p.skip("null"):
		p.out = dirty.AppendNone(p.out)
	case p.skip("true"):
		p.out = dirty.AppendBool(p.out, true)
	case p.skip("false"):
		p.out = dirty.AppendBool(p.out, false)
	case !p.json:
		return p.diagnostic()
	default:
		return p.failf("want a value")
	}
	return nil
}

// diagnostic encodes what dirty.Diagnose writes in its own way.
func (p *parser) diagnostic() error {
	switch {
	case p.skip("h'"):
		return p.sized(dirty.KindBytes, func() error { return p.hex("'") })
	case p.skip("NaN("):
		return p.floatBits(")")
	case p.skip("NaN"):
		// Python's, not math.NaN(), which differs in the last bit.
		p.out = dirty.AppendFloat64(p.out, math.Float64frombits(0x7ff8000000000000))
	case p.skip("Infinity"):
		p.out = dirty.AppendFloat64(p.out, math.Inf(1))
	default:
		return p.failf("want a value")
	}
	return nil
}

// sized encodes bytes or a string, whose length is known when its content
// has been appended.
func (p *parser) sized(kind dirty.Kind, content func() error) error {
	at := len(p.out)
	p.out = append(p.out, byte(kind), 0, 0, 0, 0)
	if err := content(); err != nil {
		return err
	}
	p.setPrefix(at, len(p.out)-at-5)
	return nil
}

// setPrefix fills in the length or count of the value that begins at p.out[at].
// It fits: it counts bytes or values of one line.
func (p *parser) setPrefix(at, n int) { binary.BigEndian.PutUint32(p.out[at+1:], uint32(n)) }

func (p *parser) list(depth int) error {
	at := len(p.out)
	p.out = dirty.AppendListHeader(p.out, 0)
	n := 0
	for ; !p.skip("]"); n++ {
		if err := p.separator(n); err != nil {
			return err
		}
		if err := p.value(depth); err != nil {
			return err
		}
	}
	p.setPrefix(at, n)
	return nil
}

// dict encodes what follows an opening brace: a dict, or in JSON one of the
// objects that stand for something else.
func (p *parser) dict(depth int) error {
	at := len(p.out)
	p.out = dirty.AppendDictHeader(p.out, 0)
	n := 0
	for ; !p.skip("}"); n++ {
		if err := p.separator(n); err != nil {
			return err
		}
		key := len(p.out)
		if err := p.key(); err != nil {
			return err
		}
		if name := p.out[key+5:]; n == 0 && p.json && len(name) > 0 && name[0] == '$' {
			special := string(name)
			p.out = p.out[:at]
			return p.special(special, depth)
		}
		if err := p.value(depth); err != nil {
			return err
		}
	}
	p.setPrefix(at, n)
	return nil
}

// separator moves over the comma before all but the first of several.
func (p *parser) separator(n int) error {
	if n > 0 {
		return p.want(",")
	}
	return nil
}

// key encodes a key and moves over its colon.
func (p *parser) key() error {
	if p.peek() != '"' {
		return p.failf("want a key, which is a string")
	}
	if err := p.sized(dirty.KindString, p.text); err != nil {
		return err
	}
	return p.want(":")
}

// special encodes an object of JSON whose first key, which was read, begins
// with a $.
func (p *parser) special(key string, depth int) error {
	var err error
	switch key {
	case keyBytes:
		err = p.sized(dirty.KindBytes, p.base64)
	case keyFloat:
		if err = p.want(`"`); err == nil {
			err = p.floatBits(`"`)
		}
	case keyDict:
		err = p.pairs(depth)
	default:
		return p.failf("unknown key %q; a dict with such a first key is written {%q: [[key, value], ...]}", key, keyDict)
	}
	if err != nil {
		return err
	}
	return p.want("}")
}

// pairs encodes a dict that is written as a list of keys and values.
func (p *parser) pairs(depth int) error {
	at := len(p.out)
	p.out = dirty.AppendDictHeader(p.out, 0)
	if err := p.want("["); err != nil {
		return err
	}
	n := 0
	for ; !p.skip("]"); n++ {
		if err := p.separator(n); err != nil {
			return err
		}
		if err := p.want("["); err != nil {
			return err
		}
		if p.peek() != '"' {
			return p.failf("want a key, which is a string")
		}
		if err := p.sized(dirty.KindString, p.text); err != nil {
			return err
		}
		if err := p.want(","); err != nil {
			return err
		}
		if err := p.value(depth); err != nil {
			return err
		}
		if err := p.want("]"); err != nil {
			return err
		}
	}
	p.setPrefix(at, n)
	return nil
}

// number encodes an int, or with a point or an exponent a float.
func (p *parser) number() error {
	start := p.pos
	end, float := start, false
	for ; end < len(p.in); end++ {
		c := p.in[end]
		if c == '.' || c == 'e' || c == 'E' {
			float = true
		} else if c != '-' && c != '+' && (c < '0' || c > '9') {
			break
		}
	}
	text := string(p.in[start:end])
	if float {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return p.failf("not a float64")
		}
		p.out = dirty.AppendFloat64(p.out, v)
	} else {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p.failf("not an int64")
		}
		p.out = dirty.AppendInt64(p.out, v)
	}
	p.pos = end
	return nil
}

// text appends the content of a string.
func (p *parser) text() error {
	if err := p.want(`"`); err != nil {
		return err
	}
	start := len(p.out)
	for {
		rest := p.in[p.pos:]
		i := bytes.IndexAny(rest, `"\`)
		if i < 0 {
			return p.failf("string without an end")
		}
		p.out = append(p.out, rest[:i]...)
		p.pos += i
		if rest[i] == '"' {
			break
		}
		if err := p.escape(); err != nil {
			return err
		}
	}
	if !utf8.Valid(p.out[start:]) {
		return p.failf("string is not UTF-8")
	}
	p.pos++
	return nil
}

// escape appends the character that a backslash introduces. JSON's escapes
// are read everywhere, Go's further ones in the text form only.
func (p *parser) escape() error {
	if p.pos+1 == len(p.in) {
		return p.failf("string without an end")
	}
	c := p.in[p.pos+1]
	switch {
	case c == 'u':
		return p.surrogates()
	case c == 'x' && !p.json:
		// The bytes of a sound string are never written so beyond ASCII.
		return p.codePoint(2, 0x7f)
	case c == 'U' && !p.json:
		return p.codePoint(8, utf8.MaxRune)
	}
	i := bytes.IndexByte([]byte(`"\/bfnrtav`), c)
	if i < 0 || p.json && (c == 'a' || c == 'v') {
		return p.failf("unknown escape")
	}
	p.out = append(p.out, "\"\\/\b\f\n\r\t\a\v"[i])
	p.pos += 2
	return nil
}

// codePoint appends the character of an escape of so many hexadecimal digits.
func (p *parser) codePoint(digits int, most rune) error {
	r, ok := p.digits(p.pos+2, digits)
	if !ok || r < 0 || r > most || utf16.IsSurrogate(r) {
		return p.failf("not a Unicode character")
	}
	p.out = utf8.AppendRune(p.out, r)
	p.pos += 2 + digits
	return nil
}

// surrogates appends the character of \u0000, or of two such for one beyond
// U+FFFF. A half of a pair alone is no character.
func (p *parser) surrogates() error {
	high, ok := p.digits(p.pos+2, 4)
	if !ok || !utf16.IsSurrogate(high) {
		return p.codePoint(4, utf8.MaxRune)
	}
	low, ok := p.digits(p.pos+8, 4)
	r := utf16.DecodeRune(high, low)
	if !ok || r == utf8.RuneError || string(p.in[p.pos+6:p.pos+8]) != `\u` {
		return p.failf("not a Unicode character")
	}
	p.out = utf8.AppendRune(p.out, r)
	p.pos += 12
	return nil
}

// digits reads n hexadecimal digits at p.in[at:].
func (p *parser) digits(at, n int) (rune, bool) {
	if at+n > len(p.in) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.in[at:at+n]), 16, 32)
	return rune(v), err == nil
}

// until returns the text up to an end, in which nothing is escaped, and
// moves behind both.
func (p *parser) until(end string) ([]byte, error) {
	i := bytes.Index(p.in[p.pos:], []byte(end))
	if i < 0 {
		return nil, p.failf("text without an end")
	}
	text := p.in[p.pos : p.pos+i]
	p.pos += i + len(end)
	return text, nil
}

// base64 appends the content of bytes in JSON.
func (p *parser) base64() error {
	if err := p.want(`"`); err != nil {
		return err
	}
	start := p.pos
	text, err := p.until(`"`)
	if err != nil {
		return err
	}
	if p.out, err = base64.StdEncoding.AppendDecode(p.out, text); err != nil {
		p.pos = start
		return p.failf("not base64")
	}
	return nil
}

// hex appends bytes written in hexadecimal digits, up to an end.
func (p *parser) hex(end string) error {
	start := p.pos
	text, err := p.until(end)
	if err != nil {
		return err
	}
	if p.out, err = hex.AppendDecode(p.out, text); err != nil {
		p.pos = start
		return p.failf("not hexadecimal, two digits a byte")
	}
	return nil
}

// floatBits encodes a float from the 16 hexadecimal digits of its bits.
func (p *parser) floatBits(end string) error {
	start := p.pos
	p.out = append(p.out, byte(dirty.KindFloat64))
	at := len(p.out)
	if err := p.hex(end); err != nil {
		return err
	}
	if len(p.out)-at != 8 {
		p.pos = start
		return p.failf("want 16 hexadecimal digits")
	}
	return nil
}
