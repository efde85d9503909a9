// Package server answers gunicorn's dirty clients as a dirty arbiter does, so
// that Go functions stand behind Python web apps, unchanged: any process that uses
// gunicorn's get_dirty_client, get_dirty_client_async or stash with
// GUNICORN_DIRTY_SOCKET set to the server's socket.
//
//	mux := server.NewMux()
//	mux.Handle("app:Model", "predict", server.Func(predict))
//	mux.Handle("app:LLM", "generate", server.StreamFunc(generate))
//	s := &server.Server{Handler: mux}
//	err := s.ListenAndServe("/run/app/dirty.sock")
//
// It is shaped as net/http is: a [Server] with a [Handler], such as a [Mux],
// middleware is func(Handler) Handler, and Shutdown ends it. [Func] and
// [StreamFunc] make handlers of functions on Go types.
//
// # What is as in gunicorn, and what is not
//
// A connection is served in order, one message at a time; there may be many
// connections. What gunicorn cannot decode closes the connection without an
// answer; here only a broken header does, a broken payload is answered with a
// DirtyProtocolError. A payload cannot change the type and the id of its header.
//
// Python's execute takes only a single value, and its stream only chunks, of
// which a single value is none: so an action either streams or does not, whoever
// asks.
//
// The stash is gunicorn's in every operation ([Store]), but for two things: a
// missing key and a missing table are told in the types that gunicorn's
// documentation names, so that Python's stash.get with a default works, and a
// dict with the key "error" is a value like any other. Its lifetime is that of the
// server.
//
// # Time
//
// When a client leaves, the context of its handler ends, within a second at the
// latest. On Linux a client that has closed its socket only for writing still waits
// for its reply; elsewhere, and on other kinds of connections, it is taken to
// have left. There a client that sends ahead is not seen to leave until its reply
// is written.
//
// A frame that has begun must be complete within [Server.FrameTimeout], and one
// that is written be read within [Server.WriteTimeout]. Between frames a connection
// may be idle for ever, because Python's clients keep theirs. Handlers have no
// bound: use middleware.
//
// # Security
//
// What comes is taken to be hostile. Connections, frames and the time for them
// are bounded by default, and what is read by [dirty.Limits]; beyond them nobody
// can take memory but by what the handlers and the stash keep. Who can connect
// decides the mode of the socket, 0600 by default: the protocol has no
// authentication, but [PeerCred] tells the client's user. A panic is answered as an
// "internal error" without a trace; the text of any other error goes to the
// client, whatever it says.
package server
