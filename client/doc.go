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
// No wait is without a bound, because gunicorn can lose a request for ever when
// a worker dies. A call lasts until its context's deadline or, if there is
// none, 30 seconds ([WithTimeout]). A stream may last for ever, but a chunk
// must come every 30 seconds ([WithStreamTimeout]).
//
// The arbiter routes calls to the workers in turn, busy or not: a fast call
// may wait for a stranger's slow one. Slowness is no reason to call again.
//
// # Cancel
//
// When a context ends, the client closes the connection; the protocol has no
// other cancel. A stream stops at the peer with its next chunk or two. An
// action that does not stream runs to its end and holds its worker until then,
// and so does one that waited in the arbiter's queue. [WithMaxConns] near the
// number of workers keeps the queue on this side, where it can be left.
//
// A stream that is not read blocks its worker for everybody. Read it quickly,
// leave the loop, or read ahead ([WithReadAhead]).
//
// # Retry
//
// The client repeats a call by itself, once and on another connection, only
// where the peer cannot have acted: a kept connection was dead before the
// request was written whole, or the operation only reads and a kept connection
// was at its end. [SafeToRetry] and [ErrOutcomeUnknown] tell the caller of any
// other failure how it is.
//
// # Errors
//
// What the arbiter answers is a [*dirty.RemoteError] of a kind such as
// [dirty.ErrApp] or [dirty.ErrNoWorkers]. What happened to the call is an
// [*OpError] around it, or around the context's error and cause, [ErrTimeout],
// [ErrUnavailable], a system error, or one of the other sentinels.
//
// A reply is delivered only if it carries the id of the request: gunicorn up to
// 26.0 can hand the late answer of one client to another.
package client
