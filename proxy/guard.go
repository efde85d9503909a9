package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"runtime/debug"
	"sync"
)

// try calls code of the user's. A panic in it is logged and becomes an error; so
// does one in the methods of the error that it returns.
func (p *Proxy) try(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%s panicked: %v", what, v)
			p.write(slog.LevelError, "dirty: code that was given to a proxy panicked",
				"error", err, "stack", string(debug.Stack()))
		}
	}()
	if err = f(); err != nil {
		_ = err.Error()
		_ = errors.Is(err, io.EOF)
	}
	return err
}

// guard is try in a goroutine of its own, which the code may end.
func (p *Proxy) guard(what string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New(what + " called runtime.Goexit")
		defer func() { result <- err }()
		err = p.try(what, f)
	}()
	return <-result
}

// write writes a log line. It is lost if the logger panics.
func (p *Proxy) write(level slog.Level, message string, args ...any) {
	defer func() { _ = recover() }()
	p.log.Log(context.Background(), level, message, args...)
}

// checkConn returns an error for a connection that is nil.
func checkConn(c net.Conn) error {
	if v := reflect.ValueOf(c); c == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("dirty: proxy: there is no connection, and no error")
	}
	return nil
}

// conn is a connection whose methods may do anything.
type conn struct {
	net.Conn
	proxy *Proxy
	once  sync.Once // Close was called
}

// hookConn is what errors call a connection.
const hookConn = "a connection"

// Read reads. The count that it returns is possible.
func (c *conn) Read(p []byte) (n int, err error) {
	err = c.proxy.try(hookConn, func() (err error) {
		n, err = c.Conn.Read(p)
		return err
	})
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("a connection has read %d bytes into %d", n, len(p))
	}
	return n, err
}

// Write writes all of p, or returns an error.
func (c *conn) Write(p []byte) (n int, err error) {
	err = c.proxy.try(hookConn, func() (err error) {
		n, err = c.Conn.Write(p)
		return err
	})
	if n != len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// Close closes the connection, once.
func (c *conn) Close() error {
	c.once.Do(func() { _ = c.proxy.try(hookConn, c.Conn.Close) })
	return nil
}

// CloseWrite ends the direction, if that is possible.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return c.proxy.try(hookConn, half.CloseWrite)
}
