package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"runtime/debug"
	"sync"

	"github.com/gunicorn-go/dirty/internal/rarelog"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// userCode calls code of the user's, and logs that it has failed.
type userCode struct{ log *rarelog.Logger }

// Try calls f in this goroutine. A panic becomes an error.
func (c userCode) Try(what string, f func() error) error {
	return usercode.Try(what, func(failure *usercode.Failure) {
		c.log.WriteRarely(slog.LevelError, failuresAtOnce, "dirty: code that was given to a proxy did not return",
			slog.Any("error", failure), slog.String("stack", string(debug.Stack())))
	}, f)
}

// failuresAtOnce is how many failures are logged at once, before it is one a second.
const failuresAtOnce = 10

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
	code userCode
	once sync.Once // Close was called
}

// hookConn is what errors call a connection.
const hookConn = "a connection"

// Read reads. The count that it returns is possible.
func (c *conn) Read(p []byte) (n int, err error) {
	err = c.code.Try(hookConn, func() (err error) {
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
	err = c.code.Try(hookConn, func() (err error) {
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
	c.once.Do(func() { _ = c.code.Try(hookConn, c.Conn.Close) })
	return nil
}

// CloseWrite ends the direction, if that is possible.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return c.code.Try(hookConn, half.CloseWrite)
}
