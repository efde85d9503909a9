package server

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/gunicorn-go/dirty"
)

// ResponseWriter writes the reply to one request. Each call of Respond or
// Chunk writes one frame, and returns when it was written.
//
// Both return a [*dirty.MarshalError] for a value that cannot be encoded or is
// over a limit. Then nothing was written, and the reply fails with that error even
// if the handler returns nil. When the client has left, both return
// [ErrClientGone]. When the client does not read, they return
// [os.ErrDeadlineExceeded] after [Server.WriteTimeout]. After an error every later
// call returns the same error.
//
// A ResponseWriter may be used concurrently, until the handler returns. A value
// must not be changed before the call returns, and its methods must not call the
// ResponseWriter: such a call waits until the client leaves or the server is
// closed.
type ResponseWriter struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	conn    *conn
	id      uint64
	request *dirty.Request // nil for other messages, and for a broken request
	trace   *trace         // nil without a Tracer
	hidden  bool           // no code of the user's has it

	turn     turn // held by the call that writes; the fields below belong to it
	state    replyState
	err      error          // why the reply fails
	response dirty.Response // the one that Respond writes

	gather *gatherer // nil: chunks are written one by one

	returned atomic.Bool // the handler has returned
}

// replyState is how far a reply is.
type replyState int

const (
	replyNone      replyState = iota // nothing was written
	replyStreaming                   // chunks, and then an END
	replyComplete
)

// Respond writes the one result of the call, encoded as [dirty.Marshal] does.
func (w *ResponseWriter) Respond(v any) error {
	if err := w.takeTurn(); err != nil {
		return err
	}
	defer w.turn.giveBack()
	if w.state == replyStreaming {
		return w.fail(ErrStreaming)
	}
	w.response = dirty.Response{ID: w.id, Result: v}
	err := w.send(&w.response)
	w.response.Result = nil
	if err != nil {
		return err
	}
	w.state = replyComplete
	w.trace.noteEnd("")
	return nil
}

// Chunk writes one value of a reply that streams, encoded as [dirty.Marshal]
// does. It returns when the chunk was written, but see
// [ResponseWriter.GatherChunks].
func (w *ResponseWriter) Chunk(v any) error {
	if err := w.takeTurn(); err != nil {
		return err
	}
	defer w.turn.giveBack()
	w.beginStream()
	err := w.send(dirty.NewChunk(w.id, v))
	if err == nil {
		w.trace.tellChunk()
	}
	return err
}

// GatherChunks lets small chunks that come faster than they can be written be
// written together. Then Chunk may return before its chunk was written, and an error
// of the connection may come with one of the next calls: up to 64 KiB of chunks are
// on their way at that time. A chunk is not held back: if nothing is being written
// it goes out at once. [StreamFunc] does this by default.
func (w *ResponseWriter) GatherChunks() {
	if w.takeTurn() == nil {
		if w.gather == nil {
			w.gather = newGatherer(w.conn, w.cancel)
		}
		w.turn.giveBack()
	}
}

// Stream makes the reply one that streams, without writing a chunk. A handler
// that streams begins with it. Otherwise a stream without chunks would be sent as a
// single result of None.
func (w *ResponseWriter) Stream() {
	if w.takeTurn() == nil {
		w.beginStream()
		w.turn.giveBack()
	}
}

// takeTurn waits for the turn, unless the handler has returned.
func (w *ResponseWriter) takeTurn() error {
	if err := w.turn.take(w.ctx); err != nil {
		return err
	}
	if w.returned.Load() {
		w.turn.giveBack()
		return ErrReplied
	}
	return nil
}

func (w *ResponseWriter) beginStream() {
	if w.state == replyNone {
		w.state = replyStreaming
	}
}

// handlerContext is the context for the handler.
func (w *ResponseWriter) handlerContext() context.Context {
	if w.trace != nil {
		return w.trace.ctx
	}
	return w.ctx
}

