package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gunicorn-go/dirty"
)

// value encodes the next value; depth is how many lists and dicts are around
// it.
func (p *parser) value(depth int) error {
	if err := p.anyValue(depth); err != nil {
		return err
	}
	return p.checkLimit()
}

func (p *parser) anyValue(depth int) error {
	c := p.peek()
	switch {
	case c == '"':
		return p.sized(dirty.KindString, p.text)
	case c == '[' || c == '{':
		if depth == dirty.DefaultMaxDepth {
			return p.failf("more than %d lists and dicts within each other", dirty.DefaultMaxDepth)
		}
		p.next()
		if c == '[' {
			return p.list(depth + 1)
		}
		return p.dict(depth + 1)
	case c == '-' && !p.json && p.skip("-Infinity"):
		p.out = dirty.AppendFloat64(p.out, math.Inf(-1))
	case c == '-' || isDigit(c):
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

// diagnostic encodes what the text form writes in its own way.
func (p *parser) diagnostic() error {
	switch {
	case p.skip("h'"):
		return p.sized(dirty.KindBytes, func() error { return p.hex("'") })
	case p.skip("NaN("):
		return p.floatBits(")")
	case p.skip("NaN"):
		p.out = dirty.AppendFloat64(p.out, math.Float64frombits(pythonNaN))
	case p.skip("Infinity"):
		p.out = dirty.AppendFloat64(p.out, math.Inf(1))
	default:
		return p.failf("want a value")
	}
	return nil
}

// sized encodes bytes or a string. It fills in the length when content has appended
// the rest.
func (p *parser) sized(kind dirty.Kind, content func() error) error {
	at := len(p.out)
	p.out = append(p.out, byte(kind), 0, 0, 0, 0)
	if err := content(); err != nil {
		return err
	}
	p.setPrefix(at, len(p.out)-at-prefixSize)
	return nil
}

// setPrefix fills in the length or count of the value that begins at p.out[at].
// It fits: it counts bytes or values of one payload.
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

// dict encodes what follows an opening brace. That is a dict, or in JSON an object
// that stands for something else.
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
		if name := p.out[key+prefixSize:]; n == 0 && p.json && len(name) > 0 && name[0] == '$' {
			special := string(name[:min(len(name), maxShownKey)])
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

// separator moves over the comma between two elements; n is how many came before.
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

// maxShownKey is how many bytes of a key an error shows. The keys that stand for
// something are shorter.
const maxShownKey = 32

// special encodes an object of JSON that stands for something else. Its first key has
// been read.
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

// number encodes an int, or a float if there is a point or an exponent.
func (p *parser) number() error {
	start := p.pos
	text, err := p.token(func(c int) bool {
		return isDigit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
	})
	if err != nil {
		return err
	}
	if strings.ContainsAny(text, ".eE") {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return p.failAt(start, "not a float64")
		}
		p.out = dirty.AppendFloat64(p.out, v)
	} else {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p.failAt(start, "not an int64")
		}
		p.out = dirty.AppendInt64(p.out, v)
	}
	return nil
}

// text appends the content of a string.
func (p *parser) text() error {
	if err := p.want(`"`); err != nil {
		return err
	}
	start := len(p.out)
	for {
		piece := p.buffered(`"\`, readSize)
		p.out = append(p.out, piece...)
		p.discard(len(piece))
		if err := p.checkLimit(); err != nil {
			return err
		}
		c := p.look()
		if c == '"' && !utf8.Valid(p.out[start:]) && !p.ignoring {
			return p.failf("string is not UTF-8")
		}
		if p.ignoring {
			p.out = p.out[:start]
		}
		switch c {
		case '"':
			p.next()
			return nil
		case '\\':
			if err := p.escape(); err != nil {
				return err
			}
		case endOfLine:
			return p.failf("string without an end")
		}
	}
}

// escape appends the character that a backslash introduces. Both forms have the escapes
// of JSON. The text form also has the other ones of Go.
func (p *parser) escape() error {
	start := p.pos
	p.next() // the backslash
	c := p.look()
	if c == endOfLine {
		return p.failf("string without an end")
	}
	r, ok := rune(0), false
	switch {
	case c == 'u':
		p.next()
		r, ok = p.codeUnits()
	case c == 'x' && !p.json:
		p.next()
		// A byte beyond ASCII alone is not a character.
		r, ok = p.hexDigits(2)
		ok = ok && r < utf8.RuneSelf
	case c == 'U' && !p.json:
		p.next()
		r, ok = p.hexDigits(8)
	default:
		i := bytes.IndexByte([]byte(`"\/bfnrtav`), byte(c))
		if i < 0 || p.json && (c == 'a' || c == 'v') {
			return p.failAt(start, "unknown escape")
		}
		p.next()
		r, ok = rune("\"\\/\b\f\n\r\t\a\v"[i]), true
	}
	if !ok || !utf8.ValidRune(r) {
		return p.failAt(start, "not a Unicode character")
	}
	p.out = utf8.AppendRune(p.out, r)
	return nil
}

// codeUnits reads the four digits of an escape such as \u00e9. A character beyond
// U+FFFF is a pair of such escapes; half of a pair alone is not a character.
func (p *parser) codeUnits() (rune, bool) {
	high, ok := p.hexDigits(4)
	if !ok || !utf16.IsSurrogate(high) {
		return high, ok
	}
	for _, c := range `\u` {
		if p.look() != int(c) {
			return 0, false
		}
		p.next()
	}
	low, ok := p.hexDigits(4)
	r := utf16.DecodeRune(high, low)
	return r, ok && r != utf8.RuneError
}

// hexDigits reads n hexadecimal digits.
func (p *parser) hexDigits(n int) (rune, bool) {
	var v rune
	for range n {
		c := p.look()
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
		p.next()
	}
	return v, true
}

// contentReader reads base64 or hexadecimal digits up to their end.
type contentReader struct {
	p   *parser
	end string
}

func (r contentReader) Read(b []byte) (int, error) {
	if r.p.look() == endOfLine {
		return 0, r.p.failf("text without an end")
	}
	n := copy(b, r.p.buffered(r.end, len(b)))
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	r.p.discard(n)
	return n, nil
}

// content appends the bytes that decoder makes of the digits that come next, and moves
// over their end.
func (p *parser) content(end, what string, decoder func(io.Reader) io.Reader) error {
	start := p.pos
	decoded := decoder(contentReader{p, end})
	for {
		p.out = slices.Grow(p.out, bytes.MinRead)
		n, err := decoded.Read(p.out[len(p.out):cap(p.out)])
		p.out = p.out[:len(p.out)+n]
		var syntax *syntaxError
		switch {
		case err == io.EOF:
			p.discard(len(end))
			return p.checkLimit()
		case errors.As(err, &syntax):
			return err
		case err != nil:
			return p.failAt(start, "not %s", what)
		}
		if err := p.checkLimit(); err != nil {
			return err
		}
	}
}

// base64 appends the content of bytes in JSON.
func (p *parser) base64() error {
	if err := p.want(`"`); err != nil {
		return err
	}
	return p.content(`"`, "base64", func(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) })
}

// hex appends bytes written in hexadecimal digits, up to an end.
func (p *parser) hex(end string) error {
	return p.content(end, "hexadecimal, two digits a byte", hex.NewDecoder)
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
		return p.failAt(start, "want 16 hexadecimal digits")
	}
	return nil
}
