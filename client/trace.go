package client

import (
	"context"
	"time"
)

// Tracer observes calls. CallStart is called before anything is done, and what
// it returns is the context of the call; CallEnd with that context when it is
// over: for a stream when the last frame was read, or it was closed. Both may be
// called concurrently, and must not call the client's Close or Shutdown.
//
// A Tracer may also be a [DialTracer], an [AcquireTracer], an [AttemptTracer]
// or a [ChunkTracer].
type Tracer interface {
	CallStart(ctx context.Context, op Operation) context.Context
	CallEnd(ctx context.Context, op Operation, result CallResult)
}

// CallResult is how a call ended.
type CallResult struct {
	Err      error // nil for success; ErrStreamClosed for a stream that was left
	Duration time.Duration
	Chunks   int // of a stream, those that were delivered
}

// DialTracer observes dials. The context is not that of a call.
type DialTracer interface {
	DialDone(ctx context.Context, d DialResult)
}

// DialResult is how a dial ended.
type DialResult struct {
	Path     string // "" if it was not found
	PeerPID  int    // the arbiter's process id, or 0 if it is not known
	Retries  int    // because the backlog was full, or of WithWaitForServer
	Duration time.Duration
	Err      error
}

// AcquireTracer observes how long calls wait for a connection.
type AcquireTracer interface {
	AcquireDone(ctx context.Context, op Operation, a AcquireResult)
}

// AcquireResult is how a call came by its connection.
type AcquireResult struct {
	Reused   bool
	Duration time.Duration
	Err      error
}

// AttemptTracer observes what the client does again by itself.
type AttemptTracer interface {
	// RetryStart is called before the attempt of that number, 2 or more,
	// because of err.
	RetryStart(ctx context.Context, op Operation, attempt int, err error)
}

// ChunkTracer observes the chunks of streams.
type ChunkTracer interface {
	// ChunkRead is called when a chunk was read, with the size of its payload
	// in bytes.
	ChunkRead(ctx context.Context, op Operation, size int)
}

// Interceptor is called around each call, and calls next to make it: for
// policies such as limits, circuit breakers, or more retries than the client's
// own, by calling next again. The context that it passes is that of the call; of a
// stream only until the request was sent, which is all of it that it sees.
type Interceptor func(ctx context.Context, op Operation, next func(context.Context) error) error

// tracers are all tracers, by what they observe.
type tracers struct {
	calls    []Tracer
	dials    []DialTracer
	acquires []AcquireTracer
	attempts []AttemptTracer
	chunks   []ChunkTracer
	invalid  bool
}

func (ts *tracers) add(t Tracer) {
	if t == nil {
		ts.invalid = true
		return
	}
	ts.calls = append(ts.calls, t)
	if t, ok := t.(DialTracer); ok {
		ts.dials = append(ts.dials, t)
	}
	if t, ok := t.(AcquireTracer); ok {
		ts.acquires = append(ts.acquires, t)
	}
	if t, ok := t.(AttemptTracer); ok {
		ts.attempts = append(ts.attempts, t)
	}
	if t, ok := t.(ChunkTracer); ok {
		ts.chunks = append(ts.chunks, t)
	}
}

// start tells of a call and returns its context and what tells of its end.
func (ts *tracers) start(ctx context.Context, op Operation) (context.Context, func(err error, chunks int)) {
	if len(ts.calls) == 0 {
		return ctx, func(error, int) {}
	}
	begin := time.Now()
	contexts := make([]context.Context, len(ts.calls))
	for i, t := range ts.calls {
		ctx = t.CallStart(ctx, op)
		contexts[i] = ctx
	}
	return ctx, func(err error, chunks int) {
		result := CallResult{Err: err, Duration: time.Since(begin), Chunks: chunks}
		for i := len(ts.calls) - 1; i >= 0; i-- {
			ts.calls[i].CallEnd(contexts[i], op, result)
		}
	}
}

func (ts *tracers) dialed(ctx context.Context, d DialResult) {
	for _, t := range ts.dials {
		t.DialDone(ctx, d)
	}
}

// acquire returns what tells how a call came by its connection.
func (ts *tracers) acquire(ctx context.Context, op Operation) func(c *conn, err error) {
	if len(ts.acquires) == 0 {
		return func(*conn, error) {}
	}
	begin := time.Now()
	return func(c *conn, err error) {
		result := AcquireResult{Reused: c != nil && c.reused, Duration: time.Since(begin), Err: err}
		for _, t := range ts.acquires {
			t.AcquireDone(ctx, op, result)
		}
	}
}

func (ts *tracers) retry(ctx context.Context, op Operation, attempt int, err error) {
	for _, t := range ts.attempts {
		t.RetryStart(ctx, op, attempt, err)
	}
}

func (ts *tracers) chunk(ctx context.Context, op Operation, size int) {
	for _, t := range ts.chunks {
		t.ChunkRead(ctx, op, size)
	}
}
