package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// errBroken is a line that shows a frame of which bytes are missing.
var errBroken = errors.New("a broken frame cannot be encoded")

// parseText reads what printText writes. It never finds raw payloads.
func parseText(p *parser, l *line) (raw bool, err error) {
	if p.peek() == '!' {
		return false, errBroken
	}
	if p.skip("#") {
		conn, err := strconv.ParseUint(p.word(), 10, 32)
		if err != nil {
			return false, p.failf("want the number of a connection after #")
		}
		l.conn = uint32(conn)
	}
	switch p.peek() {
	case '<', '>':
		l.dir = p.in[p.pos]
		p.pos++
	default:
		return false, p.failf("want > or <, or a line of JSON")
	}
	name := p.word()
	if name == "broken" {
		return false, errBroken
	}
	if l.typ, err = dirty.ParseMessageType(name); err != nil {
		return false, err
	}
	if err := p.want("id="); err != nil {
		return false, err
	}
	if l.id, err = strconv.ParseUint(p.word(), 10, 64); err != nil {
		return false, p.failf("an id is a number from 0 to %d", uint64(math.MaxUint64))
	}
	if p.skip("size=") {
		p.word() // told by the payload
	}
	if p.peek() == 0 {
		return false, nil // no payload
	}
	return false, p.last()
}

// last encodes a value that must be all that is left.
func (p *parser) last() error {
	if err := p.value(0); err != nil {
		return err
	}
	if p.peek() != 0 {
		return p.failf("want the end of the line")
	}
	return nil
}

// parseJSON reads what printJSON writes; the keys may come in any order.
// raw says that the payload was given as it is.
func parseJSON(p *parser, l *line) (raw bool, err error) {
	p.json = true
	p.pos++ // the brace
	var length int64 = -1
	var hasType, hasPayload, isBroken bool
	for n := 0; !p.skip("}"); n++ {
		if err := p.separator(n); err != nil {
			return false, err
		}
		key, err := p.scratch(p.key)
		if err != nil {
			return false, err
		}
		switch key {
		case "conn":
			var v uint64
			v, err = p.unsigned(32)
			l.conn = uint32(v)
		case "dir":
			var dir string
			if dir, err = p.scratch(p.string); dir != "<" && dir != ">" && err == nil {
				err = p.failf(`want "<" or ">"`)
			} else if err == nil {
				l.dir = dir[0]
			}
		case "type":
			var name string
			if name, err = p.scratch(p.string); err == nil {
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
				return false, p.failf("one payload or raw a frame")
			}
			hasPayload, raw = true, key == "raw"
			if raw {
				err = p.base64()
			} else {
				err = p.value(0)
			}
		case "offset", "partial", "error": // what decode knew of its input
			isBroken = isBroken || key == "error"
			_, err = p.scratch(func() error { return p.value(0) })
		default:
			return false, p.failf("unknown key %q", key)
		}
		if err != nil {
			return false, err
		}
	}
	switch {
	case p.peek() != 0:
		return false, p.failf("want the end of the line")
	case isBroken && (!hasType || !raw || length != int64(len(p.out)-dirty.HeaderSize)):
		return false, errBroken
	case !hasType:
		return false, errors.New(`no "type"`)
	}
	return raw, nil
}

// scratch returns what parse appends, without its type and length, and takes
// it away again.
func (p *parser) scratch(parse func() error) (string, error) {
	at := len(p.out)
	if err := parse(); err != nil {
		return "", err
	}
	text := string(p.out[min(at+5, len(p.out)):])
	p.out = p.out[:at]
	return text, nil
}

// string encodes a string and nothing else.
func (p *parser) string() error {
	if p.peek() != '"' {
		return p.failf("want a string")
	}
	return p.sized(dirty.KindString, p.text)
}

// unsigned reads a number that may be quoted, as ids are.
func (p *parser) unsigned(bits int) (uint64, error) {
	p.peek()
	start := p.pos
	rest := strings.TrimPrefix(string(p.in[start:min(start+24, len(p.in))]), `"`)
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	v, err := strconv.ParseUint(digits, 10, bits)
	if err != nil {
		return 0, p.failf("want a number of %d bits without a sign", bits)
	}
	quote := p.in[start] == '"'
	p.pos += len(digits)
	if quote {
		p.pos++
		if p.pos == len(p.in) || p.in[p.pos] != '"' {
			return 0, p.failf(`want a "`)
		}
		p.pos++
	}
	return v, nil
}
