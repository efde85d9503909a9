package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// line is a frame as a line of input describes it.
type line struct {
	conn  uint32 // 0: not given
	dir   byte   // 0: not given
	typ   dirty.MessageType
	id    uint64
	raw   bool   // the payload was given as bytes, sound or not
	frame []byte // room for a header, then the payload
}

func (c *cli) encodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "encode FILE|-",
		Short:   "Make frames of the lines that decode prints",
		Long:    helpEncode,
		Example: "  dirty decode session.bin | dirty encode -o capture - > copy.bin",
		Args:    needArgs(1, 1, "one file, or - for standard input"),
	}
	c.addFormatFlag(cmd, formatRaw, formatCapture)
	cmd.RunE = func(_ *cobra.Command, args []string) error { return c.encode(args[0]) }
	return cmd
}

func (c *cli) encode(name string) error {
	in, err := c.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out := bufio.NewWriterSize(c.stdout, readSize)
	write := func(l *line) error {
		_, err := out.Write(l.frame)
		return err
	}
	if c.format == formatCapture {
		w, err := capture.NewWriter(out)
		if err != nil {
			return err
		}
		write = func(l *line) error {
			return w.Write(capture.Direction(l.dir), l.conn, l.frame)
		}
	}
	return flush(out, encode(bufio.NewReaderSize(flushReader{in, out}, readSize), write))
}

// encode reads lines and hands the frame of each to write.
func encode(in *bufio.Reader, write func(*line) error) error {
	var room []byte
	for number := 1; ; number++ {
		p := newParser(in, room)
		l, err := p.line()
		var at *syntaxError
		switch {
		case p.inErr != nil && p.inErr != io.EOF:
			return p.inErr
		case errors.As(err, &at):
			return faultf("encode: line %d, byte %d: %s", number, at.pos+1, at.text)
		case err != nil:
			return faultf("encode: line %d: %v", number, err)
		}
		if l != nil {
			if err := write(l); err != nil {
				return err
			}
		}
		if p.inErr == io.EOF {
			return nil
		}
		if room = p.out; cap(room) > keepBuffer {
			room = nil
		}
	}
}

// line reads a line and makes its frame. A line of white space has none: then
// both results are nil.
func (p *parser) line() (*line, error) {
	l, err := p.anyLine()
	if p.pos >= p.maxLine { // there, look says that the line ends
		return nil, fmt.Errorf("of %d bytes or more", p.maxLine)
	}
	return l, err
}

func (p *parser) anyLine() (*line, error) {
	l := &line{}
	parse := parseText
	switch p.peek() {
	case endOfLine:
		return nil, p.endLine()
	case '{':
		parse = parseJSON
	}
	if err := parse(p, l); err != nil {
		return nil, err
	}
	if err := p.endLine(); err != nil {
		return nil, err
	}
	payload := p.out[dirty.HeaderSize:]
	// What was recorded as broken is written as it was. What is written by hand
	// must be sound.
	if !l.raw && len(payload) > 0 {
		if err := validate.Validate(payload); err != nil {
			return nil, err
		}
	}
	// Room was left for the header, because the length was not known before.
	header := dirty.Header{Type: l.typ, Length: uint32(len(payload)), RequestID: l.id}
	if _, err := header.AppendBinary(p.out[:0]); err != nil {
		return nil, err
	}
	l.frame = p.out
	if l.conn == 0 {
		l.conn = 1
	}
	if l.dir == 0 {
		l.dir = direction(l.typ)
	}
	return l, nil
}
