package server

import (
	"cmp"
	"context"

	"github.com/gunicorn-go/dirty"
)

// FrameHandler answers frames that the server does not decode. It is for
// forwarders, and takes the place of the Handler, the stash, Status and Manage: see
// [Server.FrameHandler].
//
// Frames of all message types come. f.Payload is the encoding as the client sent it,
// so keyword arguments are in their order; nobody has checked it. [dirty.View] reads
// single fields of it. It is valid until ServeFrame returns. Copy what is kept for
// longer.
//
// ServeFrame writes the reply with [ResponseWriter.Frame] and [ResponseWriter.FrameFrom],
// or with Respond and Chunk.
// When it returns, the server completes the reply, as it does for a [Handler]; what a
// Handler may do and how long its context lasts holds here too.
//
// If it is not known whether the far side has acted, no reply is true. Then panic with
// [ErrAbortHandler]: the connection is closed without a reply, and the client takes the
// outcome as unknown.
type FrameHandler interface {
	ServeFrame(ctx context.Context, w *ResponseWriter, f dirty.Frame) error
}

// forward calls the FrameHandler. MaxConcurrent bounds requests alone.
func (c *conn) forward(w *ResponseWriter, f dirty.Frame) error {
	h := c.server.FrameHandler
	if f.Type != dirty.TypeRequest {
		return h.ServeFrame(w.handlerContext(), w, f)
	}
	return c.inTurn(w, func() error {
		c.server.counts.startRequest()
		defer c.server.counts.endRequest()
		return h.ServeFrame(w.handlerContext(), w, f)
	})
}

// Frame writes a frame of the reply as it is: a RESPONSE, an ERROR, a CHUNK or an END.
// The frame gets the id of the request, whatever f.RequestID says. The payload is not
// checked, but for its length. It is not kept, and must not change before Frame
// returns.
//
// RESPONSE, ERROR and END complete the reply. Frame returns [ErrNoReply] for a frame of
// another type, [ErrReplied] when the reply is complete, and [ErrStreaming] for a
// RESPONSE after chunks. Its other errors are those of Respond and Chunk.
func (w *ResponseWriter) Frame(f dirty.Frame) error {
	class, err := w.frame(f)
	if class != "" {
		w.conn.countError(w.request, &dirty.RemoteError{Type: class})
	}
	return err
}

// frame is Frame. It returns the class of an ERROR that was written.
func (w *ResponseWriter) frame(f dirty.Frame) (class string, err error) {
	if err := w.takeTurn(); err != nil {
		return "", err
	}
	defer w.turn.giveBack()
	if err := w.checkFrame(f.Type); err != nil {
		return "", err
	}
	f.RequestID = w.id
	if err := w.explain(w.writeFrame(f)); err != nil {
		return "", err
	}
	if f.Type == dirty.TypeError {
		class = classOf(f)
	}
	w.endFrame(f.Type, class)
	return class, nil
}

// checkFrame returns why a frame of a type cannot be written, or nil. The caller has the
// turn.
func (w *ResponseWriter) checkFrame(typ dirty.MessageType) error {
	switch typ {
	case dirty.TypeChunk:
		w.beginStream()
	case dirty.TypeResponse:
		if w.state == replyStreaming {
			return w.fail(ErrStreaming)
		}
	case dirty.TypeError, dirty.TypeEnd:
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
		fallthrough
	default:
		return w.fail(ErrNoReply)
	}
	return w.checkReady()
}

// endFrame notes that a frame was written; class is that of an ERROR.
func (w *ResponseWriter) endFrame(typ dirty.MessageType, class string) {
	if typ == dirty.TypeChunk {
		w.trace.tellChunk()
		return
	}
	w.state = replyComplete
	w.trace.noteEnd(class)
}

// classOf reads the class of an ERROR frame.
func classOf(f dirty.Frame) string {
	class, _ := dirty.View(f.Payload).Get("error").Get("error_type").Text()
	return cmp.Or(string(class), dirty.ClassError)
}
