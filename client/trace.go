package client

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Tracer observes calls: for traces, metrics and tests. Functions that are nil
// are skipped. All may be called concurrently. None gets arguments or values.
//
// The context of each but Dialed is the one that CallStart of the same Tracer
// returned, or is derived from it. A function that panics or calls
// [runtime.Goexit] fails the call or the dial that it was called for, with
// [ErrHookFailed]; one that blocks holds it up.
type Tracer struct {
	// CallStart is called before anything is done. What it returns is the
	// context of the call; nil leaves it as it is.
	CallStart func(ctx context.Context, op Operation) context.Context

	// AddKeyword returns a keyword argument that the call sends along for the
	// tracer of the peer: its name, which is "" for none, and its value. It is
	// called for execute and stream, after CallStart. An argument of that name that
	// the caller gives is kept. An action that does not take the argument raises.
	AddKeyword func(ctx context.Context, op Operation) (name string, value any)

	// CallDone is called when the call is over: for a stream when its last
	// frame was read, or it was closed, and its interceptors have returned.
	CallDone func(ctx context.Context, op Operation, r CallResult)

	// AcquireStart is called before an attempt of the call asks the pool for a
	// connection, and AcquireDone when that ended.
	AcquireStart func(ctx context.Context, op Operation)
	AcquireDone  func(ctx context.Context, op Operation, r AcquireResult)

	// Retry is called before the client makes a call again by itself: attempt
	// is 2 or more, and err is why the attempt before it failed.
	Retry func(ctx context.Context, op Operation, attempt int, err error)

	// Chunk is called when a chunk of a stream was read; size is that of its
	// payload in bytes.
	Chunk func(ctx context.Context, op Operation, size int)

	// Dialed is called when a dial ended. The context is not that of a call:
	// a dial serves whichever call waits when it is done.
	Dialed func(ctx context.Context, r DialResult)
}

// CallResult is how a call ended.
type CallResult struct {
	Err      error // what the caller gets; nil for success; ErrStreamClosed for a stream that was left
	Duration time.Duration
	Chunks   int // chunks of a stream that were delivered
}

// AcquireResult is how an attempt came by its connection, or why it has none.
type AcquireResult struct {
	Path     string // of the arbiter's socket
	PeerPID  int    // the arbiter's process id, or 0 if it is not known
	Reused   bool   // it was used before
	Duration time.Duration
	Err      error
}

// DialResult is how a dial ended.
type DialResult struct {
	Path     string // "" if it was not found
	PeerPID  int    // the arbiter's process id, or 0 if it is not known
	Retries  int    // because the backlog was full, or of WithWaitForServer
	Duration time.Duration
	Err      error
}

// tracers are all tracers, the outermost first.
type tracers struct {
	list  []Tracer
	hooks *hooks
}

