// Package server answers gunicorn's dirty clients as a dirty arbiter does. With
// it Go functions stand behind Python web apps, which need no change: set
// GUNICORN_DIRTY_SOCKET to the server's socket in any process that uses
// gunicorn's get_dirty_client, get_dirty_client_async or stash.
//
//	mux := server.NewMux()
//	mux.Handle("app:Model", "predict", server.Func(predict))
//	mux.Handle("app:LLM", "generate", server.StreamFunc(generate))
//	s := &server.Server{Handler: mux}
//	err := s.Run(ctx, "/run/app/dirty.sock")
//
// The package has the shape of net/http: a [Server] has a [Handler], such as a
// [Mux]. Middleware is a func(Handler) Handler. Shutdown ends the server. [Func]
// and [StreamFunc] make handlers of functions on Go types.
//
// # What is as in gunicorn, and what is not
//
// A connection is served in order, one message at a time. There may be many
// connections.
//
// gunicorn closes a connection without an answer when it cannot decode what
// comes. Here only a broken header closes the connection. A broken payload is
// answered with a DirtyProtocolError. A payload cannot change the type and the id
// of its header.
//
// Python's execute accepts only a single value, and its stream accepts only
// chunks. Nothing in a request tells which of the two has sent it. So an action
// either always streams or never does.
//
// The stash does every operation as gunicorn's does ([Store]), with two
// exceptions. A missing key or table is told in the types that gunicorn's
// documentation names, so that Python's stash.get with a default works. And a dict
// with the key "error" is a value like any other. The stash lives as long as its
// server.
//
// # Time
//
// When a client leaves, the context of its handler ends, within a second at the
// latest. On Linux a client that has closed its Unix socket only for writing still
// waits for its reply, and gets it. Elsewhere, and on other kinds of connections,
// such a client is taken to have left; and a client that sends its next message
// ahead is not seen to leave until its reply is written.
//
// A frame that has begun must be complete within [Server.FrameTimeout], and a
// client must read a frame within [Server.WriteTimeout]. Between frames a
// connection may be idle for ever, because Python's clients keep theirs. Handlers
// and the other functions of a user have no bound; middleware can set one.
//
// # Faults in the code of a user
//
// Handlers, hooks, stores, errors, values that encode themselves, loggers and
// connections may panic or call runtime.Goexit. The process goes on. A client
// whose message was being answered is told of an "internal error", or its
// connection is closed if that cannot be told. The log has the stack.
//
// The one exception is a context of a type of your own, which ConnContext or a Tracer
// returns. Package context calls its methods in goroutines of its own, where a panic
// ends the process.
//
// # Security
//
// Everything that comes is taken to be hostile. Connections, frames and the time
// for them are bounded by default, what is read is bounded by [dirty.Limits], and
// so are the time of a stash pattern and the log lines that clients can cause.
// Beyond that clients can take only the memory that handlers and the stash keep.
//
// The mode of the socket decides who can connect, 0600 by default. The protocol
// has no authentication, but [PeerCred] tells the user of a client. A client that
// meets a panic is not told its text. The text of any other error goes to the
// client, whatever it says.
package server
