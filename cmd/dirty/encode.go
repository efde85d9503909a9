package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// maxLine bounds a line of input. The longest that decode prints is a frame
// of 64 MiB of control characters, each six bytes long as \u0000.
const maxLine = 512 << 20

// line is what a line of input says of a frame.
type line struct {
	conn  uint32 // 0: not given
	dir   byte   // 0: not given
	typ   dirty.MessageType
	id    uint64
	frame []byte // room for a header, then the payload
}

func runEncode(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("encode", flag.ContinueOnError)
	format := oneOf("raw", "capture")
	flags.Var(format, "o", "")
	in, err := parseArgs(flags, helpEncode, args, stdin, stdout)
	if err != nil {
		return err
	}
	defer in.Close()
	out := bufio.NewWriterSize(stdout, readSize)
	write := func(l *line) error {
		_, err := out.Write(l.frame)
		return err
	}
	if format.value == "capture" {
		w, err := capture.NewWriter(out)
		if err != nil {
			return err
		}
		write = func(l *line) error {
			return w.Write(capture.Direction(l.dir), l.conn, l.frame)
		}
	}
	return errors.Join(encode(bufio.NewReaderSize(flushReader{in, out}, readSize), write), out.Flush())
}

// encode parses each line and hands the frame to write.
func encode(in *bufio.Reader, write func(*line) error) error {
	var buf, room []byte
	for number := 1; ; number++ {
		text, err := readLine(in, buf[:0])
		if err != nil && (err != io.EOF || len(text) == 0) {
			if err == io.EOF {
				return nil
			}
			return err
		}
		buf = text
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		l, perr := parseLine(text, room)
		if perr != nil {
			var at *syntaxError
			if errors.As(perr, &at) {
				return faultf("encode: line %d, byte %d: %s", number, at.pos+1, at.text)
			}
			return faultf("encode: line %d: %v", number, perr)
		}
		if err := write(l); err != nil {
			return err
		}
		if buf, room = buf[:0], l.frame[:0]; cap(room) > keepBuffer {
			buf, room = nil, nil
		}
	}
}

// parseLine makes the frame of a line, in the memory of room if it fits.
func parseLine(text, room []byte) (*line, error) {
	p := &parser{in: text, out: append(room[:0], make([]byte, dirty.HeaderSize)...)}
	parse := parseText
	if text[0] == '{' {
		parse = parseJSON
	}
	l := &line{}
	raw, err := parse(p, l)
	if err != nil {
		return nil, err
	}
	l.frame = p.out
	payload := l.frame[dirty.HeaderSize:]
	if len(payload) > dirty.MaxPayloadSize {
		return nil, faultf("payload of %d bytes, at most %d", len(payload), dirty.MaxPayloadSize)
	}
	// What was recorded as broken is written as it was; what is written by
	// hand must be sound.
	if !raw && len(payload) > 0 {
		if err := validate.Validate(payload); err != nil {
			return nil, err
		}
	}
	// Into the room that was left for it: the length is known only now.
	header := dirty.Header{Type: l.typ, Length: uint32(len(payload)), RequestID: l.id}
	if _, err := header.AppendBinary(l.frame[:0]); err != nil {
		return nil, err
	}
	if l.conn == 0 {
		l.conn = 1
	}
	if l.dir == 0 {
		l.dir = direction(l.typ)
	}
	return l, nil
}

// readLine appends the next line to buf, without what ends it. At the end of
// the input the rest comes with io.EOF.
func readLine(in *bufio.Reader, buf []byte) ([]byte, error) {
	for {
		piece, err := in.ReadSlice('\n')
		if len(buf)+len(piece) > maxLine {
			return nil, faultf("encode: a line is longer than %d bytes", maxLine)
		}
		buf = append(buf, piece...)
		if err != bufio.ErrBufferFull {
			return buf, err
		}
	}
}
