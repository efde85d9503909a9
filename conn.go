package dirty

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn exchanges frames over a connection. It is a [Reader] and a [Writer],
// with their rules, behind two locks: one goroutine may read while another
// writes, and several that read, or several that write, take turns. Close and
// the deadlines never wait for them.
//
// A Conn does not match answers with requests. gunicorn's arbiter answers a
// connection in order, one request at a time, and answers a bad frame by
// closing; an answer counts only if its id is that of the request.
type Conn struct {
	conn   net.Conn
	closed atomic.Bool

	readLock sync.Mutex
	reader   Reader

	writeLock sync.Mutex
	writer    Writer
}

// NewConn returns a Conn over c, which is closed by [Conn.Close]. Nothing is
// read or written.
func NewConn(c net.Conn, opts ...Option) *Conn {
	o := newStreamOptions(opts)
	return &Conn{conn: c, reader: newReader(c, o), writer: newWriter(c, o)}
}

// ReadFrame is [Reader.ReadFrame].
func (c *Conn) ReadFrame() (Frame, error) { return c.ReadFrameInto(nil) }

// ReadFrameInto is [Reader.ReadFrameInto].
func (c *Conn) ReadFrameInto(buf []byte) (Frame, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	f, err := c.reader.ReadFrameInto(buf)
	return f, c.closedError(err)
}

// ReadMessage is [Reader.ReadMessage].
func (c *Conn) ReadMessage() (Message, error) {
	c.readLock.Lock()
	defer c.readLock.Unlock()
	m, err := c.reader.ReadMessage()
	return m, c.closedError(err)
}

// WriteFrame is [Writer.WriteFrame].
func (c *Conn) WriteFrame(f Frame) error {
	c.writeLock.Lock()
	defer c.writeLock.Unlock()
	return c.closedError(c.writer.WriteFrame(f))
}

// WriteMessage is [Writer.WriteMessage].
func (c *Conn) WriteMessage(m Message) error {
	c.writeLock.Lock()
	defer c.writeLock.Unlock()
	return c.closedError(c.writer.WriteMessage(m))
}

// Limits returns the limits in force for what is read, with every default filled
// in. What is written has the same, but for MaxDepth: if that was not set, it is
// [DefaultMaxEncodeDepth].
func (c *Conn) Limits() Limits { return c.reader.Limits() }

// NetConn returns the connection below. Who reads from it or writes to it
// breaks the borders of the frames.
func (c *Conn) NetConn() net.Conn { return c.conn }

// Close closes the connection. Calls that wait return an error that matches
// [net.ErrClosed].
func (c *Conn) Close() error {
	c.closed.Store(true)
	return c.conn.Close()
}

// closedError makes the error of a pipe that we closed the one that sockets
// have.
func (c *Conn) closedError(err error) error {
	if errors.Is(err, io.ErrClosedPipe) && c.closed.Load() {
		return fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return err
}

// SetDeadline sets both deadlines; see [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline sets when reading gives up with a timeout. A frame of which
// some bytes have arrived is not lost: the next call goes on with it.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets when writing gives up with a timeout. If some bytes
// of a frame were written by then, the connection is of no more use.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
