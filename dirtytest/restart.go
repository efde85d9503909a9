package dirtytest

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// What a server in memory answers to dials.
var (
	errRefused = &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errFull    = &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EAGAIN)}
)

// Restart ends the server with all its connections at once, and starts another
// on the same path, without what was in the stash: an arbiter that was killed, with
// the hook that gives it a fixed path.
func (s *Server) Restart() {
	s.tb.Helper()
	s.stop()
	s.restart("")
}

// Respawn is [Server.Restart] on another path, as an arbiter does without that
// hook. The old path is gone.
func (s *Server) Respawn() {
	s.tb.Helper()
	s.stop()
	s.mu.Lock()
	old := s.path
	s.mu.Unlock()
	s.restart(old)
}

// restart starts a server, on a new path if there is an old one to leave.
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

// RefuseDials makes dials fail as they do while there is no arbiter but its
// socket is still there. Open connections stay. The function that it returns ends
// this.
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

// FullBacklog makes dials fail as they do while an arbiter is too busy to accept:
// with EAGAIN, at once. Open connections stay. The function that it returns ends
// this; the connections that filled the backlog are counted by [Server.Conns] then.
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

// backlog is connections that fill the backlog of a socket.
type backlog struct {
	once    sync.Once
	waits   chan struct{} // closed when nobody accepts any more
	drained chan struct{} // closed when it is over
	conns   []net.Conn
}

// wait is what is done in place of accepting.
func (b *backlog) wait() {
	b.once.Do(func() { close(b.waits) })
	<-b.drained
}

// drain ends it.
func (b *backlog) drain() {
	for _, c := range b.conns {
		_ = c.Close()
	}
	close(b.drained)
}
