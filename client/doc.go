// Package client calls a gunicorn dirty arbiter: it executes actions of Python
// apps, streams their chunks, shares state through the stash, asks for the
// status, and adds and removes workers.
//
//	c, err := client.New() // the socket is GUNICORN_DIRTY_SOCKET; see WithSocket
//	label, err := client.Call[string](ctx, c, "app:Model", "predict", image)
//	for token, err := range client.StreamOf[string](ctx, c, "app:LLM", "generate", prompt) { ... }
//
// A [Client] holds a pool of connections and may be used concurrently. Nothing
// is dialled before the first call.
//
// # Time
//
// Every wait has a bound, because gunicorn can lose a request for ever when a
// worker dies. A call ends at its context's deadline; without one it ends after
// 30 seconds ([WithTimeout]). A stream may last for ever, but a chunk must come
// every 30 seconds ([WithStreamTimeout]). A timer of the client's closes the
// connection when the time is up, so the bounds hold for connections without
// deadlines too.
//
// The arbiter gives calls to its workers in turn, busy or not: a fast call may
// wait behind a slow one of another client. That a call is slow is no reason to
// make it again.
//
// # Cancel
//
// When a context ends, the client closes the connection. The protocol knows no
// other way to cancel. A stream then stops at the peer with its next chunk or
// two. An action that does not stream runs to its end and holds its worker until
// then; so does one that still waits in the arbiter's queue. With [WithMaxConns]
// near the number of workers calls wait on this side instead, where they can be
// cancelled.
//
// A stream that is not read blocks its worker for everybody. Read it quickly,
// leave the loop, or read ahead ([WithReadAhead]).
//
// # Retry
//
// The client repeats a call by itself only where the peer cannot have acted: a
// kept connection was dead before the request was written whole, or it was at
// its end and the operation only reads. It does so once, on another connection.
// [WithRetry] makes it repeat more, with pauses. For all other failures
// [SafeToRetry] and [ErrOutcomeUnknown] tell the caller whether a repetition is
// safe.
//
// # Errors
//
// What the arbiter answers is a [*dirty.RemoteError] of a kind such as
// [dirty.ErrApp] or [dirty.ErrNoWorkers]. An [*OpError] is around it and says what
// happened to the call. Without an answer it is around the context's error and
// cause, [ErrTimeout], [ErrUnavailable], a system error, or another error of this
// package. [Outcome] gives a word for metrics.
//
// # Your own code
//
// The functions that options take, the connections of a [Dialer], and the
// methods of arguments and results may panic, call [runtime.Goexit], or call the
// client. A panic is an error of the call that names its source and matches
// [ErrHookFailed]; the stack is logged. A Goexit is one too, but in a method of a
// value, where it ends the goroutine of the caller. Nothing is lost in either
// case.
//
// The one exception is a context of a type of your own. Package context calls its
// methods in goroutines of its own, where a panic ends the process.
//
// # Replies of others
//
// A reply is delivered only if it carries the id of the request: gunicorn up to
// 26.0 can hand the late answer of one client to another.
package client
