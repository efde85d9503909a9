package main

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"math"
	"sort"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// readSize is how much input is read at a time.
const readSize = 64 << 10

// validate is what decides whether a payload is sound. Nothing is built from
// it, so its decoded size need not be bounded as it is by default.
var validate = dirty.DecodeOptions{Limits: dirty.Limits{MaxMemory: min(16<<30, math.MaxInt/2+1)}}

// flushReader flushes the output before it waits for input, so that whoever
// watches a live capture sees each frame when it arrives, and a file is
// still printed in large writes.
type flushReader struct {
	r io.Reader
	w *bufio.Writer
}

func (f flushReader) Read(p []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

// decoder prints the frames of one input and counts the broken ones.
type decoder struct {
	out   *bufio.Writer
	print func(out *bufio.Writer, f *frame)

	frames, broken int
}

func runDecode(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("decode", flag.ContinueOnError)
	format := oneOf("text", "json")
	flags.Var(format, "o", "")
	in, err := parseArgs(flags, helpDecode, args, stdin, stdout)
	if err != nil {
		return err
	}
	defer in.Close()
	d := &decoder{out: bufio.NewWriterSize(stdout, readSize), print: printText}
	if format.value == "json" {
		d.print = printJSON
	}
	err = d.decode(in)
	if err := d.out.Flush(); err != nil {
		return err
	}
	if err != nil || d.broken == 0 {
		return err
	}
	return faultf("decode: %d of %d frames broken", d.broken, d.frames)
}

func (d *decoder) decode(in io.Reader) error {
	r := bufio.NewReaderSize(flushReader{in, d.out}, readSize)
	// The third byte tells: plain frames begin with "GD" and 1.
	if start, _ := r.Peek(3); string(start) == capture.Magic[:3] {
		return d.decodeCapture(r)
	}
	return d.decodePlain(r)
}

func (d *decoder) decodePlain(r io.Reader) error {
	var s stream
	var offset int64
	buf := make([]byte, readSize)
	for {
		n, err := r.Read(buf)
		if ferr := s.feed(buf[:n], offset, d.emit); ferr != nil {
			return ferr
		}
		offset += int64(n)
		switch {
		case s.dead: // nothing more can be read
			return nil
		case err == io.EOF:
			return s.finish(d.emit)
		case err != nil:
			return err
		}
	}
}

// streamKey names one direction of one connection.
type streamKey struct {
	conn uint32
	dir  capture.Direction
}

func (d *decoder) decodeCapture(in io.Reader) error {
	r := capture.NewReader(in)
	// Only streams that are within a frame, or dead, are kept: an endless
	// capture can have endless connections.
	streams := map[streamKey]*stream{}
	var spare *stream
	for {
		rec, err := r.Next()
		if err != nil {
			return d.endCapture(streams, err)
		}
		key := streamKey{rec.Conn, rec.Direction}
		s := streams[key]
		if s == nil {
			if s, spare = spare, nil; s == nil {
				s = &stream{}
			}
			s.conn, s.dir = rec.Conn, byte(rec.Direction)
			streams[key] = s
		}
		if err := s.feed(rec.Data, rec.Offset, d.emit); err != nil {
			return err
		}
		if s.idle() {
			delete(streams, key)
			spare = s
		}
	}
}

// endCapture shows the frames that the end has cut short, in the order of
// their beginnings.
func (d *decoder) endCapture(streams map[streamKey]*stream, err error) error {
	var cut []*stream
	for _, s := range streams {
		if !s.dead {
			cut = append(cut, s)
		}
	}
	sort.Slice(cut, func(i, j int) bool { return cut[i].marks[0].input < cut[j].marks[0].input })
	for _, s := range cut {
		if ferr := s.finish(d.emit); ferr != nil {
			return ferr
		}
	}
	if err == io.EOF {
		return nil
	}
	var format *capture.FormatError
	if errors.As(err, &format) {
		return faultf("decode: %v", err)
	}
	return err
}

// emit checks the payload of a whole frame and prints the frame. The error
// is that of the output: bufio keeps the first one.
func (d *decoder) emit(f *frame) error {
	d.frames++
	if f.err == nil && len(f.payload) > 0 {
		if err := validate.Validate(f.payload); err != nil {
			f.err, f.errPos = err, dirty.HeaderSize+faultOffset(err)
		}
	}
	if f.err != nil {
		d.broken++
	}
	d.print(d.out, f)
	_, err := d.out.Write(nil)
	return err
}
