package dirtytest

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// The errors of dials to a server in memory. They are those of a socket.
var (
	errRefused = &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errFull    = &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EAGAIN)}
)

// Restart ends the server with all its connections at once, and starts another one
// on the same path with an empty stash. That is what a client sees if an arbiter is
// killed and gunicorn starts it again, where a hook of gunicorn's configuration
// keeps the socket at one path. It ends [Server.RefuseDials] and
// [Server.FullBacklog]. It stops the test if the new server cannot start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.stop()
	s.restart("")
}

// Respawn is [Server.Restart], but the new server is on a new path and the old path
// no longer exists. That is gunicorn's default: each new arbiter makes its socket
// in a new folder.
func (s *Server) Respawn() {
	s.tb.Helper()
	s.stop()
	s.mu.Lock()
	old := s.path
	s.mu.Unlock()
	s.restart(old)
}

// restart starts a server. If old is not empty, it removes the socket there and
// chooses a new path.
func (s *Server) restart(old string) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newRun()
	s.refuses = false
	if s.inMemory {
		if old != "" {
			s.sockets++
			s.path = fmt.Sprintf("memory-%d", s.sockets)
		}
		return
	}
	if old != "" {
		_ = os.Remove(old)
		s.path = ""
	}
	if err := s.listen(); err != nil {
		s.tb.Fatalf("dirtytest: %v", err)
	}
}

// RefuseDials makes dials fail with ECONNREFUSED, as they do if an arbiter is gone
// and its socket's file is still there. Open connections stay. The function that it
// returns ends this, and stops the test if that is not possible; further calls do
// nothing.
func (s *Server) RefuseDials() (accept func()) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = true
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	return func() {
		s.tb.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.refuses {
			return
		}
		s.refuses = false
		if s.inMemory {
			return
		}
		if err := s.listen(); err != nil {
			s.tb.Fatalf("dirtytest: %v", err)
		}
	}
}

// FullBacklog makes dials fail at once with EAGAIN, as they do while an arbiter is
// too busy to accept connections. Open connections stay. The function that it
// returns ends this; further calls do nothing. [Server.Conns] then counts the
// connections that filled the backlog, too. On systems other than Unix it stops the
// test, unless the server is in memory.
func (s *Server) FullBacklog() (drain func()) {
	s.tb.Helper()
	s.mu.Lock()
	full := &backlog{waits: make(chan struct{}), drained: make(chan struct{})}
	s.full = full
	l, path := s.listener, s.path
	s.mu.Unlock()
	if l != nil {
		if err := full.fill(l.(*net.UnixListener), path); err != nil {
			s.tb.Fatalf("dirtytest: %v", err)
		}
	}
	return func() {
		s.mu.Lock()
		mine := s.full == full
		if mine {
			s.full = nil
		}
		s.mu.Unlock()
		if mine {
			full.drain()
		}
	}
}

// backlog is the connections that fill the backlog of a socket.
type backlog struct {
	once    sync.Once
	waits   chan struct{} // closed when nobody accepts any more
	drained chan struct{} // closed when the backlog is free again
	conns   []net.Conn
}

// wait holds up the loop that accepts connections until the backlog is free again.
func (b *backlog) wait() {
	b.once.Do(func() { close(b.waits) })
	<-b.drained
}

// drain closes the connections and lets the loop accept again.
func (b *backlog) drain() {
	for _, c := range b.conns {
		_ = c.Close()
	}
	close(b.drained)
}
