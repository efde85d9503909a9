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
	call, err := newCall(Operation{Name: "execute", App: app, Action: action}, args)
	if err != nil {
		var zero T
		return zero, err
	}
	return doFor[T](ctx, c, call, c.cfg.Timeout, newRequest)
}

// doFor makes an exchange whose result has the type T.
func doFor[T any](ctx context.Context, c *Client, call CallInfo, timeout time.Duration, request requestFunc) (T, error) {
	result, err := c.do(ctx, &exchange{call: call, timeout: timeout, request: request, decode: decodeResponse[T]})
	if payload, ok := result.(*responsePayload[T]); ok && err == nil {
		return payload.Result, nil
	}
	var zero T // not half of a result
	return zero, err
}

// responsePayload is the payload of a RESPONSE.
type responsePayload[T any] struct {
	Result T `dirty:"result"`
}

// decodeResponse decodes a RESPONSE to a *responsePayload[T], a new one for each
// attempt: attempts at one time do not share a result.
func decodeResponse[T any](o dirty.DecodeOptions, b *dirty.FrameBuffer) (any, error) {
	payload := new(responsePayload[T])
	return payload, b.UnmarshalPayload(o, payload)
}

// newCall takes the arguments of a call, of which the last may be Kwargs.
func newCall(op Operation, args []any) (CallInfo, error) {
	call := CallInfo{Operation: op, Args: args}
	if n := len(args); n > 0 {
		if kwargs, ok := args[n-1].(Kwargs); ok {
			call.Args, call.Kwargs = args[:n-1], kwargs
		}
	}
	return call, call.check()
}

// check refuses arguments that would become a dict by mistake.
func (call *CallInfo) check() error {
	for i, arg := range call.Args {
		if _, ok := arg.(Kwargs); ok {
			err := fmt.Errorf("%w: argument %d of %d is Kwargs, which must be the last", ErrInvalidArgument, i+1, len(call.Args))
			return &OpError{Operation: call.Operation, Stage: StagePrepare, Err: err}
		}
	}
	return nil
}

// newRequest makes the message of a call of an action.
func newRequest(c *conn, id uint64, call CallInfo) dirty.Message {
	c.request = *dirty.NewRequest(id, call.App, call.Action, call.Args, call.Kwargs)
	return &c.request
}
