package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// firstStep is how much of a record is allocated before any of it was read.
const firstStep = 4 << 10

// Reader reads a capture record by record. It reads no further than the
// record that it returns, so that a capture can be followed while it is
// written; give it a [bufio.Reader] where speed matters. A Reader is not safe
// for concurrent use.
type Reader struct {
	r      io.Reader
	offset int64 // of the next byte
	buf    []byte
	err    error // sticky
}

// NewReader returns a Reader of r. The magic is checked by the first Next.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next record. Its Data is valid until the next call.
//
// The error is [io.EOF] at the end, after a whole record; a [*FormatError]
// if the capture is broken or cut short; or what the underlying reader
// returned. Every error is final.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	rec, err := r.next()
	r.err = err
	return rec, err
}

func (r *Reader) next() (Record, error) {
	if r.offset == 0 {
		if err := r.readMagic(); err != nil {
			return Record{}, err
		}
	}
	start := r.offset
	head, err := r.read(headerSize)
	if err == io.EOF {
		return Record{}, err
	}
	if err != nil {
		return Record{}, r.wrap(err, "record header", headerSize, start)
	}
	// Copied out of head before its memory is used for the data.
	rec := Record{Direction: Direction(head[0]), Conn: binary.BigEndian.Uint32(head[1:])}
	n := binary.BigEndian.Uint32(head[5:])
	switch {
	case !rec.Direction.valid():
		return Record{}, &FormatError{Offset: start, Reason: fmt.Sprintf("direction 0x%02x, want '>' or '<'", byte(rec.Direction))}
	case rec.Conn == 0:
		return Record{}, &FormatError{Offset: start + 1, Reason: "connection 0, want 1 or more"}
	case n == 0 || n > MaxRecord:
		return Record{}, &FormatError{Offset: start + 5, Reason: fmt.Sprintf("record of %d bytes, want 1 to %d", n, MaxRecord)}
	}
	rec.Offset = r.offset
	rec.Data, err = r.read(int(n))
	if err != nil {
		return Record{}, r.wrap(err, "record", int(n), rec.Offset)
	}
	return rec, nil
}

func (r *Reader) readMagic() error {
	b, err := r.read(len(Magic))
	if !strings.HasPrefix(Magic, string(b)) {
		if strings.HasPrefix(string(b), Magic[:5]) {
			return &FormatError{Offset: 5, Reason: "unknown version of the capture format"}
		}
		return &FormatError{Reason: "not a capture: bad magic"}
	}
	if err != nil {
		return r.wrap(err, "magic", len(Magic), 0)
	}
	return nil
}

// read returns the next n bytes in r.buf, or as many as there are. The error
// is io.EOF if there are none and io.ErrUnexpectedEOF if there are too few.
// The buffer grows as bytes arrive: what is announced may not be there.
func (r *Reader) read(n int) ([]byte, error) {
	b := r.buf[:0]
	for len(b) < n {
		step := min(n-len(b), max(firstStep, len(b)))
		if have := cap(b) - len(b); have > 0 {
			step = min(n-len(b), have)
		} else {
			b = append(b, make([]byte, step)...)[:len(b)]
			r.buf = b
		}
		m, err := io.ReadFull(r.r, b[len(b):len(b)+step])
		b = b[:len(b)+m]
		r.offset += int64(m)
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// wrap turns a missing rest into a FormatError; the underlying reader's own
// errors stay what they are.
func (r *Reader) wrap(err error, what string, want int, start int64) error {
	if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &FormatError{
		Offset: r.offset,
		Reason: fmt.Sprintf("%s cut short: %d of %d bytes", what, r.offset-start, want),
		Err:    io.ErrUnexpectedEOF,
	}
}
