// Package usercodetest has what tests of several packages give to this module as code of
// the user's: errors, connections and listeners that behave badly.
package usercodetest

import (
	"net"
	"time"
)

// NilError is an error whose method needs its receiver: a nil pointer of this type
// panics.
type NilError struct{ Text string }

func (e *NilError) Error() string { return e.Text }

// BadError is an error of which one method calls Fail before it returns.
type BadError struct {
	Method string // such as "Is"
	Fail   func()
}

func (e BadError) do(method string) {
	if e.Method == method {
		e.Fail()
	}
}

func (e BadError) Error() string   { e.do("Error"); return "text" }
func (e BadError) Is(error) bool   { e.do("Is"); return false }
func (e BadError) As(any) bool     { e.do("As"); return false }
func (e BadError) Unwrap() []error { e.do("Unwrap"); return nil }

// TemporaryError is an error of Accept. It calls a function to say whether it may pass.
type TemporaryError func() bool

func (TemporaryError) Error() string     { return "odd" }
func (e TemporaryError) Temporary() bool { return e() }

// OddConn is a connection of which methods can be replaced. A nil function leaves the
// method as it is.
type OddConn struct {
	net.Conn
	OnRead, OnWrite func([]byte) (int, error)
	OnSetDeadline   func(time.Time) error // for all three deadlines
	OnClose         func() error
}

func (c *OddConn) Read(p []byte) (int, error) {
	if c.OnRead != nil {
		return c.OnRead(p)
	}
	return c.Conn.Read(p)
}

func (c *OddConn) Write(p []byte) (int, error) {
	if c.OnWrite != nil {
		return c.OnWrite(p)
	}
	return c.Conn.Write(p)
}

func (c *OddConn) SetDeadline(d time.Time) error {
	if c.OnSetDeadline != nil {
		return c.OnSetDeadline(d)
	}
	return c.Conn.SetDeadline(d)
}

func (c *OddConn) SetReadDeadline(d time.Time) error {
	if c.OnSetDeadline != nil {
		return c.OnSetDeadline(d)
	}
	return c.Conn.SetReadDeadline(d)
}

func (c *OddConn) SetWriteDeadline(d time.Time) error {
	if c.OnSetDeadline != nil {
		return c.OnSetDeadline(d)
	}
	return c.Conn.SetWriteDeadline(d)
}

func (c *OddConn) Close() error {
	if c.OnClose != nil {
		return c.OnClose()
	}
	return c.Conn.Close()
}

// OddListener is a listener that does what its functions do. OnClose may be nil. It has
// no address.
type OddListener struct {
	OnAccept func() (net.Conn, error)
	OnClose  func()
}

func (l *OddListener) Accept() (net.Conn, error) { return l.OnAccept() }
func (l *OddListener) Addr() net.Addr            { return nil }
func (l *OddListener) Close() error {
	if l.OnClose != nil {
		l.OnClose()
	}
	return nil
}
