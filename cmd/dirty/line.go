package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/gunicorn-go/dirty"
)

// errBroken is the error for a line of a frame of which bytes are missing.
var errBroken = errors.New("a broken frame cannot be encoded")

// parseText reads what printText writes.
func parseText(p *parser, l *line) error {
	if p.peek() == '!' {
		return errBroken
	}
	if p.skip("#") {
		text, err := p.word()
		if err != nil {
			return err
		}
		conn, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return p.failf("want the number of a connection after #")
		}
		l.conn = uint32(conn)
	}
	switch c := p.peek(); c {
	case '<', '>':
		l.dir = byte(c)
		p.next()
	default:
		return p.failf("want > or <, or a line of JSON")
	}
	name, err := p.word()
	if err != nil {
		return err
	}
	if name == "broken" {
		return errBroken
	}
	if l.typ, err = dirty.ParseMessageType(name); err != nil {
		return err
	}
	if err := p.want("id="); err != nil {
		return err
	}
	id, err := p.word()
	if err != nil {
		return err
	}
	if l.id, err = strconv.ParseUint(id, 10, 64); err != nil {
		return p.failf("an id is a number from 0 to %d", uint64(math.MaxUint64))
	}
	if p.skip("size=") {
		if _, err := p.word(); err != nil { // the length of the payload counts
			return err
		}
	}
	if p.peek() == endOfLine {
		return nil // no payload
	}
	return p.value(0)
}

// parseJSON reads what printJSON writes; the keys can come in any order.
func parseJSON(p *parser, l *line) error {
	p.json = true
	p.next() // the brace
	var length int64 = -1
	var hasType, hasPayload, isBroken bool
	for n := 0; !p.skip("}"); n++ {
		if err := p.separator(n); err != nil {
			return err
		}
		key, err := p.shortText(p.key)
		if err != nil {
			return err
		}
		switch key {
		case "conn":
			var v uint64
			v, err = p.unsigned(32)
			l.conn = uint32(v)
		case "dir":
			var dir string
			if dir, err = p.shortText(p.string); dir != "<" && dir != ">" && err == nil {
				err = p.failf(`want "<" or ">"`)
			} else if err == nil {
				l.dir = dir[0]
			}
		case "type":
			var name string
			if name, err = p.shortText(p.string); err == nil {
				l.typ, err = dirty.ParseMessageType(name)
				hasType = true
			}
		case "id":
			l.id, err = p.unsigned(64)
		case "length":
			var v uint64
			v, err = p.unsigned(32)
			length = int64(v)
		case "payload", "raw":
			if hasPayload {
				return p.failf("one payload or raw a frame")
			}
			hasPayload, l.raw = true, key == "raw"
			if l.raw {
				err = p.base64()
			} else {
				err = p.value(0)
			}
		case "offset", "partial", "error": // they are not a part of the frame
			isBroken = isBroken || key == "error"
			err = p.ignoreValue()
		default:
			return p.failf("unknown key %q", key)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case isBroken && (!hasType || !l.raw || length != int64(len(p.out)-dirty.HeaderSize)):
		return errBroken
	case !hasType:
		return errors.New(`no "type"`)
	}
	return nil
}

// shortText calls parse, which encodes a string. It returns the string and removes it
// from the payload again.
func (p *parser) shortText(parse func() error) (string, error) {
	at := len(p.out)
	if err := p.withLimit(prefixSize+maxWord, fmt.Sprintf("a word of more than %d bytes", maxWord), parse); err != nil {
		return "", err
	}
	text := string(p.out[at+prefixSize:])
	p.out = p.out[:at]
	return text, nil
}

// string encodes a string. Any other value is an error.
func (p *parser) string() error {
	if p.peek() != '"' {
		return p.failf("want a string")
	}
	return p.sized(dirty.KindString, p.text)
}

// ignoreValue reads a value that is not a part of the payload. Its strings can
// be long.
func (p *parser) ignoreValue() error {
	at := len(p.out)
	p.ignoring = true
	err := p.withLimit(readSize*2, "too many values", func() error { return p.value(0) })
	p.ignoring, p.out = false, p.out[:at]
	return err
}

// unsigned reads a number that may be quoted, as ids are.
func (p *parser) unsigned(bits int) (uint64, error) {
	quoted := p.skip(`"`)
	digits, err := p.token(isDigit)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(digits, 10, bits)
	if err != nil {
		return 0, p.failf("want a number of %d bits without a sign", bits)
	}
	if quoted && p.look() != '"' {
		return 0, p.failf(`want a "`)
	}
	if quoted {
		p.next()
	}
	return v, nil
}

func isDigit(c int) bool { return '0' <= c && c <= '9' }
