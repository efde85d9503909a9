package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Writer writes a capture. It is safe for concurrent use, so that the two
// directions of several connections can be recorded into one file; records
// never interleave.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error // sticky: after a failed write the file's end is unknown
}

// NewWriter writes the magic to w and returns a Writer.
func NewWriter(w io.Writer) (*Writer, error) {
	if _, err := io.WriteString(w, Magic); err != nil {
		return nil, err
	}
	return &Writer{w: w}, nil
}

// Write records data as one record, or as several if it is longer than
// [MaxRecord]. Each record is one Write to the underlying writer. No data is
// no record. An error of the underlying writer is final; a wrong direction
// or connection number writes nothing.
func (w *Writer) Write(d Direction, conn uint32, data []byte) error {
	if !d.valid() {
		return fmt.Errorf("capture: cannot write %v", d)
	}
	if conn == 0 {
		return fmt.Errorf("capture: connections are numbered from 1")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(data) > 0 && w.err == nil {
		n := min(len(data), MaxRecord)
		w.buf = append(w.buf[:0], byte(d))
		w.buf = binary.BigEndian.AppendUint32(w.buf, conn)
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(n)) // n is at most MaxRecord
		w.buf = append(w.buf, data[:n]...)
		_, w.err = w.w.Write(w.buf)
		data = data[n:]
	}
	return w.err
}
