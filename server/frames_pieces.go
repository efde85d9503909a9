package server

import (
	"io"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// This file is for large frames alone: they are written while their payload comes, so
// nobody holds all of them.

// pieceSize is how many bytes of a payload are written at one time. Python's sync client
// takes more time the smaller the pieces are that it gets, see sendBuffer.
const pieceSize = 256 << 10

// pieces are memory for one piece each.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// FrameFrom is [ResponseWriter.Frame] for a large RESPONSE or CHUNK, which is written
// while its payload comes: h.Length bytes of it are read from payload. It returns
// [ErrNoReply] for other types. [Server.WriteTimeout] bounds the time that writing takes
// in all. Reading the payload has no bound.
//
// An error of payload is returned as it is, and if payload ends too soon that is
// [io.ErrUnexpectedEOF]. Then, and when payload panics, the client has got half a frame:
// it gets nothing else, and the connection is closed when the handler has returned.
func (w *ResponseWriter) FrameFrom(h dirty.Header, payload io.Reader) error {
	if err := w.takeTurn(); err != nil {
		return err
	}
	defer w.turn.giveBack()
	if h.Type != dirty.TypeChunk && h.Type != dirty.TypeResponse {
		return w.fail(ErrNoReply)
	}
	if err := w.checkFrame(h.Type); err != nil {
		return err
	}
	h.RequestID = w.id
	if err := w.drain(); err != nil {
		return w.explain(err)
	}
	if failed, err := w.conn.out.writeFrom(h, payload); failed != nil {
		return w.fail(failed)
	} else if err != nil {
		return w.explain(err)
	}
	w.endFrame(h.Type, "")
	return nil
}

// errHalfFrame is the end of a connection on which half a frame was written.
const errHalfFrame = sentinel("the rest of a frame did not come")

// writeFrom writes a frame whose payload it reads meanwhile. failed is the error of that.
func (o *output) writeFrom(h dirty.Header, payload io.Reader) (failed, err error) {
	timeLeft := o.timeout
	write := func(f func() error) error {
		begin := time.Now()
		if o.timeout > 0 {
			o.until = begin.Add(timeLeft)
			_ = o.nc.SetWriteDeadline(o.until) // fails only on a closed connection, as the write will
		}
		err := f()
		timeLeft -= time.Since(begin)
		return o.check(err)
	}
	if err := write(func() error { return o.writer.WriteHeader(h) }); err != nil {
		return nil, err
	}
	b := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(b)
	for left := int(h.Length); left > 0; {
		piece := b[:min(left, pieceSize)]
		o.err = errHalfFrame // if payload does not return, or not what it should
		n, err := io.ReadFull(payload, piece)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err, nil
		}
		o.err = nil
		if err := write(func() error { return o.writer.WritePayload(piece) }); err != nil {
			return nil, err
		}
		left -= n
	}
	return nil, nil
}
