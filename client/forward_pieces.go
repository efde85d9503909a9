package client

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/gunicorn-go/dirty"
)

// This file is for large frames alone: they are passed on while they come, so nobody
// holds all of them.

// largeFrame is from how many bytes on a payload passes in pieces.
const largeFrame = 256 << 10

// AnswerWriter takes the answers of [Client.ForwardTo]. A server.ResponseWriter is one.
type AnswerWriter interface {
	// Frame takes a whole answer. The payload is valid until it returns.
	Frame(f dirty.Frame) error

	// FrameFrom takes a large RESPONSE or CHUNK. It reads the payload of h.Length bytes
	// to its end, or returns an error. The payload must not be read after that.
	FrameFrom(h dirty.Header, payload io.Reader) error
}

// ForwardTo is [Client.Forward] with answers that are passed on while they come: w gets
// a RESPONSE or a CHUNK of 256 KiB or more by its method FrameFrom.
//
// If such an answer ends before its end, the payload returns an error, and so does
// ForwardTo, whatever w returns. Then w must not let another frame follow, because
// its peer has got half of this one.
//
// The time until the first answer is that until its header. After that the time in which
// the payload of one is read has the bound of a stream; waiting for w does not count.
func (c *Client) ForwardTo(ctx context.Context, f dirty.Frame, w AnswerWriter) error {
	op, err := forwardOperation(f, w == nil)
	if err != nil {
		return err
	}
	return c.forward(ctx, op, &forwarding{frame: f, deliver: w.Frame, deliverFrom: w.FrameFrom})
}

// passesInPieces reports whether an answer is one for FrameFrom.
func passesInPieces(h dirty.Header) bool {
	return h.Length >= largeFrame && (h.Type == dirty.TypeResponse || h.Type == dirty.TypeChunk)
}

// writeFrame writes a frame. Of a large one it makes no copy.
func (c *conn) writeFrame(f dirty.Frame) error {
	if _, vectored := c.nc.(*net.UnixConn); vectored || len(f.Payload) < largeFrame || len(f.Payload) > dirty.MaxPayloadSize {
		return c.writer.WriteFrame(f)
	}
	f.Length = uint32(len(f.Payload))
	if err := c.writer.WriteHeader(f.Header); err != nil {
		return err
	}
	return c.writer.WritePayload(f.Payload)
}

// readAnswer reads an answer, or only the header of one that passes in pieces.
func (c *conn) readAnswer() (dirty.Frame, error) {
	c.buffer.Release()
	h, err := c.reader.NextHeader()
	if err != nil || passesInPieces(h) {
		return dirty.Frame{Header: h}, err
	}
	return c.reader.ReadFrameTo(&c.buffer)
}

// passOn has an answer taken whose payload is still to be read. broken says why that
// could not be read.
func (t *turn) passOn(fw *forwarding, h dirty.Header) (broken, err error) {
	payload := &answerPayload{conn: t.conn, left: int(h.Length), bounded: t.timeout > 0, timeLeft: t.timeout}
	refused := fw.deliverFrom(h, payload)
	switch {
	case payload.err != nil:
		return payload.err, nil
	case refused == nil && payload.left > 0:
		return nil, errHalfTaken
	}
	fw.refused = refused
	return nil, nil
}

// errHalfTaken is for a FrameFrom that does not do what it should.
var errHalfTaken = &hookError{hookForward + " has not read the payload to its end, and returned no error"}

// answerPayload is the payload of an answer, which it reads from the connection.
type answerPayload struct {
	conn     *conn
	left     int // bytes
	bounded  bool
	timeLeft time.Duration // for reading, if it is bounded
	err      error         // why it could not be read
}

// Read reads the next bytes.
func (p *answerPayload) Read(b []byte) (int, error) {
	switch {
	case p.err != nil:
		return 0, p.err
	case p.left == 0:
		return 0, io.EOF
	}
	c := p.conn
	begin := time.Now()
	if p.bounded {
		c.lazy, c.timeout = true, max(p.timeLeft, 1)
	}
	n, err := c.reader.ReadPayload(b)
	c.lazy = false
	if !c.stopTimer() && err == nil {
		err = net.ErrClosed // the bytes came with the end of the time
	}
	p.timeLeft -= time.Since(begin)
	p.left -= n
	p.err = err
	return n, err
}
