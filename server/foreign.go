package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"time"
)

// foreignConn is a connection whose type is not of package net, such as a
// channel of an ssh connection. Nothing rests on that type: a panic in its
// methods becomes an error, and because not every type has deadlines, a Read or
// Write that goes on for a second after its deadline ends the connection.
//
// One goroutine reads and one writes at a time, and each sets only its own
// deadline.
type foreignConn struct {
	net.Conn
	end              func() // ends the connection
	journal          *journal
	reading, writing bound
}

// bound ends the connection when a Read or a Write reaches its deadline.
type bound struct {
	until time.Time // zero: there is none
	timer *time.Timer
}

// isForeign reports whether a connection is to be guarded by a foreignConn.
func isForeign(nc net.Conn) bool {
	switch nc.(type) {
	case *net.UnixConn, *net.TCPConn:
		return false
	}
	return true
}

// Read reads until the deadline for reading.
func (c *foreignConn) Read(p []byte) (n int, err error) {
	c.reading.start(c.end)
	defer c.reading.stop()
	err = c.try(func() (err error) {
		n, err = c.Conn.Read(p)
		return asDeadline(err)
	})
	return n, err
}

// Write writes until the deadline for writing.
func (c *foreignConn) Write(p []byte) (n int, err error) {
	c.writing.start(c.end)
	defer c.writing.stop()
	err = c.try(func() (err error) {
		n, err = c.Conn.Write(p)
		return asDeadline(err)
	})
	return n, err
}

// SetReadDeadline sets the deadline of later Reads.
func (c *foreignConn) SetReadDeadline(t time.Time) error {
	c.reading.until = t
	return c.try(func() error { return c.Conn.SetReadDeadline(t) })
}

// SetWriteDeadline sets the deadline of later Writes.
func (c *foreignConn) SetWriteDeadline(t time.Time) error {
	c.writing.until = t
	return c.try(func() error { return c.Conn.SetWriteDeadline(t) })
}

// Close closes the connection.
func (c *foreignConn) Close() error { return c.try(c.Conn.Close) }

// try calls a method. If that panics, the error is errConnPanic.
func (c *foreignConn) try(f func() error) error {
	return c.journal.tryInside(whereConnection, errConnPanic, f)
}

// start sets the timer, if there is a deadline.
func (b *bound) start(end func()) {
	switch left := time.Until(b.until) + deadlineGrace; {
	case b.until.IsZero():
	case b.timer == nil:
		b.timer = time.AfterFunc(left, end)
	default:
		b.timer.Reset(left)
	}
}

// deadlineGrace is how long a deadline has to take effect by itself. That is
// better than the timer: a reply that is under way can still be written.
const deadlineGrace = time.Second

// stop stops the timer.
func (b *bound) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// asDeadline makes an error of a deadline match [os.ErrDeadlineExceeded], whatever
// type it has.
func asDeadline(err error) error {
	var timeout interface{ Timeout() bool }
	if err != nil && errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return err
}

// foreignListener is a listener whose methods may panic or return no connection.
type foreignListener struct {
	net.Listener
	journal *journal
}

// Accept accepts a connection. All methods of an error are called, so that it is
// known here if they panic.
func (l *foreignListener) Accept() (nc net.Conn, err error) {
	err = l.try(func() (err error) {
		if nc, err = l.Listener.Accept(); err == nil {
			return checkConn(nc)
		}
		_ = mayPass(err)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nc, nil
}

// Close closes the listener.
func (l *foreignListener) Close() error { return l.try(l.Listener.Close) }

// try calls a method. If that panics, the error is errListenerPanic.
func (l *foreignListener) try(f func() error) error {
	return l.journal.tryInside("listener", errListenerPanic, f)
}

// checkConn returns an error for a connection that is nil.
func checkConn(nc net.Conn) error {
	if v := reflect.ValueOf(nc); nc == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return errNoConn
	}
	return nil
}

// errNoConn is for a nil connection, of a listener or of a caller.
const errNoConn = sentinel("there is no connection, and no error")

// errListenerPanic is the error of a method of a listener that panicked.
const errListenerPanic = sentinel("a method of the listener panicked")

// errConnPanic is the error of a method of a connection that panicked.
const errConnPanic = sentinel("a method of the connection panicked")
