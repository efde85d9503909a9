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
	end              func()    // ends the connection
	report           func(any) // is told what a method has panicked with
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
	defer c.recoverInto(&err)
	c.reading.start(c.end)
	defer func() { err = c.reading.stop(err) }()
	return c.Conn.Read(p)
}

// Write writes until the deadline for writing.
func (c *foreignConn) Write(p []byte) (n int, err error) {
	defer c.recoverInto(&err)
	c.writing.start(c.end)
	defer func() { err = c.writing.stop(err) }()
	return c.Conn.Write(p)
}

// SetReadDeadline sets the deadline of later Reads.
func (c *foreignConn) SetReadDeadline(t time.Time) (err error) {
	c.reading.until = t
	defer c.recoverInto(&err)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of later Writes.
func (c *foreignConn) SetWriteDeadline(t time.Time) (err error) {
	c.writing.until = t
	defer c.recoverInto(&err)
	return c.Conn.SetWriteDeadline(t)
}

// Close closes the connection.
func (c *foreignConn) Close() (err error) {
	defer c.recoverInto(&err)
	return c.Conn.Close()
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

// stop stops the timer. An error of a deadline then matches
// [os.ErrDeadlineExceeded], whatever type it has. All methods of the error are
// called, so that it is known here if they panic.
func (b *bound) stop(err error) error {
	if b.timer != nil {
		b.timer.Stop()
	}
	if err == nil {
		return nil
	}
	_ = err.Error()
	isDeadline := errors.Is(err, os.ErrDeadlineExceeded)
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() && !isDeadline {
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return err
}

// recoverInto reports a panic and makes an error of it. It is deferred.
func (c *foreignConn) recoverInto(err *error) {
	if v := recover(); v != nil {
		c.report(v)
		*err = errConnPanic
	}
}

// foreignListener is a listener whose methods may panic or return no connection.
type foreignListener struct {
	net.Listener
	report func(any) // is told what a method has panicked with
}

// Accept accepts a connection. All methods of an error are called, so that it is
// known here if they panic.
func (l *foreignListener) Accept() (nc net.Conn, err error) {
	defer l.recoverInto(&err)
	nc, err = l.Listener.Accept()
	if err != nil {
		_, _ = err.Error(), mayPass(err)
		return nil, err
	}
	return nc, checkConn(nc)
}

// Close closes the listener.
func (l *foreignListener) Close() (err error) {
	defer l.recoverInto(&err)
	return l.Listener.Close()
}

// recoverInto reports a panic and makes an error of it. It is deferred.
func (l *foreignListener) recoverInto(err *error) {
	if v := recover(); v != nil {
		l.report(v)
		*err = errListenerPanic
	}
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
