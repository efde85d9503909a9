package server

import (
	"context"
	"slices"

	"github.com/gunicorn-go/dirty"
)

// Handler answers requests: with [ResponseWriter.Respond] once, or with
// [ResponseWriter.Chunk] as often as it likes. The handler's kind decides
// whether a reply streams, because nothing in a request tells: Python's
// execute takes only a single value, its stream only chunks.
//
// When ServeDirty returns nil, the reply is completed: with END if it
// streams, with None if nothing was written. When it returns an error, the
// client gets it as [dirty.NewErrorReply] says, also after chunks; only after
// Respond it is too late, and the error is logged.
//
// The context ends when the client leaves, when the server is closed, and
// when ServeDirty returns; [context.Cause] tells. w and what it holds are of
// no use afterwards, but r is the handler's to keep.
//
// ServeDirty is called concurrently for different connections. If it panics
// the client is told of an internal error, see also [ErrAbortHandler].
type Handler interface {
	ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error
}

// HandlerFunc is a function that is a [Handler]. For handlers that take
// arguments in Go types see [Func] and [StreamFunc].
type HandlerFunc func(ctx context.Context, w *ResponseWriter, r *dirty.Request) error

// ServeDirty calls f.
func (f HandlerFunc) ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
	return f(ctx, w, r)
}

// Chain puts middleware around a handler; the first one is the outermost. If
// h tells its apps, as a [Mux] does, so does the result.
func Chain(h Handler, middleware ...func(Handler) Handler) Handler {
	whole := h
	for _, m := range slices.Backward(middleware) {
		whole = m(whole)
	}
	if l, ok := h.(lister); ok {
		return struct {
			Handler
			lister
		}{whole, l}
	}
	return whole
}

// lister is a handler that knows which apps it serves, for the status.
type lister interface{ Apps() []string }
