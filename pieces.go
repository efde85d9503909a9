package dirty

import (
	"fmt"
	"io"
)

// This file is for forwarders, which pass a large frame on while it comes. Its payload is
// read and written in pieces, so nobody holds all of it.

// ReadPayload reads the next bytes of a payload into p, as the Read of an [io.Reader]
// does. [Reader.NextHeader] has returned the header of the frame. At the end of the
// payload ReadPayload returns [io.EOF], and the next frame can be read. Before that all
// other methods that read return an error.
func (r *Reader) ReadPayload(p []byte) (int, error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case !r.inFrame:
		return 0, io.EOF
	case r.payload != nil: // another method has met with a timeout
		return 0, errInPieces
	}
	left := int(r.header.Length) - r.taken
	p = p[:min(len(p), left)]
	if len(p) == 0 {
		return 0, r.take(0)
	}
	if r.begin < r.end {
		n := copy(p, r.window[r.begin:r.end])
		r.begin += n
		r.releaseWindow()
		return n, r.take(n)
	}
	for range maxEmptyReads {
		n, err := r.read(p)
		_ = r.take(n)
		switch {
		case n > 0:
			return n, nil // the error comes again
		case err != nil:
			return 0, r.failInPayload(err, r.taken)
		}
	}
	return 0, io.ErrNoProgress
}

// take notes that n bytes of the payload were taken. It returns [io.EOF] if none was, and
// none is left.
func (r *Reader) take(n int) error {
	r.taken += n
	if r.taken < int(r.header.Length) {
		return nil
	}
	r.finishFrame()
	if n == 0 {
		return io.EOF
	}
	return nil
}

// WriteHeader writes a header, for a payload of h.Length bytes that [Writer.WritePayload]
// writes. Until all of it is written all other methods return an error: then nothing
// but the rest of the payload may follow. Whoever has no more of it must close the
// connection.
func (w *Writer) WriteHeader(h Header) error {
	if w.err != nil {
		return w.err
	}
	if n, most := int64(h.Length), w.limits.forEncode().MaxPayload; n > int64(most) {
		return tooLarge(nil, "payload", "bytes", int(n), most)
	}
	if err := h.checkType(); err != nil {
		return err
	}
	w.enlargeBuffer(HeaderSize + int(h.Length))
	n, err := w.w.Write(h.append(make([]byte, 0, HeaderSize)))
	if err := w.checkWritten(int64(n), HeaderSize, err); err != nil {
		return err
	}
	w.expect(int(h.Length))
	return nil
}

// WritePayload writes the next bytes of a payload. It refuses more bytes than are left.
// After another error the frame cannot be completed, and every later call returns that
// error.
func (w *Writer) WritePayload(p []byte) error {
	switch {
	case w.err != nil && w.err != errInPieces:
		return w.err
	case len(p) > w.owed:
		return fmt.Errorf("dirty: %d more bytes of a payload, of which %d are left", len(p), w.owed)
	}
	n, err := w.w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("dirty: wrote a frame but for %d bytes: %w", w.owed-max(n, 0), err)
		return w.err
	}
	w.expect(w.owed - n)
	return nil
}

// expect notes how many bytes of the payload are left.
func (w *Writer) expect(n int) {
	w.owed, w.err = n, nil
	if n > 0 {
		w.err = errInPieces
	}
}
