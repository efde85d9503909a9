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
//   - A struct takes one a field: positional ones in order of the fields'
//     declaration, keyword arguments by their names. A field's name is that of its
//     dirty tag, or else its json tag, or its own; "-" leaves it out, and the name
//     may differ in case if no field has just this one. Fields of embedded structs
//     count as the struct's own. An argument that is not given leaves its field
//     zero. So struct{} takes none.
//   - [*dirty.Request] is the request itself.
//   - Any other type, also a pointer to a struct, and a struct that decodes
//     itself (a [dirty.Unmarshaler], or an [encoding.TextUnmarshaler] such as
//     [time.Time]), is the one argument of the call, positional.
//
// Arguments are decoded as [dirty.Unmarshal] does. Too many, unknown, missing or
// doubled ones, and those that do not fit, are answered with a DirtyAppError that
// names the argument; f is not called.
func Func[A, R any](f func(ctx context.Context, arg A) (R, error)) Handler {
	b := newBinder(reflect.TypeFor[A]())
	return HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
		var arg A
		if err := b.bind(r, reflect.ValueOf(&arg).Elem()); err != nil {
			return err
		}
		result, err := f(ctx, arg)
		if err != nil {
			return err
		}
		return w.Respond(result)
	})
}

// StreamFunc is [Func] for replies that stream: each value of the sequence is
// a chunk; nil has none. The first error ends it, and so does the end of the
// context, at the latest with the next value.
//
// Yield something at least every 5 seconds if Python clients of gunicorn 26.2
// or older call: their synchronous client gives up on a stream after a longer
// gap, and takes the late chunk for the reply to its next call. From gunicorn
// 27.0 on a gap may last 30 seconds.
func StreamFunc[A, R any](f func(ctx context.Context, arg A) iter.Seq2[R, error]) Handler {
	b := newBinder(reflect.TypeFor[A]())
	return HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
		var arg A
		if err := b.bind(r, reflect.ValueOf(&arg).Elem()); err != nil {
			return err
		}
		w.Stream()
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
