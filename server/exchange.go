package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/gunicorn-go/dirty"
)

// errAborted is how exchange is told of an ErrAbortHandler.
const errAborted = sentinel("the handler was aborted")

// errInternal is what a client is told of a panic.
var errInternal = errors.New("internal error")

// exchange answers a frame. The error is one of the connection, which is then
// of no more use.
func (c *conn) exchange(f dirty.Frame) (err error) {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	if !c.watch.begin(ctx, cancel) {
		return ErrServerClosed
	}
	defer c.watch.end()
	defer c.frame.Release()
	w := c.takeWriter()
	w.ctx, w.cancel, w.conn, w.id = ctx, cancel, c, f.RequestID
	err = errPanic // if the user's code ends the goroutine
	defer func() {
		w.trace.end(err)
		c.keepMemory(w)
	}()
	if failure := c.answer(w, f); failure == errAborted {
		err = errAborted
	} else {
		err = w.finish(failure)
	}
	return err
}

// takeWriter returns a ResponseWriter for an exchange.
func (c *conn) takeWriter() *ResponseWriter {
	if w := c.writer; w != nil {
		c.writer = nil
		return w
	}
	return new(ResponseWriter)
}

// keepMemory keeps memory of an exchange for the next one. It does not keep a
// ResponseWriter that code of the user's has had: that may call it at any time, and must
// not write into another reply.
func (c *conn) keepMemory(w *ResponseWriter) {
	if w.hidden {
		*w = ResponseWriter{}
		c.writer = w
	}
	if len(c.call.AppPath)+len(c.call.Action) > keptNames {
		c.call = dirty.Request{}
	}
}

// keptNames is the most bytes of names of apps and actions that an idle connection keeps.
const keptNames = 256

// answer does what a frame asks for. A panic becomes an error. If the user's
// code ends the goroutine, and with it the connection, the client is told before.
func (c *conn) answer(w *ResponseWriter, f dirty.Frame) (err error) {
	returned := false
	defer func() {
		switch v := recover(); {
		case returned:
		case v == nil: // runtime.Goexit, which serve reports
			w.trace.notePanic(nil)
			_ = w.finish(errInternal)
		case isAbort(v):
			err = errAborted
		default:
			c.server.journal.reportPanic(v, w.describe(f))
			w.trace.notePanic(v)
			err = errInternal
		}
	}()
	c.startTrace(w, f)
	err = c.dispatch(w, f)
	returned = true
	return err
}

// isAbort reports whether a handler has panicked with ErrAbortHandler.
func isAbort(v any) (is bool) {
	defer func() { _ = recover() }() // of the methods of v
	err, ok := v.(error)
	return ok && errors.Is(err, ErrAbortHandler)
}

// describe says for the log what was being answered.
func (w *ResponseWriter) describe(f dirty.Frame) slog.Attr {
	if w.request != nil {
		return requestAttr(w.request)
	}
	return slog.String("where", f.Type.String())
}

// dispatch does what a frame asks for.
func (c *conn) dispatch(w *ResponseWriter, f dirty.Frame) error {
	if c.server.FrameHandler != nil {
		return c.forward(w, f)
	}
	switch f.Type {
	case dirty.TypeRequest:
		return c.request(w, f)
	case dirty.TypeStash:
		return w.result(c.stash(w.handlerContext(), f))
	case dirty.TypeStatus:
		return w.result(c.server.status(w.handlerContext()))
	case dirty.TypeManage:
		return w.result(c.manage(w.handlerContext(), f))
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd: // an arbiter hands them to a worker, which answers so
		return &dirty.RemoteError{Type: dirty.ClassWorker, Message: "Unknown message type: " + f.Type.String()}
	}
	return fmt.Errorf("this server cannot answer a message of type %v", f.Type)
}

// result responds with v, unless there is an error.
func (w *ResponseWriter) result(v any, err error) error {
	if err != nil {
		return err
	}
	return w.Respond(v)
}

func (c *conn) decodeOptions() dirty.DecodeOptions {
	return dirty.DecodeOptions{Limits: c.cfg.limits, UseDict: c.cfg.useDict}
}

// request calls the handler when it is its turn. Until then the request stays
// undecoded: decoded it can take nine times the memory.
func (c *conn) request(w *ResponseWriter, f dirty.Frame) error {
	return c.inTurn(w, func() error {
		app, action := peekNames(f.Payload)
		typed := findTyped(c.cfg.handler, app, action)
		if typed != nil {
			if served, err := typed.serveFrame(w, f, app, action); served {
				return err
			}
		}
		h, r, err := c.decodeRequest(typed, app, action)
		if err != nil {
			return err
		}
		c.startRequest(w, r)
		defer c.server.counts.endRequest()
		return h.ServeDirty(w.handlerContext(), w, r)
	})
}

// inTurn calls serve for a request, as soon as fewer than MaxConcurrent run.
func (c *conn) inTurn(w *ResponseWriter, serve func() error) error {
	queue := c.server.queue
	if queue == nil {
		return serve()
	}
	begin := w.trace.now()
	err := queue.enter(w.ctx)
	if err == nil {
		defer queue.leave()
	}
	w.trace.endWait(begin)
	if err != nil {
		return err
	}
	return serve()
}

// startRequest counts a request that runs from now on. Its frame is not needed any
// more, and the handler may take long.
func (c *conn) startRequest(w *ResponseWriter, r *dirty.Request) {
	c.frame.Release()
	w.request = r
	c.server.counts.startRequest()
}

// decodeRequest decodes a request and returns the handler to call. If that is
// one of Func or StreamFunc, the arguments stay encoded.
func (c *conn) decodeRequest(typed frameServer, app, action []byte) (Handler, *dirty.Request, error) {
	r, err := c.decodeWith(typed != nil || c.server.RawArgs)
	switch {
	case err != nil:
		return nil, nil, err
	case typed == nil:
		return c.cfg.handler, r, nil
	case r.AppPath != string(app) || r.Action != string(action):
		// A name is there twice. The last one counts, so this request is for
		// another handler.
		r, err = c.decodeWith(c.server.RawArgs)
		return c.cfg.handler, r, err
	}
	return typed, r, nil
}

func (c *conn) decodeWith(rawArgs bool) (*dirty.Request, error) {
	opts := c.decodeOptions()
	opts.RawArgs = rawArgs
	m, err := c.frame.DecodeFrame(opts)
	if err != nil {
		return nil, err
	}
	r := m.(*dirty.Request)
	if name := c.takenKeyword(); name != "" {
		delete(r.Kwargs, name)
		r.OrderedKwargs = slices.DeleteFunc(r.OrderedKwargs, func(e dirty.Entry) bool { return e.Key == name })
	}
	return r, nil
}

// peekNames reads which app and action a request asks for, without what
// follows them. The names lie in the payload.
func peekNames(payload []byte) (app, action []byte) {
	for key, v := range dirty.View(payload).Entries() {
		switch string(key) {
		case "app_path":
			app, _ = v.Text()
		case "action":
			action, _ = v.Text()
		}
		if app != nil && action != nil {
			break
		}
	}
	return app, action
}

// countError counts and logs that a client was told of an error.
func (c *conn) countError(r *dirty.Request, err *dirty.RemoteError) {
	c.server.counts.errors.Add(1)
	c.server.journal.write(slog.LevelDebug, "dirty: answered with an error", requestAttr(r), slog.String("type", err.Type))
}

// logLateError logs an error that a handler returned when the reply was
// complete.
func (c *conn) logLateError(r *dirty.Request, err error) {
	c.server.journal.warn("dirty: a handler failed after its reply", requestAttr(r), slog.Any("error", err))
}
