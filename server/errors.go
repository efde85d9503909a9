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

// What can happen on this side, for [errors.Is]. What a client is told are
// the kinds of package dirty, such as [dirty.ErrApp].
const (
	// ErrServerClosed is what Serve returns after Shutdown or Close, and the
	// cause for which these end a handler's context.
	ErrServerClosed = sentinel("the server is closed")

	// ErrClientGone is the cause for which a handler's context ends when its
	// client has left, and what [ResponseWriter] returns then.
	ErrClientGone = sentinel("the client has left")

	// ErrReplied is what [ResponseWriter] returns when the reply is complete:
	// after Respond, and after the handler has returned.
	ErrReplied = sentinel("the reply is complete")

	// ErrStreaming is what [ResponseWriter.Respond] returns for a reply that
	// streams.
	ErrStreaming = sentinel("the reply streams, it has no single value")

	// ErrTooManyConns is what [Server.ServeConn] returns for a connection
	// beyond MaxConns.
	ErrTooManyConns = sentinel("too many connections")

	// ErrAbortHandler is what a handler panics with to drop its connection
	// without an answer and without a log line.
	ErrAbortHandler = sentinel("abort the handler")
)
