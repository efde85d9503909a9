package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// firstStep is how many bytes of a record are allocated before any of them
// has been read.
const firstStep = 4 << 10

// Reader reads a capture record by record. It holds one record, so it never
// takes much more memory than [MaxRecord] bytes.
//
// It reads no further than the record that it returns. So a capture can be
// followed while it is being written. Give it a [bufio.Reader] where speed
// matters. A Reader must not be used concurrently.
type Reader struct {
	r      io.Reader
	offset int64 // of the next byte
	buf    []byte
	err    error // every later Next returns it
}

// NewReader returns a Reader of r. It reads nothing: the first Next checks the
// magic.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next record. Its Data is valid until the next call.
//
// A record that is cut short is returned with the bytes that are there, and
// the next call returns the error.
//
// The error is [io.EOF] at the end of a whole capture. It is a [*FormatError]
// if the capture is broken or cut short. Any other error is one of the
// underlying reader. After an error, every call returns the same one.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	rec, err := r.next()
	r.err = err
	if len(rec.Data) > 0 {
		return rec, nil
	}
	return Record{}, err
}

// next returns the next record. With an error, the record has the bytes that
// could be read.
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
	// The fields are copied out of head, whose memory is used again for Data.
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
		err = r.wrap(err, "record", int(n), rec.Offset)
	}
	return rec, err
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

// read returns the next n bytes, or as many as there are. They lie in r.buf,
// which grows as bytes arrive: those that a header announces may never come.
// The error is io.EOF if there are none, and io.ErrUnexpectedEOF if there are
// too few.
func (r *Reader) read(n int) ([]byte, error) {
	b := r.buf[:0]
	for len(b) < n {
		if len(b) == cap(b) {
			step := min(n-len(b), max(firstStep, len(b)))
			b = append(b, make([]byte, step)...)[:len(b)]
			r.buf = b
		}
		step := min(n, cap(b)) - len(b)
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

// wrap makes a FormatError of an end that comes too early. Other errors of the
// underlying reader stay as they are.
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
