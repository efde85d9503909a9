package main

import (
	"bufio"
	"errors"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// readSize is how many bytes of input are read at a time.
const readSize = 64 << 10

// validate decides whether a payload is sound. Nothing is built from it, so the
// memory that its values would take need not be bounded.
var validate = dirty.DecodeOptions{Limits: dirty.Limits{MaxMemory: min(16<<30, math.MaxInt/2+1)}}

// flushReader flushes the output before it waits for input. So whoever watches
// a live capture sees each frame when it arrives, and a file is still printed in
// large writes.
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
	out    *bufio.Writer
	print  func(out *bufio.Writer, f *frame) error
	memory int // bound of what the streams of a capture hold, in bytes

	frames, broken int
}

func (c *cli) decodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "decode FILE|-",
		Short:   "Print the frames of a capture, a line each",
		Long:    helpDecode,
		Example: "  dirty decode session.bin\n  dirty decode -o json session.bin | jq .payload",
		Args:    needArgs(1, 1, "one file, or - for standard input"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	memory := cmd.Flags().Int("memory", defaultMemory, "bound of what is held of a capture, in MiB")
	cmd.RunE = func(_ *cobra.Command, args []string) error { return c.decode(args[0], *memory) }
	return cmd
}

func (c *cli) decode(name string, memory int) error {
	if memory < 1 || memory > maxMemoryFlag {
		return usagef("decode: --memory %d: want 1 to %d MiB", memory, maxMemoryFlag)
	}
	in, err := c.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	d := &decoder{out: bufio.NewWriterSize(c.stdout, readSize), print: printText, memory: memory << 20}
	if c.format == formatJSON {
		d.print = printJSON
	}
	if err := flush(d.out, d.decode(in)); err != nil {
		return err
	}
	if d.broken > 0 {
		return faultf("decode: %d of %d frames broken", d.broken, d.frames)
	}
	return nil
}

// flush writes what is left of the output. An error of the output comes before
// err, which is what the input led to.
func flush(out *bufio.Writer, err error) error {
	if outErr := out.Flush(); outErr != nil {
		return outErr
	}
	return err
}

func (d *decoder) decode(in io.Reader) error {
	r := bufio.NewReaderSize(flushReader{in, d.out}, readSize)
	// The third byte tells: plain frames begin with "GD" and 1.
	start, err := r.Peek(3)
	if err != nil && err != io.EOF {
		return err
	}
	if string(start) == capture.Magic[:3] {
		return d.decodeCapture(r)
	}
	return d.decodePlain(r)
}

// decodePlain prints frames that come one after the other. After a broken
// header nothing more can be read.
func (d *decoder) decodePlain(r io.Reader) error {
	var s stream
	var offset int64
	buf := make([]byte, readSize)
	for {
		n, err := r.Read(buf)
		if err := s.feed(buf[:n], offset, d.emit); err != nil {
			return err
		}
		offset += int64(n)
		if s.dead {
			return nil
		}
		if err != nil {
			return d.end(s.finish(d.emit), err)
		}
	}
}

func (d *decoder) decodeCapture(in io.Reader) error {
	r := capture.NewReader(in)
	all := newStreams(d.memory, d.emit)
	for {
		rec, err := r.Next()
		if err != nil {
			return d.end(all.finish(), err)
		}
		if err := all.feed(rec); err != nil {
			return err
		}
	}
}

// end returns the error of a run: the one of the output, else the one with
// which the input ended.
func (d *decoder) end(outErr, inErr error) error {
	var format *capture.FormatError
	switch {
	case outErr != nil:
		return outErr
	case inErr == io.EOF:
		return nil
	case errors.As(inErr, &format):
		return faultf("decode: %v", inErr)
	}
	return inErr
}

// emit checks the payload of a whole frame and prints the frame.
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
	if err := d.print(d.out, f); err != nil {
		return err
	}
	_, err := d.out.Write(nil) // tells the first error of all writes
	return err
}
