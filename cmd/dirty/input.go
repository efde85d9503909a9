package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"github.com/gunicorn-go/dirty"
)

const (
	// maxLine bounds a line of input, in bytes. The longest line that decode
	// prints is a broken frame of 64 MiB: 85 MiB of base64 and at most six
	// bytes of text for each byte of the payload.
	maxLine = 512 << 20

	// maxWord bounds a name or a number, in bytes.
	maxWord = 1 << 10

	// prefixSize is the number of bytes before the content of a string.
	prefixSize = 5

	// endOfLine is what look returns where the line ends.
	endOfLine = -1
)

// syntaxError tells what is wrong at a place in a line.
type syntaxError struct {
	pos  int // from 0, in bytes
	text string
}

func (e *syntaxError) Error() string { return e.text }

// parser encodes the values of a line. They are in one of two notations: decode's JSON
// or its text form. Those differ only in how they write what JSON does not have.
// encoding/json would lose what matters here: the order of keys, repeated keys, and the
// difference between 1 and 1.0.
//
// It reads the line piece by piece, and stops where the payload becomes too
// large. So a line takes no more memory than its payload, even if it does not
// end.
type parser struct {
	in      *bufio.Reader
	inErr   error // why there is no more input: io.EOF or an error of the reader
	pos     int   // bytes of the line that were read
	maxLine int
	json    bool

	out      []byte // what is encoded is appended here
	limit    int    // bound of the length of out
	limited  string // the text of the error beyond it
	ignoring bool   // strings are read, but not appended
}

var payloadTooLarge = fmt.Sprintf("a payload of more than %d bytes", dirty.MaxPayloadSize)

func newParser(in *bufio.Reader, room []byte) *parser {
	return &parser{
		in:      in,
		maxLine: maxLine,
		out:     append(room[:0], make([]byte, dirty.HeaderSize)...),
		limit:   dirty.HeaderSize + dirty.MaxPayloadSize,
		limited: payloadTooLarge,
	}
}

func (p *parser) failf(format string, args ...any) error {
	return p.failAt(p.pos, format, args...)
}

func (p *parser) failAt(pos int, format string, args ...any) error {
	return &syntaxError{pos, fmt.Sprintf(format, args...)}
}

// checkLimit returns an error if out has become too large.
func (p *parser) checkLimit() error {
	if len(p.out) > p.limit {
		return p.failf("%s", p.limited)
	}
	return nil
}

// withLimit calls parse, which may append at most n bytes. limited is the text of the
// error if there are more.
func (p *parser) withLimit(n int, limited string, parse func() error) error {
	was, wasLimited := p.limit, p.limited
	p.limit, p.limited = len(p.out)+n, limited
	err := parse()
	p.limit, p.limited = was, wasLimited
	return err
}

// look returns the next byte without moving over it, or endOfLine.
func (p *parser) look() int {
	b, err := p.in.Peek(1)
	if err != nil {
		p.inErr = err
		return endOfLine
	}
	if b[0] == '\n' || p.pos >= p.maxLine {
		return endOfLine
	}
	return int(b[0])
}

// next moves over a byte that look has returned.
func (p *parser) next() { p.discard(1) }

// discard moves over n bytes that are buffered.
func (p *parser) discard(n int) {
	_, _ = p.in.Discard(n) // buffered bytes can be discarded
	p.pos += n
}

// buffered returns the bytes that come next, at most n, up to one of the ASCII
// characters of stop or the end of the line, and as far as they are buffered.
func (p *parser) buffered(stop string, n int) []byte {
	if p.look() == endOfLine {
		return nil
	}
	b, _ := p.in.Peek(min(p.in.Buffered(), p.maxLine-p.pos, n)) // cannot fail
	if i := bytes.IndexAny(b, stop+"\n"); i >= 0 {
		b = b[:i]
	}
	return b
}

// peek moves over white space and returns the next byte, or endOfLine.
func (p *parser) peek() int {
	for {
		c := p.look()
		if c != ' ' && c != '\t' && c != '\r' {
			return c
		}
		b, _ := p.in.Peek(p.in.Buffered()) // cannot fail
		p.discard(len(b) - len(bytes.TrimLeft(b, " \t\r")))
	}
}

// skip moves over the text if it comes next. It waits for input only as long as
// all before it fits, so it never waits for the next line.
func (p *parser) skip(text string) bool {
	if p.peek() == endOfLine {
		return false
	}
	b, _ := p.in.Peek(min(p.in.Buffered(), len(text))) // cannot fail
	for len(b) < len(text) && strings.HasPrefix(text, string(b)) {
		var err error
		if b, err = p.in.Peek(len(b) + 1); err != nil {
			p.inErr = err
			return false
		}
	}
	if string(b) != text {
		return false
	}
	p.discard(len(text))
	return true
}

func (p *parser) want(text string) error {
	if !p.skip(text) {
		return p.failf("want %q", text)
	}
	return nil
}

// token returns what comes next, as long as it is accepted.
func (p *parser) token(accept func(c int) bool) (string, error) {
	var text []byte
	for {
		c := p.look()
		if c == endOfLine || !accept(c) {
			return string(text), nil
		}
		if len(text) == maxWord {
			return "", p.failf("a word of more than %d bytes", maxWord)
		}
		text = append(text, byte(c))
		p.next()
	}
}

// word returns what comes next up to white space or the end.
func (p *parser) word() (string, error) {
	p.peek()
	return p.token(func(c int) bool { return c != ' ' && c != '\t' && c != '\r' })
}

// endLine moves over the end of the line, which must come next.
func (p *parser) endLine() error {
	if p.peek() != endOfLine {
		return p.failf("want the end of the line")
	}
	if p.inErr == nil {
		_, _ = p.in.Discard(1) // the newline that look has seen
	}
	return nil
}
