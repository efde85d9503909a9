package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"time"
)

// A server that is taken over gives its listeners, its stash and its connections to a
// new process, the heir. The two speak over the socket PATH.takeover:
//
//	running server    offer: the listener of PATH, and that of PATH.takeover
//	running server    the stash, which nothing changes from here on
//	heir              commit: from here on the heir serves
//	running server    confirms it
//	running server    each connection, as soon as its reply is complete
//
// Until the commit the running server serves on; only changes of the stash wait. The
// heir reads nothing of a client before it. takeover_linux.go has both sides of this,
// takeover_stash_linux.go the stash, and this file what it means for a server.

// takeOverSuffix makes the path of the socket for heirs.
const takeOverSuffix = ".takeover"

// ErrTakenOver is what Serve, ListenAndServe and Run return when a new process has
// taken the server over and all is handed to it. ServeConn returns it for a
// connection that the new process has now. It matches [ErrServerClosed].
const ErrTakenOver = sentinel("another process has taken the server over")

// Is makes ErrTakenOver match ErrServerClosed.
func (s sentinel) Is(target error) bool { return s == ErrTakenOver && target == ErrServerClosed }

// isTakenOver reports whether connections are to be handed to an heir.
func (s *Server) isTakenOver() bool { return s.heir.Load() != nil }

// giveWay lets an heir have everything, and returns when it has. f is the
// listener that it has got. settled is called as soon as the server knows that it
// is taken over.
func (s *Server) giveWay(f *socketFile, heir *link, settled func()) {
	s.mu.Lock()
	s.heir.Store(heir)
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	f.leave() // Serve stops to accept
	settled() // Shutdown may go on, and finds nothing to remove
	s.journal.write(slog.LevelInfo, "dirty: another process takes the server over", slog.Int("pid", heir.pid))
	for _, c := range conns {
		c.wake()
	}
	<-s.drained
	_ = heir.Close()
}

// inherit serves the connections of the server that was taken over, until it
// has no more.
func (s *Server) inherit(from *link) {
	defer func() {
		_ = from.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.predecessors, from)
		s.checkDrained()
	}()
	for {
		nc, err := from.receiveConn()
		switch {
		case err == nil:
			s.adopt(nc)
		case errors.Is(err, errLostConn):
			s.journal.warn("dirty: a connection was lost in a take-over", slog.Any("error", err))
		default:
			return
		}
	}
}

// addPredecessor reports whether the server is open, and can inherit.
func (s *Server) addPredecessor(from *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.predecessors == nil {
		s.predecessors = map[*link]struct{}{}
	}
	s.predecessors[from] = struct{}{}
	return true
}

// wake ends the wait for the next frame, so that an idle connection can be
// handed over. One that is being answered is handed over after that.
func (c *conn) wake() {
	if isForeign(c.given) {
		if c.state.CompareAndSwap(connIdle, connOver) {
			c.cancel(ErrTakenOver)
		}
		return
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// isWoken reports whether reading has failed because of wake.
func (c *conn) isWoken(err error) bool {
	return c.server.isTakenOver() && errors.Is(err, os.ErrDeadlineExceeded) && !c.in.isLate()
}

// canLeave reports whether the server is taken over, and the connection is
// between two frames of which it has read nothing. One that cannot be sent need not
// wait for that.
func (c *conn) canLeave() bool {
	return c.server.isTakenOver() && (isForeign(c.given) || !c.watch.reading && c.reader.Buffered() == 0)
}

// handOver gives the connection to the heir. It returns ErrTakenOver, or why that
// failed. A connection of a type that cannot be sent is closed, as in Shutdown.
func (c *conn) handOver() error {
	if !c.state.CompareAndSwap(connIdle, connOver) {
		return ErrServerClosed
	}
	if isForeign(c.given) {
		return ErrTakenOver
	}
	if err := c.server.heir.Load().sendConn(c.given); err != nil {
		c.server.journal.warn("dirty: a connection was lost in a take-over", slog.Any("error", err))
		return chain{ErrServerClosed, err}
	}
	return ErrTakenOver
}

// adopt serves a connection of the predecessor. MaxConns does not count: the
// client was accepted before.
func (s *Server) adopt(nc net.Conn) {
	c, err := s.add(context.Background(), nc, true)
	s.start(nc, c, err)
}