// each calls a function of each tracer until one fails.
func (ts *tracers) each(name string, call func(t *Tracer) func() error) error {
	for i := range ts.list {
		if f := call(&ts.list[i]); f != nil {
			if err := ts.hooks.guard(name, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// tracing is a call that the tracers were told of. The nil one is of no tracers.
type tracing struct {
	tracers  *tracers
	op       Operation
	begin    time.Time
	ctx      context.Context    // of the call
	contexts []context.Context  // as each tracer that knows of the call returned it
	one      [1]context.Context // memory for contexts
}

// start tells of a call, and returns its context and its keyword arguments, to which it
// may have added some.
func (ts *tracers) start(ctx context.Context, call CallInfo) (context.Context, Kwargs, *tracing, error) {
	if len(ts.list) == 0 {
		return ctx, call.Kwargs, nil, nil
	}
	return ts.startTracing(ctx, call)
}

// startTracing is start if there are tracers.
func (ts *tracers) startTracing(ctx context.Context, call CallInfo) (context.Context, Kwargs, *tracing, error) {
	t := &tracing{tracers: ts, op: call.Operation, begin: time.Now(), ctx: ctx}
	t.contexts = t.one[:0]
	for i := range ts.list {
		if err := t.start(&ts.list[i], &call); err != nil {
			return t.ctx, call.Kwargs, t, err
		}
	}
	return t.ctx, call.Kwargs, t, nil
}

// start tells one tracer.
func (t *tracing) start(tracer *Tracer, call *CallInfo) error {
	if tracer.CallStart != nil {
		if err := t.tracers.hooks.guard("Tracer.CallStart", func() error {
			if inner := tracer.CallStart(t.ctx, t.op); inner != nil {
				t.ctx = inner
			}
			return nil
		}); err != nil {
			return err
		}
	}
	t.contexts = append(t.contexts, t.ctx)
	if tracer.AddKeyword == nil || !call.takesArguments() {
		return nil
	}
	return t.tracers.hooks.guard("Tracer.AddKeyword", func() error {
		name, value := tracer.AddKeyword(t.ctx, t.op)
		if _, given := call.Kwargs[name]; given || name == "" {
			return nil
		}
		kwargs := make(Kwargs, len(call.Kwargs)+1) // that of the caller stays as it is
		maps.Copy(kwargs, call.Kwargs)
		kwargs[name] = value
		call.Kwargs = kwargs
		return nil
	})
}

// end tells the tracers that know of a call how it ended. The error is that of a
// tracer.
func (t *tracing) end(err error, chunks int) (failure error) {
	if t == nil {
		return nil
	}
	result := CallResult{Err: err, Duration: time.Since(t.begin), Chunks: chunks}
	for i, ctx := range slices.Backward(t.contexts) {
		if done := t.tracers.list[i].CallDone; done != nil {
			if err := t.tracers.hooks.guard("Tracer.CallDone", func() error { done(ctx, t.op, result); return nil }); err != nil {
				failure = err
			}
		}
	}
	return failure
}

// startAcquire tells that an attempt asks for a connection.
func (ts *tracers) startAcquire(ctx context.Context, op Operation) (begin time.Time, err error) {
	if len(ts.list) == 0 {
		return time.Time{}, nil
	}
	return time.Now(), ts.each("Tracer.AcquireStart", func(t *Tracer) func() error {
		if t.AcquireStart == nil {
			return nil
		}
		return func() error { t.AcquireStart(ctx, op); return nil }
	})
}

// endAcquire tells how an attempt came by its connection.
func (ts *tracers) endAcquire(ctx context.Context, op Operation, begin time.Time, c *conn, err error) error {
	if len(ts.list) == 0 {
		return nil
	}
	r := AcquireResult{Duration: time.Since(begin), Err: err}
	if c != nil {
		r.Path, r.PeerPID, r.Reused = c.peer.path, c.peer.pid, c.reused
	}
	return ts.each("Tracer.AcquireDone", func(t *Tracer) func() error {
		if t.AcquireDone == nil {
			return nil
		}
		return func() error { t.AcquireDone(ctx, op, r); return nil }
	})
}

func (ts *tracers) retry(ctx context.Context, op Operation, attempt int, err error) error {
	return ts.each("Tracer.Retry", func(t *Tracer) func() error {
		if t.Retry == nil {
			return nil
		}
		return func() error { t.Retry(ctx, op, attempt, err); return nil }
	})
}

func (ts *tracers) chunk(ctx context.Context, op Operation, size int) error {
	return ts.each("Tracer.Chunk", func(t *Tracer) func() error {
		if t.Chunk == nil {
			return nil
		}
		return func() error { t.Chunk(ctx, op, size); return nil }
	})
}

func (ts *tracers) dialed(ctx context.Context, r DialResult) error {
	return ts.each("Tracer.Dialed", func(t *Tracer) func() error {
		if t.Dialed == nil {
			return nil
		}
		return func() error { t.Dialed(ctx, r); return nil }
	})
}
