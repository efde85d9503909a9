package server

import (
	"context"
	"slices"

	"github.com/gunicorn-go/dirty"
)

// Handler answers requests. It calls [ResponseWriter.Respond] once, or
// [ResponseWriter.Chunk] any number of times. The handler decides whether the
// reply streams, because a request does not say: Python's execute accepts only a
// single value, and its stream accepts only chunks.
//
// When ServeDirty returns nil, the server completes the reply: with END if it
// streams, with None if nothing was written. When ServeDirty returns an error, the
// client gets it as [dirty.NewErrorReply] says, also after chunks. After Respond it
// is too late for an error; then it is logged.
//
// The context ends when the client leaves, when the server is closed, and when
// ServeDirty returns; [context.Cause] says which. w must not be used after
// ServeDirty has returned. r and all that is in it belong to the handler, which
// may keep and change them.
//
// ServeDirty is called concurrently for different connections. If it panics or
// calls runtime.Goexit, the client is told of an internal error, and the log has
// the stack; see also [ErrAbortHandler].
type Handler interface {
	ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error
}

// HandlerFunc is a function as a [Handler]. [Func] and [StreamFunc] are for
// functions that take arguments in Go types.
type HandlerFunc func(ctx context.Context, w *ResponseWriter, r *dirty.Request) error

// ServeDirty calls f.
func (f HandlerFunc) ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
	return f(ctx, w, r)
}

// Chain puts middleware around a handler. The first one is the outermost. If h
// has a method Apps, as a [Mux] has, the result has it too, and the status of the
// server still tells the apps.
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

// lister is a handler that tells which apps it serves.
type lister interface{ Apps() []string }
