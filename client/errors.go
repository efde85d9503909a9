package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty"
)

// sentinel is an error known by its identity. As in package dirty it begins
// with "dirty: ", which the errors around it leave out.
type sentinel string

func (s sentinel) Error() string { return prefix + string(s) }

// prefix begins each error that is returned, and stands nowhere else in it.
const prefix = "dirty: "

// plainText is the text of an error without any prefix.
func plainText(err error) string {
	text := strings.TrimPrefix(err.Error(), prefix)
	return strings.ReplaceAll(text, ": "+prefix, ": ")
}

// prefixedError is an error with the prefix at its start alone.
type prefixedError struct{ err error }

func (e *prefixedError) Error() string { return prefix + plainText(e.err) }
func (e *prefixedError) Unwrap() error { return e.err }

// errorf is fmt.Errorf for what is returned outside an [OpError].
func errorf(format string, args ...any) error { return &prefixedError{fmt.Errorf(format, args...)} }

// What can happen to a call on this side, for [errors.Is]. What the peer
// answers has the kinds of package dirty, such as [dirty.ErrApp].
const (
	ErrClosed            = sentinel("the client is closed")
	ErrNoSocket          = sentinel("no socket: use client.WithSocket or set GUNICORN_DIRTY_SOCKET")
	ErrUnavailable       = sentinel("the arbiter is not available")                       // refused, absent, stale, or its backlog stayed full
	ErrPoolTimeout       = sentinel("no connection became free in time")                  // all were in use until the call's time was up
	ErrTimeout           = sentinel("timed out on this side")                             // a timeout of the client's options; matches context.DeadlineExceeded too
	ErrOutcomeUnknown    = sentinel("the outcome is unknown")                             // the request was sent whole, no answer came; it may have been acted on
	ErrIDMismatch        = sentinel("the reply belongs to another request")               // it was not delivered; gunicorn up to 26.0 after a timeout
	ErrStreamingResponse = sentinel("the action streams: use Stream or OpenStream")       // a chunk came to a call
	ErrUnexpectedReply   = sentinel("a message that is no reply")                         // such as a request
	ErrStreamUsed        = sentinel("the stream was ranged over before")                  // a sequence can be used once
	ErrStreamClosed      = sentinel("the stream is closed")                               // by Stream.Close
	ErrUnsupportedPeer   = sentinel("gunicorn 25.0 speaks JSON: 25.1 or later is needed") // recognised by its answer to a probe
	ErrInvalidArgument   = sentinel("invalid argument")                                   // refused before anything was sent
	ErrHookFailed        = sentinel("code that was given to the client failed")           // a Dialer, Resolver, Interceptor, Tracer or Marshaler panicked or called runtime.Goexit; the error names it
)

// Stage is the step at which a call failed.
type Stage string

// The stages of a call, in order.
const (
	StagePrepare Stage = "prepare" // the arguments
	StageWait    Stage = "wait"    // for a connection: all are in use
	StageDial    Stage = "dial"    // for a new connection
	StageWrite   Stage = "write"
	StageRead    Stage = "read"
	StageDecode  Stage = "decode" // the answer was received
)

// Operation names a call, for errors, tracers and interceptors. It never
// holds arguments or values.
type Operation struct {
	Name        string // "execute", "stream", "forward", "status", "manage add", "stash get", ...
	App, Action string // of execute, stream and forward
	Table, Key  string // of stash operations

	reads bool // changes nothing at the peer
}

// String returns, for example, `execute app:Model.predict` or
// `stash get "sessions"["k1"]`.
func (o Operation) String() string {
	switch {
	case o.App != "" || o.Action != "":
		return o.Name + " " + o.App + "." + o.Action
	case o.Key != "":
		return fmt.Sprintf("%s %q[%q]", o.Name, o.Table, o.Key)
	case o.Table != "":
		return fmt.Sprintf("%s %q", o.Name, o.Table)
	}
	return o.Name
}

// ReadOnly reports whether the operation changes nothing at the peer: status,
// and of the stash get, keys, info, tables and exists.
func (o Operation) ReadOnly() bool { return o.reads }

// OpError is the failure of a call: which, how far it came, and why. It
// matches [ErrOutcomeUnknown] if the peer may have acted without our knowing.
// As [net.Error] it tells a timeout, ours or the peer's; the full backlog of an
// arbiter (EAGAIN) is none.
type OpError struct {
	Operation
	Stage Stage
	Sent  bool // the request was written whole, so that the peer may have acted
	Err   error
}

