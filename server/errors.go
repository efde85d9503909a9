package server

import "strings"

// sentinel is an error that is known by its identity.
type sentinel string

// Error returns the text with the prefix.
func (s sentinel) Error() string { return prefix + string(s) }

// prefix begins the text of every error of this package. It stands there once:
// inside of a line an error is unprefixed.
const prefix = "dirty: "

// unprefixed is the text of an error for the middle of a line.
func unprefixed(err error) string { return strings.TrimPrefix(err.Error(), prefix) }

// chain is an error that is all of its errors, each the reason of the one
// before.
type chain []error

// Error returns the texts in one line.
func (c chain) Error() string {
	texts := make([]string, len(c))
	for i, err := range c {
		texts[i] = unprefixed(err)
	}
	return prefix + strings.Join(texts, ": ")
}

// Unwrap returns the errors, for [errors.Is] and [errors.As].
func (c chain) Unwrap() []error { return c }

// The errors of this package, for [errors.Is]. What clients are told has the
// kinds of package dirty, such as [dirty.ErrApp].
const (
	// ErrServerClosed is what Serve returns after Shutdown or Close. It is also
	// the cause when these end a handler's context.
	ErrServerClosed = sentinel("the server is closed")

	// ErrClientGone is the cause of a handler's context when the client has
	// left. The methods of [ResponseWriter] return it then.
	ErrClientGone = sentinel("the client has left")

	// ErrReplied is what the methods of [ResponseWriter] return when the reply
	// is complete: after Respond, and after the handler has returned.
	ErrReplied = sentinel("the reply is complete")

	// ErrStreaming is what [ResponseWriter.Respond] returns after Chunk or
	// Stream.
	ErrStreaming = sentinel("the reply streams, it has no single value")

	// ErrNoReply is what [ResponseWriter.Frame] returns for a frame that is no
	// RESPONSE, ERROR, CHUNK or END.
	ErrNoReply = sentinel("the frame is no reply")

	// ErrTooManyConns is what [Server.ServeConn] returns for a connection
	// beyond MaxConns.
	ErrTooManyConns = sentinel("too many connections")

	// ErrAbortHandler is for a handler to panic with. Its connection is closed
	// without an answer and without a log line. So the client knows that the
	// outcome of its call is not known: see [FrameHandler].
	ErrAbortHandler = sentinel("abort the handler")
)
