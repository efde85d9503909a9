package server

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"
)

// Shutdown closes the listeners, and ends all connections on which nothing is
// being answered. It waits for the others: a reply whose request was read is
// written to its end. If ctx ends before that, Shutdown does what Close does, and
// returns the error and the cause of ctx.
//
// A client that is just sending a request sees its connection closed. A request
// that got no answer because of Shutdown has not run. After Close, Shutdown waits
// for handlers that run on although their context has ended, and for connections
// whose Close takes long.
//
// It may be called by a handler, with a context that ends: it waits for that
// handler too.
func (s *Server) Shutdown(ctx context.Context) error {
	drained, err := s.stop()
	defer s.journal.log.WriteRest()
	select {
	case <-drained:
		return err
	default:
	}
	select {
	case <-drained:
		return err
	case <-ctx.Done():
	}
	s.abortAll()
	cause := context.Cause(ctx)
	if errors.Is(cause, ctx.Err()) {
		return chain{errShutdown, cause}
	}
	return chain{errShutdown, ctx.Err(), cause}
}

// errShutdown begins the text of what Shutdown returns.
const errShutdown = sentinel("the server's shutdown was cut short")

// Close closes the listeners, and ends all connections and the contexts of the
// handlers. It does not wait for handlers, nor for connections whose Close takes
// long; Shutdown does. For listeners both wait a second at most, and as long for the
// Logger. Close may be called more than once, and by a handler. The error is one of
// closing the listeners.
func (s *Server) Close() error {
	_, err := s.stop()
	s.abortAll()
	s.journal.log.WriteRest()
	return err
}

// stop closes the listeners and ends the idle connections. The channel is closed
// when no connections are left.
func (s *Server) stop() (drained <-chan struct{}, err error) {
	_ = s.setUp() // even with a wrong configuration there may be listeners
	s.mu.Lock()
	if !s.closing.Swap(true) {
		close(s.ended)
	}
	pending := s.offer
	s.mu.Unlock()
	if pending != nil {
		pending.withdraw()
	}
	s.mu.Lock()
	s.checkDrained()
	listeners := slices.Collect(maps.Keys(s.listeners))
	conns := slices.Collect(maps.Keys(s.conns))
	predecessors := slices.Collect(maps.Keys(s.predecessors))
	s.mu.Unlock()
	for _, l := range predecessors {
		_ = l.Close()
	}
	err = closeAll(listeners)
	if !s.isTakenOver() { // else they are being handed over
		for _, c := range conns {
			c.closeIdle()
		}
	}
	return s.drained, err
}

// closeGrace is how long the server waits at most for the Close of its listeners.
const closeGrace = time.Second

// closeAll closes listeners, of which some may block.
func closeAll(listeners []net.Listener) (err error) {
	results := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() {
			e := error(errNotClosed) // if Close ends this goroutine
			defer func() { results <- e }()
			e = l.Close()
		}()
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	for range listeners {
		select {
		case e := <-results:
			if e != nil && !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		case <-timer.C:
			return errors.Join(err, errNotClosed)
		}
	}
	return err
}

// errNotClosed is for a listener whose Close does not return.
const errNotClosed = sentinel("the Close of a listener has not returned")

// abortAll ends all connections, and with them the contexts of their handlers.
func (s *Server) abortAll() {
	s.queue.close()
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.cancel(ErrServerClosed)
	}
}
