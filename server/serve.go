package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// ListenAndServe listens at a path, as [Server.Listen] does, and serves. When the
// server is closed the socket's file is removed, but not when another process has
// taken the server over.
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

// Serve accepts connections and serves each in a goroutine of its own. It returns
// [ErrServerClosed] when the server is closed, and the error of Accept when the
// listener fails. After errors that may pass, such as a lack of file descriptors,
// and after those with a method Temporary that returns true, it tries again, at
// first after 5 ms and later each second.
//
// A listener that panics, or that returns neither a connection nor an error, has
// failed. Serve closes the listener, but does not remove the file of a socket that it has
// not made. A server may serve several listeners.
//
// With [Server.TakeOver] the listener must be one of a Unix socket, which can be handed
// over. When another process takes the server over, Serve returns [ErrTakenOver] as
// soon as that process has all listeners and connections.
func (s *Server) Serve(l net.Listener) error {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	given := l
	l = &foreignListener{l, &s.journal}
	defer func() { _ = l.Close() }()
	if err := s.setUp(); err != nil {
		return err
	}
	var own *socketFile // that can be taken over
	if s.TakeOver {
		var err error
		if own, err = s.withHeirs(given); err != nil {
			return err
		}
		l = &foreignListener{own, &s.journal}
	}
	if err := s.addListener(l); err != nil {
		return err
	}
	defer s.removeListener(l)
	if own != nil {
		go s.serveHeirs(own)
	}
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(nc)
		case own != nil && own.left.Load():
			s.removeListener(l)
			select {
			case <-s.drained:
			case <-s.ended:
			}
			return ErrTakenOver
		case s.closing.Load():
			return ErrServerClosed
		case mayPass(err):
			wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
			s.journal.write(slog.LevelWarn, "dirty: cannot accept a connection, trying again", slog.Any("error", err), slog.Duration("after", wait))
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

// mayPass reports whether accepting may succeed later: the system lacks file
// descriptors or memory, a client left too soon, or the listener says that its
// error is a temporary one.
func mayPass(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

// accept serves a connection in the background. Nothing of it holds Serve.
func (s *Server) accept(nc net.Conn) {
	c, err := s.add(context.Background(), nc, false)
	s.start(nc, c, err)
}

// start serves a connection that add has returned.
func (s *Server) start(nc net.Conn, c *conn, err error) {
	go func() {
		if err != nil {
			_ = s.refuse(nc, err)
			return
		}
		defer s.remove(c)
		_ = c.serve() // it has logged why
	}()
}

// ServeConn serves one connection, of whatever kind, until the client has
// left, and closes it. The handlers' contexts are made from ctx. It serves also
// without Serve: a server may have no listener.
//
// It returns nil when the client has left. Other errors are [ErrTooManyConns],
// [ErrServerClosed], [ErrTakenOver], the cause of ctx, and what is wrong with the connection or
// with what came over it.
//
// The connection may be of any type. If its SetDeadline does not work, the
// server closes it a second after a deadline should have ended a read or write.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) error {
	if err := checkConn(nc); err != nil {
		return err
	}
	if err := s.setUp(); err != nil {
		return s.refuse(nc, err)
	}
	c, err := s.add(ctx, nc, false)
	if err != nil {
		return s.refuse(nc, err)
	}
	defer s.remove(c)
	return c.serve()
}

// add makes a connection one of the server's. One that was taken over has its
// place already: MaxConns does not count.
func (s *Server) add(ctx context.Context, nc net.Conn, takenOver bool) (*conn, error) {
	switch {
	case ctx == nil:
		return nil, errRefused
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	c := newConn(s, ctx, nc)
	if err := s.register(c, takenOver); err != nil {
		c.cancel(err)
		return nil, err
	}
	return c, nil
}

func (s *Server) register(c *conn, takenOver bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing.Load():
		return ErrServerClosed
	case s.hasDrained():
		return ErrTakenOver
	case !takenOver && s.cfg.maxConns > 0 && len(s.conns) >= s.cfg.maxConns:
		return ErrTooManyConns
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return nil
}

// errRefused is for a connection that ConnContext does not want.
const errRefused = sentinel("the connection is refused")

// remove is called when all of a connection has ended.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.checkDrained()
}

// checkDrained closes drained, if the server has ended: it is closed or taken over,
// and no connections are left and none come. The lock is held.
func (s *Server) checkDrained() {
	over := s.closing.Load() || s.isTakenOver() && len(s.listeners) == 0
	if over && len(s.conns) == 0 && len(s.predecessors) == 0 && !s.hasDrained() {
		close(s.drained)
	}
}

func (s *Server) hasDrained() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

func (s *Server) addListener(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing.Load():
		return ErrServerClosed
	case s.hasDrained():
		return ErrTakenOver
	}
	if s.listeners == nil {
		s.listeners = map[net.Listener]struct{}{}
	}
	s.listeners[l] = struct{}{}
	return nil
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.checkDrained()
}
