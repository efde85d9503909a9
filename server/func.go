package server

import (
	"context"
	"iter"
	"reflect"

	"github.com/gunicorn-go/dirty"
)

// Func makes a [Handler] of a function that takes the arguments of a call in
// a Go type, and returns its result, which is encoded as [dirty.Marshal] does.
//
// The type A says which arguments there are:
//
//   - A struct takes one argument for each field. Positional arguments go into
//     the fields in order of declaration, keyword arguments into the fields of
//     their names. Names, tags and embedded structs have the meaning that they
//     have for [dirty.Unmarshal]; a name may differ in case. So struct{} takes no
//     arguments.
//   - [*dirty.Request] is the request itself.
//   - Any other type is the one argument of the call, which is positional. This
//     holds for pointers to structs too, and for structs that decode themselves: a
//     [dirty.Unmarshaler], or an [encoding.TextUnmarshaler] such as [time.Time].
//
// An argument of a struct may be left out; then its field is zero. One whose
// field has the option required, as in `dirty:"name,required"`, must be given, but
// may be None.
//
// The arguments are decoded as [dirty.Unmarshal] does, from their bytes if no
// middleware is between the server and this handler; see [Server.RawArgs]. If
// there are too many, or one of them is unknown, missing, given twice or does not
// fit, then f is not called, and the client gets a DirtyAppError that names the
// argument.
func Func[A, R any](f func(ctx context.Context, arg A) (R, error)) Handler {
	h := newTypedHandler(func(ctx context.Context, w *ResponseWriter, arg A) error {
		result, err := f(ctx, arg)
		if err != nil {
			return err
		}
		return w.Respond(result)
	})
	h.hidesWriter = true
	return h
}

// StreamFunc is [Func] for replies that stream: each value of the sequence is
// a chunk; a nil sequence has none. The first error ends it. So does the end of
// the context, at the latest with the next value.
//
// Yield something at least every 5 seconds if Python clients of gunicorn 26.2
// or older call: their synchronous client gives up on a stream after a longer
// gap, and takes the late chunk for the reply to its next call. From gunicorn
// 27.0 on a gap may last 30 seconds.
//
// Small values that come faster than they can be written are written together;
// see [ResponseWriter.GatherChunks].
func StreamFunc[A, R any](f func(ctx context.Context, arg A) iter.Seq2[R, error]) Handler {
	return newTypedHandler(func(ctx context.Context, w *ResponseWriter, arg A) error {
		w.Stream()
		w.GatherChunks()
		values := f(ctx, arg)
		if values == nil {
			return nil
		}
		for v, err := range values {
			if err == nil {
				err = w.Chunk(v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// typedHandler decodes the arguments of a request into an A.
type typedHandler[A any] struct {
	binder      *binder
	serve       func(ctx context.Context, w *ResponseWriter, arg A) error
	hidesWriter bool // serve gives the ResponseWriter to no code of the user's
}

func newTypedHandler[A any](serve func(ctx context.Context, w *ResponseWriter, arg A) error) *typedHandler[A] {
	return &typedHandler[A]{binder: newBinder(reflect.TypeFor[A]()), serve: serve}
}

// ServeDirty calls the function. Arguments may be RawValues or not.
func (h *typedHandler[A]) ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
	var arg A
	if err := h.binder.bind(w.conn.decodeOptions(), r, &arg); err != nil {
		return err
	}
	return h.serve(ctx, w, arg)
}

// wantsRawArgs reports whether the arguments should be RawValues.
func (h *typedHandler[A]) wantsRawArgs() bool { return !h.binder.whole }

// serveFrame calls the function with arguments that are decoded from where they lie.
// It reports whether it did; it does not for requests of an unusual form.
func (h *typedHandler[A]) serveFrame(w *ResponseWriter, f dirty.Frame, app, action []byte) (served bool, err error) {
	var arg A
	c := w.conn
	r, err := h.binder.bindFrame(c, f, app, action, &arg)
	if r == nil {
		return false, nil
	}
	w.hidden = h.hidesWriter
	c.startRequest(w, r)
	defer c.server.counts.endRequest()
	if err != nil {
		return true, err
	}
	return true, h.serve(w.handlerContext(), w, arg)
}

// frameServer is a typedHandler of any type.
type frameServer interface {
	Handler
	wantsRawArgs() bool
	serveFrame(w *ResponseWriter, f dirty.Frame, app, action []byte) (served bool, err error)
}

// findTyped returns the typed handler that a request of h comes to, if it takes
// arguments, or nil. It looks through Muxes, but through no handler of others.
func findTyped(h Handler, app, action []byte) frameServer {
	for range maxMuxes {
		switch next := h.(type) {
		case *Mux:
			h = next.findBytes(app, action)
		case frameServer:
			if next.wantsRawArgs() {
				return next
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// maxMuxes is how many Muxes inside each other findTyped looks through.
const maxMuxes = 8
