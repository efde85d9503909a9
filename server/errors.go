package server

type sentinel string

func (s sentinel) Error() string { return string(s) }

// What can happen on this side, for [errors.Is]. What a client is told are
// the kinds of package dirty, such as [dirty.ErrApp].
const (
	// ErrServerClosed is what Serve returns after Shutdown or Close, and the
	// cause for which these end a handler's context.
	ErrServerClosed = sentinel("dirty: the server is closed")

	// ErrClientGone is the cause for which a handler's context ends when its
	// client has left, and what [ResponseWriter] returns then.
	ErrClientGone = sentinel("dirty: the client has left")

	// ErrReplied is what [ResponseWriter] returns when the reply is complete:
	// after Respond, and after the handler has returned.
	ErrReplied = sentinel("dirty: the reply is complete")

	// ErrStreaming is what [ResponseWriter.Respond] returns for a reply that
	// streams.
	ErrStreaming = sentinel("dirty: the reply streams, it has no single value")

	// ErrTooManyConns is what [Server.ServeConn] returns for a connection
	// beyond MaxConns.
	ErrTooManyConns = sentinel("dirty: too many connections")

	// ErrAbortHandler is what a handler panics with to drop its connection
	// without an answer and without a log line.
	ErrAbortHandler = sentinel("dirty: abort the handler")
)
