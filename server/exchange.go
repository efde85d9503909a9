package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/gunicorn-go/dirty"
)

// errAborted is how exchange is told of an ErrAbortHandler.
const errAborted = sentinel("dirty: the handler was aborted")

// errInternal is what a client is told of a panic.
const errInternal = sentinel("internal error")

// exchange answers a frame. The error is one of the connection, which is then
// of no more use.
func (c *conn) exchange(f dirty.Frame) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	if !c.watch.begin(ctx, cancel) {
		return ErrServerClosed
	}
	defer c.watch.end()
	w := &ResponseWriter{ctx: ctx, cancel: cancel, conn: c, id: f.RequestID}
	err := c.handle(w, f)
	if err == errAborted {
		return errAborted
	}
	return w.finish(err)
}

// handle does what a frame asks for. A panic becomes an error.
func (c *conn) handle(w *ResponseWriter, f dirty.Frame) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.panicked(w, f, v)
		}
	}()
	switch f.Type {
	case dirty.TypeRequest:
		return c.request(w, f)
	case dirty.TypeStash:
		return w.result(c.stash(w.ctx, f))
	case dirty.TypeStatus:
		return w.result(c.server.status(w.ctx))
	case dirty.TypeManage:
		return w.result(c.manage(w.ctx, f))
	}
	return &dirty.RemoteError{Type: "DirtyWorkerError", Message: "Unknown message type: " + f.Type.String()}
}

// result responds with v, unless there is an error.
func (w *ResponseWriter) result(v any, err error) error {
	if err != nil {
		return err
	}
	return w.Respond(v)
}

func (c *conn) decodeOptions() dirty.DecodeOptions {
	return dirty.DecodeOptions{Limits: c.cfg.limits, UseDict: c.cfg.useDict, AliasBytes: true}
}

// request calls the handler, as soon as fewer than MaxConcurrent run.
func (c *conn) request(w *ResponseWriter, f dirty.Frame) error {
	m, err := c.decodeOptions().DecodeFrame(f)
	if err != nil {
		return err
	}
	r := m.(*dirty.Request)
	w.request = r
	counts := &c.server.counts
	counts.requests.Add(1)
	if err := c.server.queue.enter(w.ctx); err != nil {
		return err
	}
	counts.running.Add(1)
	defer func() {
		counts.running.Add(-1)
		c.server.queue.leave()
	}()
	return c.cfg.handler.ServeDirty(w.ctx, w, r)
}

// panicked logs what a handler panicked with, and returns what the client is
// told.
func (c *conn) panicked(w *ResponseWriter, f dirty.Frame, v any) error {
	if err, ok := v.(error); ok && errors.Is(err, ErrAbortHandler) {
		return errAborted
	}
	c.server.counts.panics.Add(1)
	c.cfg.logger.Error("dirty: a handler panicked", "what", f.Type.String(), named(w.request),
		"panic", v, "stack", string(debug.Stack()))
	return errInternal
}

// told notes that a client was told of an error.
func (c *conn) told(r *dirty.Request, err *dirty.RemoteError) {
	c.server.counts.errors.Add(1)
	c.cfg.logger.Debug("dirty: answered with an error", named(r), "type", err.Type)
}

// unheard logs an error that a handler returned when the reply was complete.
func (c *conn) unheard(r *dirty.Request, err error) {
	c.cfg.logger.Warn("dirty: a handler failed after its reply", named(r), "error", err)
}

// named is a request in a log line: what it asks for, never with what.
func named(r *dirty.Request) slog.Attr {
	if r == nil {
		return slog.Attr{}
	}
	return slog.Group("", "app", r.AppPath, "action", r.Action)
}
