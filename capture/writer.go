package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Writer writes a capture. It may be used concurrently, so that both directions
// of several connections can be recorded into one file. Records are never
// mixed up with each other. It holds a copy of one record, at most [MaxRecord]
// bytes and a few more.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error // after a failed write, nobody knows where the file ends
}

// NewWriter writes the magic to w and returns a Writer. The error is that of w.
func NewWriter(w io.Writer) (*Writer, error) {
	if _, err := io.WriteString(w, Magic); err != nil {
		return nil, err
	}
	return &Writer{w: w}, nil
}

// Write records data that was seen on a connection. It makes one record, or
// several if data is longer than [MaxRecord], and none if data is empty. Each
// record is one Write of the underlying writer, which is given a copy: the
// caller keeps data.
//
// A direction that is neither of the two, or a connection number of 0, is an
// error, and nothing is written. After an error of the underlying writer,
// nothing more is written and every call returns that error.
func (w *Writer) Write(d Direction, conn uint32, data []byte) error {
	if !d.valid() {
		return fmt.Errorf("capture: cannot write %v", d)
	}
	if conn == 0 {
		return errors.New("capture: connections are numbered from 1")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(data) > 0 && w.err == nil {
		n := min(len(data), MaxRecord)
		w.buf = append(w.buf[:0], byte(d))
		w.buf = binary.BigEndian.AppendUint32(w.buf, conn)
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(n)) // at most MaxRecord
		w.buf = append(w.buf, data[:n]...)
		_, w.err = w.w.Write(w.buf)
		data = data[n:]
	}
	return w.err
}
