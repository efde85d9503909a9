package client

import (
	"context"
	"fmt"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Kwargs are Python's keyword arguments, as the last argument of a call. They
// are sent in order of their keys.
type Kwargs map[string]any

// Execute calls an action of an app, "module:Class" as in gunicorn's
// dirty_apps, and returns its result in the types that [dirty.Unmarshal] gives an
// any. The arguments are encoded as [dirty.Marshal] does.
//
// The error is an [*OpError]; of an action that raised it wraps a
// [*dirty.RemoteError]. See the package's documentation for what becomes of the
// action when the context ends. An action that streams is an
// [ErrStreamingResponse]: use [Client.Stream].
func (c *Client) Execute(ctx context.Context, app, action string, args ...any) (any, error) {
	return Call[any](ctx, c, app, action, args...)
}

// Call is [Client.Execute] with a result of type T, into which it is decoded at
// once, as [dirty.Unmarshal] does. None leaves T at its zero value; use a pointer
// to tell the two apart. A result that does not fit is a
// [*dirty.UnmarshalTypeError], with nothing lost but the result.
func Call[T any](ctx context.Context, c *Client, app, action string, args ...any) (T, error) {
	op := Operation{Name: "execute", App: app, Action: action}
	request, err := newRequest(op, args)
	if err != nil {
		var zero T
		return zero, err
	}
	return doFor[T](ctx, c, op, c.cfg.Timeout, request)
}

// doFor makes an exchange whose result has the type T.
func doFor[T any](ctx context.Context, c *Client, op Operation, timeout time.Duration, request func(id uint64) dirty.Message) (T, error) {
	var payload responsePayload[T]
	err := c.do(ctx, &exchange{op, timeout, request, func(f dirty.Frame) error {
		payload = responsePayload[T]{} // an interceptor may call again
		return c.decodeOptions(f.Payload).UnmarshalPayload(f, &payload)
	}})
	if err != nil {
		var zero T // not half of a result
		return zero, err
	}
	return payload.Result, nil
}

// responsePayload is the payload of a RESPONSE.
type responsePayload[T any] struct {
	Result T `dirty:"result"`
}

// newRequest returns what makes the message of a call, whose last argument
// may be Kwargs.
func newRequest(op Operation, args []any) (func(id uint64) dirty.Message, error) {
	var kwargs Kwargs
	for i, arg := range args {
		if k, ok := arg.(Kwargs); ok {
			if i != len(args)-1 {
				err := fmt.Errorf("%w: argument %d of %d is Kwargs, which must be the last", ErrInvalidArgument, i+1, len(args))
				return nil, &OpError{Operation: op, Stage: StagePrepare, Err: err}
			}
			args, kwargs = args[:i], k
		}
	}
	return func(id uint64) dirty.Message { return dirty.NewRequest(id, op.App, op.Action, args, kwargs) }, nil
}