// Error returns a line for people, which may change; do not parse it. It holds
// the peer's message but not its traceback.
func (e *OpError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, prefix+"%v: ", e.Operation)
	if !e.answered() {
		fmt.Fprintf(&b, "%s: ", e.Stage)
	}
	if r, ok := e.Err.(*dirty.RemoteError); ok { // as it is: the peer may have said "dirty: " itself
		b.WriteString(strings.TrimPrefix(r.Error(), prefix))
	} else {
		b.WriteString(plainText(e.Err))
	}
	if e.outcomeUnknown() {
		b.WriteString("; the outcome is unknown")
	}
	return b.String()
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Is reports whether target is ErrOutcomeUnknown and the outcome is unknown.
func (e *OpError) Is(target error) bool {
	return target == ErrOutcomeUnknown && e.outcomeUnknown()
}

// Timeout reports whether a timeout is the reason: the context's deadline, the
// client's own timeout, or gunicorn's dirty_timeout.
func (e *OpError) Timeout() bool {
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, dirty.ErrPeerTimeout)
}

// Temporary is what [net.Error] asks for; it is the same as SafeToRetry.
func (e *OpError) Temporary() bool { return SafeToRetry(e) }

func (e *OpError) remote() (*dirty.RemoteError, bool) {
	var r *dirty.RemoteError
	return r, errors.As(e.Err, &r)
}

// answered reports whether the peer's answer to this request was received.
func (e *OpError) answered() bool {
	_, remote := e.remote()
	return remote || e.Stage == StageDecode
}

// outcomeUnknown reports whether the peer may have acted. A peer that cannot read
// what it got has not.
func (e *OpError) outcomeUnknown() bool {
	return e.Sent && !e.reads && !e.answered() && !errors.Is(e.Err, ErrUnsupportedPeer)
}

// SafeToRetry reports whether err is the failure of a call that can be made
// again without the peer acting twice, and that may succeed then: the request
// was not written whole, or it only reads, or the peer says that nothing ran.
// It is false for errors that a repetition would only repeat: arguments that
// cannot be encoded, answers of the wrong type, a closed client, no address.
//
// The peer says that nothing ran with [dirty.ErrNoWorkers], and with some errors
// of a dying worker. Those are recognised by their texts. The texts of every
// supported release of gunicorn are known; any other is taken to be unsafe.
//
// Wait before a repetition: gunicorn needs 0.1 to 0.3 seconds to replace a
// worker or an arbiter, and calls that were cancelled still wait in its queue.
func SafeToRetry(err error) bool {
	var e *OpError
	if !errors.As(err, &e) {
		return false
	}
	for _, lasting := range lastingErrors {
		if errors.Is(err, lasting) {
			return false
		}
	}
	if r, ok := e.remote(); ok {
		return errors.Is(r, dirty.ErrNoWorkers) || errors.Is(r, dirty.ErrWorker) && neverRan(r.Message)
	}
	switch e.Stage {
	case StagePrepare, StageDecode:
		return false
	}
	return !e.Sent || e.reads
}

// lastingErrors come again however often a call is repeated.
var lastingErrors = []error{ErrClosed, ErrNoSocket, ErrUnsupportedPeer, ErrHookFailed}

// neverRan reports whether a message of the arbiter's says that no worker
// received the request. In 240 kills of a worker 121 requests ended with one of
// these texts, and none had run; some that ended with "0 bytes read" had.
func neverRan(message string) bool {
	message, ok := strings.CutPrefix(message, "Worker communication failed: ")
	if !ok {
		return false
	}
	for _, text := range []string{"[Errno 104] ", "[Errno 111] ", "No socket for worker ", "Worker socket not ready: "} {
		if strings.HasPrefix(message, text) {
			return true
		}
	}
	return message == "Connection lost"
}

// timeoutError says that a timeout of the client's options has passed.
type timeoutError struct {
	what string
	d    time.Duration
}

func (e *timeoutError) Error() string { return fmt.Sprintf("%s of %v passed", e.what, e.d) }
func (e *timeoutError) Timeout() bool { return true }
func (e *timeoutError) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// contextError returns the error of a context that has ended, with its cause.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// because puts a sentinel in front of a reason.
func because(s sentinel, reason error) error { return errorf("%w: %w", s, reason) }
