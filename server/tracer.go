package server

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Tracer observes what a server is asked and what it answers: for traces, metrics and
// tests. It sees requests and the messages for the stash, the status and the workers.
// Functions that are nil are skipped. All may be called concurrently. None gets
// arguments or results.
//
// A panic in a function is logged and counted, and changes no reply. A function that
// calls [runtime.Goexit] ends its goroutine, as a handler that does so: the client is
// told of an internal error, if it has no reply yet. One that blocks holds up its
// connection. None may call the ResponseWriter.
type Tracer struct {
	// TakeKeyword is the name of a keyword argument that is for the Tracer: requests
	// lose it before a handler sees them, and Start gets its value. What a
	// FrameHandler gets stays as it is. "" is none.
	TakeKeyword string

	// Start is called when a message was read, before it waits for MaxConcurrent.
	// What it returns is the context for the handler, and for the other functions;
	// nil leaves it as it is. Whatever Start returns, the handler's context ends
	// no later than it would without a Tracer.
	Start func(ctx context.Context, call CallInfo) context.Context

	// Waited is called when a request has its turn, or does not wait for it any
	// more. d is how long it waited. It is not called without MaxConcurrent.
	Waited func(ctx context.Context, call CallInfo, d time.Duration)

	// Chunk is called when a chunk was written. With
	// [ResponseWriter.GatherChunks] it may still be on its way.
	Chunk func(ctx context.Context, call CallInfo)

	// Done is called once for each Start, when the reply was written or cannot be.
	// The next message of the connection is answered after it.
	Done func(ctx context.Context, call CallInfo, r CallResult)
}

// CallInfo is what a [Tracer] is told of a message. It comes from the client, and
// nobody has checked it.
type CallInfo struct {
	Type        dirty.MessageType
	App, Action string         // of a request; "" if they cannot be read
	Stash       dirty.StashOp  // of a stash message; 0 if it cannot be read
	Manage      dirty.ManageOp // of a manage message; 0 if it cannot be read
	Taken       dirty.RawValue // a copy of the argument that TakeKeyword names; nil if there is none
	PeerPID     int            // the client's process id as [PeerCred] has it, or 0 if it is not known
}

// CallResult is how a message was answered.
type CallResult struct {
	// Outcome is one of these words, for the labels of metrics:
	//
	//	ok        the client was told a result, or the end of a stream
	//	error     the client was told an error
	//	aborted   the handler panicked with ErrAbortHandler
	//	canceled  the client left before its reply was complete
	//	closed    the server was closed before that
	//	timeout   the client did not read the reply in time
	//	lost      the reply could not be written for another reason
	Outcome string

	Class string // the class of the error that the client was told, such as [dirty.ClassApp]
	Err   error  // why the reply is not complete; nil if Outcome is ok or error

	// Panic is what code of the user's has panicked with, or nil. After
	// [runtime.Goexit] it is an error that says so.
	Panic any

	Chunks   int           // that were written
	Waited   time.Duration // for MaxConcurrent
	Duration time.Duration // from Start on, all included
}

// trace tells the Tracer of one message. The nil trace does nothing.
type trace struct {
	tracer  *Tracer
	journal *journal
	call    CallInfo
	ctx     context.Context // as Start returned it
	begin   time.Time

	mu     sync.Mutex // a reply may be written by several goroutines
	result CallResult
}

// startTrace begins to trace a message, if there is a Tracer.
func (c *conn) startTrace(w *ResponseWriter, f dirty.Frame) {
	tracer := c.server.Tracer
	if tracer == nil {
		return
	}
	w.trace = &trace{tracer: tracer, journal: &c.server.journal, call: c.describe(f), ctx: w.ctx, begin: time.Now()}
	if tracer.Start == nil {
		return
	}
	w.trace.guard("Tracer.Start", func() {
		ctx := tracer.Start(w.ctx, w.trace.call)
		if ctx == nil {
			return
		}
		if ctx.Done() != w.ctx.Done() { // it may be no child of ours
			inner, cancel := context.WithCancelCause(ctx)
			outer := w.ctx // not w, which may be used again by then
			context.AfterFunc(outer, func() { cancel(context.Cause(outer)) })
			ctx = inner
		}
		w.trace.ctx = ctx
	})
}

