package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Interceptor is called around each call, and calls next to make it: for
// policies such as limits, circuit breakers, hedging, or more retries than the
// client's own. What it returns is the error of the call.
//
// It may change the arguments of call, which are a copy of its own, before it
// calls next; next takes a copy when it begins. It may call next again after a
// failure, and several times at once. The first attempt that succeeds gives the
// call its result; the others are cancelled, and each next, that of a later
// attempt too, returns as the call ends. When the interceptor returns, attempts
// that still run are cancelled, and next makes no more of them. The context that
// it passes to next is that of the attempt.
//
// For a stream next returns when the stream has ended: it spans its whole life.
// An attempt succeeds with its first chunk; until then another one may take its
// place. What the interceptor returns is what the reader of the stream gets at
// its end, nil as [io.EOF], and to return before that end is to close it.
//
// An interceptor runs in a goroutine of its own. If it panics or calls
// [runtime.Goexit], the call fails with [ErrHookFailed].
type Interceptor func(ctx context.Context, call *CallInfo, next func(context.Context) error) error

// CallInfo is a call as an [Interceptor] sees it. Of the operations only execute
// and stream have arguments; those of others are empty, and to add some has no
// effect. The Operation cannot be changed.
type CallInfo struct {
	Operation
	Args   []any
	Kwargs Kwargs // an interceptor never finds it nil
}

// takesArguments reports whether the peer is sent arguments.
func (call *CallInfo) takesArguments() bool { return call.Name == "execute" || call.Name == "stream" }

// clone copies a call, but not the values of its arguments.
func (call *CallInfo) clone() *CallInfo {
	kwargs := make(Kwargs, len(call.Kwargs))
	maps.Copy(kwargs, call.Kwargs)
	return &CallInfo{call.Operation, slices.Clone(call.Args), kwargs}
}

const (
	errInterceptorReturned = sentinel("the interceptor has returned")
	errOtherAttempt        = sentinel("another attempt has succeeded")
)

// chain is the interceptors around a call, each inside the one before it, and
// the attempt in the last of them.
type chain struct {
	client  *Client
	attempt func(ctx context.Context, call *CallInfo) error
	sent    atomic.Bool // a request was written whole; set by attempt
}

// run calls the interceptors from the i-th on.
func (ch *chain) run(ctx context.Context, i int, outer *CallInfo) error {
	call, hook := outer.clone(), hookValue
	f := func() error { return ch.attempt(ctx, call) }
	if i < len(ch.client.cfg.interceptors) {
		next, end := ch.next(i, call)
		defer end()
		hook, f = hookInterceptor, func() error { return ch.client.cfg.interceptors[i](ctx, call, next) }
	} else if err := call.check(); err != nil {
		return err
	}
	err := ch.client.cfg.hooks.guard(hook, f)
	if failure, ok := err.(*hookError); ok {
		return ch.fail(outer.Operation, failure)
	}
	return err
}

// next returns what the i-th interceptor calls, and what ends that.
func (ch *chain) next(i int, call *CallInfo) (next func(context.Context) error, end func()) {
	op := call.Operation
	running, cancel := context.WithCancelCause(context.Background())
	next = func(ctx context.Context) error {
		if running.Err() != nil {
			return ch.fail(op, errInterceptorReturned)
		}
		if err := checkContext(ctx); err != nil {
			return ch.fail(op, err)
		}
		ctx, leave := joinContext(ctx, running)
		defer leave()
		return ch.run(ctx, i+1, &CallInfo{op, call.Args, call.Kwargs})
	}
	return next, func() { cancel(errInterceptorReturned) }
}

// fail makes an error of the call that is not that of an attempt.
func (ch *chain) fail(op Operation, err error) error {
	stage, sent := StagePrepare, ch.sent.Load()
	if sent {
		stage = StageRead
	}
	return &OpError{Operation: op, Stage: stage, Sent: sent, Err: err}
}

// joinContext returns a context that ends with another one too, for its cause.
func joinContext(ctx, other context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// doIntercepted makes an exchange inside all interceptors.
func (c *Client) doIntercepted(ctx context.Context, x exchange) (any, error) {
	ch, r := &chain{client: c}, newRace()
	ch.attempt = func(ctx context.Context, call *CallInfo) error {
		return r.run(ctx, func(ctx context.Context) (any, error) {
			result, err := c.attempt(ctx, &x, call)
			if failed := (*OpError)(nil); err == nil || errors.As(err, &failed) && failed.Sent {
				ch.sent.Store(true)
			}
			return result, err
		}, func() error { return ch.fail(call.Operation, errInterceptorReturned) })
	}
	err := ch.run(ctx, 0, &x.call)
	return r.finish(), err
}

// race is between the attempts that interceptors make for one call. The first
// one that succeeds wins.
type race struct {
	running  context.Context // ends when the race is decided or over
	end      context.CancelCauseFunc
	attempts sync.WaitGroup

	mu     sync.Mutex
	over   bool // the interceptors have returned
	won    bool
	result any
}

func newRace() *race {
	r := &race{}
	r.running, r.end = context.WithCancelCause(context.Background())
	return r
}

// run makes an attempt. It returns nil if this one or another has won, and late
// if it is too late to win.
func (r *race) run(ctx context.Context, attempt func(context.Context) (any, error), late func() error) error {
	r.mu.Lock()
	if r.won || r.over {
		defer r.mu.Unlock()
		return r.outcome(nil, late)
	}
	r.attempts.Add(1)
	r.mu.Unlock()
	defer r.attempts.Done()
	ctx, leave := joinContext(ctx, r.running)
	defer leave()
	result, err := attempt(ctx)

	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && !r.won && !r.over {
		r.won, r.result = true, result
		r.end(errOtherAttempt)
	}
	return r.outcome(err, late)
}

// outcome is what an attempt that ended with err returns. The lock is held.
func (r *race) outcome(err error, late func() error) error {
	if r.won {
		return nil
	}
	if err == nil {
		return late()
	}
	return err
}

// finish cancels the attempts that still run, and waits for them: they use the
// caller's arguments. It returns the result, if one has won.
func (r *race) finish() any {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.end(errInterceptorReturned)
	r.attempts.Wait()
	return r.result
}
