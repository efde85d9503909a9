package dirty

import (
	"fmt"
	"io"
	"net"
)

// Writer writes frames to a stream. [NewWriter] makes one. A Writer must not be used
// concurrently.
//
// Each frame is one Write, unless its payload is written by [Writer.WritePayload]. On
// Unix and TCP connections it may be one vectored write, in which large byte slices are
// not copied. Another stream, for which several writes are as good as one, says so by a
// method TakesParts that returns true: then large byte slices have a Write of their own.
//
// If a message has no encoding or is over a limit, the error comes before any byte
// is written, and the Writer can still be used; see [NothingWritten]. If a write
// fails after some bytes of a frame, the peer can no longer tell where the next
// frame begins, so every later call returns the same error. A peer never acts on
// a frame that was written in part.
type Writer struct {
	w      io.Writer
	limits Limits // as they were given; the encoder fills in the defaults
	vector bool   // large byte slices are written from where they are
	err    error  // the first error after which frames are lost
	owed   int    // bytes of a payload that WritePayload is to write

	// sendBuffer is the size that the send buffer gets with the first large frame;
	// 0: it stays as it is, or was set.
	sendBuffer int

	// Working memory: for the payload of WriteFrame, and for the pieces of a
	// vectored write. net.Buffers consumes left, so pieces keeps the memory.
	payload      [1]part
	pieces, left net.Buffers
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer, opts ...Option) *Writer {
	wr := newWriter(w, newStreamOptions(opts))
	return &wr
}

func newWriter(w io.Writer, o streamOptions) Writer {
	wr := Writer{w: w, limits: o.limits, err: o.limits.Validate(), sendBuffer: o.sendBuffer}
	switch w := w.(type) {
	case *net.UnixConn, *net.TCPConn:
		wr.vector = true
	case interface{ TakesParts() bool }:
		wr.vector, wr.sendBuffer = w.TakesParts(), 0
	default:
		wr.sendBuffer = 0
	}
	return wr
}

// WriteMessage writes one message to w with the default options, in one Write. To
// write several messages use a [Writer]. The errors are those of a Writer.
func WriteMessage(w io.Writer, m Message) error { return NewWriter(w).WriteMessage(m) }

// Limits returns the limits that are in force, with every default filled in.
func (w *Writer) Limits() Limits { return w.limits.forEncode() }

// WriteMessage encodes and writes a message. It does not keep m nor change what is
// in it. m must not change meanwhile.
func (w *Writer) WriteMessage(m Message) error {
	if w.err != nil {
		return w.err
	}
	e := newEncoder(w.limits, 0)
	defer e.release()
	e.vectored = w.vector
	buf := frames.get()
	defer frames.put(buf)
	b, err := e.message((*buf)[:0], m)
	*buf = b
	if err != nil {
		return err
	}
	return w.write(b, e.parts)
}

// WriteFrame writes a frame. The header gets the length of the payload, whatever
// f.Length says. The payload is not checked, but for its length. WriteFrame does
// not keep the payload, which must not change meanwhile.
func (w *Writer) WriteFrame(f Frame) error {
	if w.err != nil {
		return w.err
	}
	h, err := f.finish(w.limits.forEncode().MaxPayload)
	if err != nil {
		return err
	}
	buf := frames.get()
	defer frames.put(buf)
	b := h.append((*buf)[:0])
	var parts []part
	if w.vector && len(f.Payload) >= vectorSize {
		w.payload[0] = part{HeaderSize, f.Payload}
		parts = w.payload[:]
		defer clear(parts)
	} else {
		b = append(b, f.Payload...)
	}
	*buf = b
	return w.write(b, parts)
}

// write writes a frame: b, and the parts that belong into it at their offsets.
func (w *Writer) write(b []byte, parts []part) error {
	if len(parts) == 0 {
		w.enlargeBuffer(len(b))
		n, err := w.w.Write(b)
		return w.checkWritten(int64(n), len(b), err)
	}
	size, from := len(b), 0
	pieces := w.pieces[:0]
	for _, p := range parts {
		pieces = append(pieces, b[from:p.at], p.data)
		from = p.at
		size += len(p.data)
	}
	if from < len(b) {
		pieces = append(pieces, b[from:])
	}
	w.enlargeBuffer(size)
	w.pieces, w.left = pieces, pieces
	n, err := w.left.WriteTo(w.w)
	clear(w.pieces)
	return w.checkWritten(n, size, err)
}

// largeFrame is from how many bytes on a frame is worth a larger send buffer.
const largeFrame = 256 << 10

// enlargeBuffer sets the size of the send buffer before the first large frame.
func (w *Writer) enlargeBuffer(size int) {
	if size < largeFrame || w.sendBuffer == 0 {
		return
	}
	if c, ok := w.w.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(w.sendBuffer) // it is about speed alone
	}
	w.sendBuffer = 0
}

// checkWritten returns the error of a write that has written n of the size bytes of
// a frame. Unless n is 0, it is noted.
func (w *Writer) checkWritten(n int64, size int, err error) error {
	if err == nil && n != int64(size) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("dirty: wrote %d of the %d bytes of a frame: %w", n, size, err)
	if n != 0 {
		w.err = err
	}
	return err
}
