package server

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// ListenAndServe listens at a path, as [Server.Listen] does, and serves. When the server is closed the socket's file is removed.
func (s *Server) ListenAndServe(path string) error {
	if s.closing.Load() {
		return ErrServerClosed
	}
	l, err := s.Listen(path)
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// Serve accepts connections and serves each in a goroutine of its own, until
// the listener fails or the server is closed, which is [ErrServerClosed]. It
// closes the listener, but never removes its file: who has made it does that. A
// server may serve several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	if err := s.setUp(); err != nil {
		return err
	}
	if !s.addListener(l) {
		return ErrServerClosed
	}
	defer s.removeListener(l)
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(nc)
		case s.closing.Load():
			return ErrServerClosed
		case isPassing(err):
			wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
			s.cfg.logger.Warn("dirty: cannot accept a connection, trying again", "error", err, "after", wait)
			select {
			case <-time.After(wait):
			case <-s.ended:
				return ErrServerClosed
			}
		default:
			return err
		}
	}
}

// How long Serve waits after a failure that may pass.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// isPassing reports whether accepting may succeed later: the system lacks file
// descriptors or memory, or a client left too soon.
func isPassing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accept serves a connection in the background.
func (s *Server) accept(nc net.Conn) {
	c, err := s.add(context.Background(), nc)
	if err != nil {
		return
	}
	go func() {
		defer s.remove(c)
		_ = c.serve() // it has logged why
	}()
}

// ServeConn serves one connection, of whatever kind, until the client has
// left, which is nil, and closes it. Other errors say that the connection was not
// wanted ([ErrTooManyConns]), a fault of the client, the cause of ctx, or
// [ErrServerClosed]. The handlers' contexts are made from ctx. It serves also
// without Serve: a server may have no listener.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) error {
	if err := s.setUp(); err != nil {
		_ = nc.Close()
		return err
	}
	c, err := s.add(ctx, nc)
	if err != nil {
		return err
	}
	defer s.remove(c)
	return c.serve()
}

// add makes a connection one of the server's, or closes it.
func (s *Server) add(ctx context.Context, nc net.Conn) (*conn, error) {
	if s.ConnContext != nil {
		ctx = s.ConnContext(ctx, nc)
	}
	var err error
	switch {
	case ctx == nil:
		err = errRefused
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		c := newConn(s, ctx, nc)
		if err = s.register(c); err == nil {
			return c, nil
		}
		c.cancel(err)
	}
	s.counts.refused.Add(1)
	s.cfg.logger.Warn("dirty: connection refused", "error", err)
	_ = nc.Close()
	return nil, err
}

// errRefused is for a connection that ConnContext does not want.
const errRefused = sentinel("dirty: the connection is refused")

func (s *Server) register(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing.Load():
		return ErrServerClosed
	case s.cfg.maxConns > 0 && len(s.conns) >= s.cfg.maxConns:
		return ErrTooManyConns
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.counts.accepted.Add(1)
	return nil
}

// remove is called when all of a connection has ended.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.drained != nil {
		close(s.drained)
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners = map[net.Listener]struct{}{}
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}