// describe reads from a message what a Tracer is told. Of equal keys the last one
// counts, as for the handler.
func (c *conn) describe(f dirty.Frame) CallInfo {
	call := CallInfo{Type: f.Type}
	if cred, ok := PeerCred(c.given); ok {
		call.PeerPID = cred.PID
	}
	payload := dirty.View(f.Payload)
	switch f.Type {
	case dirty.TypeRequest:
		app, _ := payload.Get("app_path").Text()
		action, _ := payload.Get("action").Text()
		call.App, call.Action = string(app), string(action)
		if name := c.takenKeyword(); name != "" {
			call.Taken = dirty.RawValue(slices.Clone(payload.Get("kwargs").Get(name)))
		}
	case dirty.TypeStash:
		call.Stash = dirty.StashOp(operation(payload))
	case dirty.TypeManage:
		call.Manage = dirty.ManageOp(operation(payload))
	case dirty.TypeStatus:
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd: // ask for nothing
	}
	return call
}

// takenKeyword returns the name of the keyword argument that handlers do not see, or
// "".
func (c *conn) takenKeyword() string {
	if c.server.Tracer == nil {
		return ""
	}
	return c.server.Tracer.TakeKeyword
}

// operation reads the operation of a stash or manage message.
func operation(payload dirty.View) uint8 {
	n, _ := payload.Get("op").Int64()
	if n != int64(uint8(n)) {
		return 0
	}
	return uint8(n)
}

// now returns the time, or zero if nobody asks for it.
func (t *trace) now() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Now()
}

// endWait notes that a request has its turn, or does not wait any more.
func (t *trace) endWait(begin time.Time) {
	if t == nil {
		return
	}
	d := time.Since(begin)
	t.note(func(r *CallResult) { r.Waited = d })
	if t.tracer.Waited != nil {
		t.guard("Tracer.Waited", func() { t.tracer.Waited(t.ctx, t.call, d) })
	}
}

// tellChunk notes that a chunk was written.
func (t *trace) tellChunk() {
	if t == nil {
		return
	}
	t.note(func(r *CallResult) { r.Chunks++ })
	if t.tracer.Chunk != nil {
		t.guard("Tracer.Chunk", func() { t.tracer.Chunk(t.ctx, t.call) })
	}
}

// noteEnd notes that the client was told the end of the reply. class is "" unless
// that is an error.
func (t *trace) noteEnd(class string) {
	if t == nil {
		return
	}
	t.note(func(r *CallResult) {
		r.Outcome, r.Class = "ok", class
		if class != "" {
			r.Outcome = "error"
		}
	})
}

// notePanic notes what code of the user's has panicked with; nil is a Goexit.
func (t *trace) notePanic(v any) {
	if t == nil {
		return
	}
	if v == nil {
		v = errExit
	}
	t.note(func(r *CallResult) { r.Panic = v })
}

// errExit is the Panic of a CallResult after runtime.Goexit.
const errExit = sentinel("runtime.Goexit was called")

func (t *trace) note(f func(r *CallResult)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.result)
}

// end tells that the message is answered, or why it cannot be.
func (t *trace) end(err error) {
	if t == nil || t.tracer.Done == nil {
		return
	}
	t.mu.Lock()
	r := t.result
	t.mu.Unlock()
	t.guard("Tracer.Done", func() {
		if r.Outcome == "" {
			r.Outcome, r.Err = outcome(err), err
		}
		r.Duration = time.Since(t.begin)
		t.tracer.Done(t.ctx, t.call, r)
	})
}

// outcome is the word for why a reply is not complete.
func outcome(err error) string {
	switch {
	case errors.Is(err, errAborted):
		return "aborted"
	case errors.Is(err, ErrServerClosed):
		return "closed"
	case errors.Is(err, ErrClientGone):
		return "canceled"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return "lost"
}

// guard calls a function of the Tracer. A panic changes nothing but the log.
func (t *trace) guard(name string, f func()) {
	_ = t.journal.tryInside(name, nil, func() error { f(); return nil })
}