// send writes a message of the reply. The caller has the turn.
func (w *ResponseWriter) send(m dirty.Message) error {
	if err := w.checkReady(); err != nil {
		return err
	}
	return w.explain(w.write(m))
}

// checkReady returns why nothing more can be written, or nil.
func (w *ResponseWriter) checkReady() error {
	switch {
	case w.err != nil:
		return w.err
	case w.state == replyComplete:
		return ErrReplied
	case w.ctx.Err() != nil:
		return w.fail(context.Cause(w.ctx))
	}
	return nil
}

// explain returns why writing has failed with err, and notes it.
func (w *ResponseWriter) explain(err error) error {
	if err == nil {
		return nil
	}
	if !dirty.NothingWritten(err) {
		err = w.conn.cause(err)
		w.cancel(err)
	}
	return w.fail(err)
}

// write writes a frame, or has it gathered.
func (w *ResponseWriter) write(m dirty.Message) error {
	if w.gather == nil {
		return w.conn.out.write(m)
	}
	if chunk, ok := m.(*dirty.Chunk); ok {
		return w.gather.write(chunk)
	}
	if err := w.drain(); err != nil {
		return err
	}
	return w.conn.out.write(m)
}

// writeFrame writes a frame behind what is gathered.
func (w *ResponseWriter) writeFrame(f dirty.Frame) error {
	if err := w.drain(); err != nil {
		return err
	}
	return w.conn.out.writeFrame(f)
}

// drain waits until all that is gathered is written.
func (w *ResponseWriter) drain() error {
	if w.gather == nil {
		return nil
	}
	return w.gather.drain()
}

// fail notes why the reply fails, and returns the first reason.
func (w *ResponseWriter) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// finish completes the reply of a handler that has returned err. If the methods
// of err, or what it holds, panic, the client is told of an internal error. The
// error is one of the connection, which is then of no more use.
func (w *ResponseWriter) finish(err error) (ended error) {
	defer func() {
		if v := recover(); v != nil {
			w.conn.server.journal.reportPanic(v, requestAttr(w.request))
			w.trace.notePanic(v)
			ended = w.complete(errInternal)
		}
	}()
	return w.complete(err)
}

func (w *ResponseWriter) complete(err error) error {
	// From here on others are refused. The one that has the turn may finish.
	// After that the turn is not needed: code of the user's may call w again.
	w.returned.Store(true)
	if ended := w.turn.take(w.ctx); ended != nil {
		return ended
	}
	w.turn.giveBack()
	_ = w.drain() // out has the error as well
	if err == nil {
		err = w.err
	}
	switch {
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case w.conn.out.err != nil:
		return w.conn.out.err
	case w.state == replyComplete:
		if err != nil {
			w.conn.logLateError(w.request, err)
		}
		return nil
	case err != nil:
		reply := w.errorReply(err)
		w.conn.countError(w.request, reply.Err)
		class, err := w.conn.out.writeError(reply)
		return w.noteEnd(err, class)
	case w.state == replyStreaming:
		return w.noteEnd(w.conn.out.write(dirty.NewEnd(w.id)), "")
	}
	return w.noteEnd(w.conn.out.write(dirty.NewResponse(w.id, nil)), "")
}

// noteEnd notes that the end of the reply was written, unless there is an error.
func (w *ResponseWriter) noteEnd(err error, class string) error {
	if err == nil {
		w.trace.noteEnd(class)
	}
	return err
}

// errorReply says a handler's error in gunicorn's terms.
func (w *ResponseWriter) errorReply(err error) *dirty.ErrorReply {
	reply := dirty.NewErrorReply(w.id, err)
	var remote *dirty.RemoteError
	if w.request != nil && reply.Err.Type == dirty.ClassApp && !errors.As(err, &remote) {
		reply.Err = appError(w.request, reply.Err.Message)
	}
	return reply
}
