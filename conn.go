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

// Conn exchanges frames over a connection. It is a [Reader] and a [Writer], and
// their rules and errors hold. [NewConn] makes one.
//
// A Conn may be used concurrently. One goroutine can read while another writes.
// Several that read take turns, and so do several that write. Close and the
// methods that set deadlines never wait for them.
//
// A Conn does not match answers with requests. gunicorn's arbiter answers the
// requests of a connection one at a time and in order. If it gets a bad frame it
// closes the connection. A caller should accept an answer only if its id is that
// of the request.
type Conn struct {
	conn   net.Conn
	closed atomic.Bool

	readLock sync.Mutex
	reader   Reader

	writeLock sync.Mutex
	writer    Writer
}

// NewConn returns a Conn over c. [Conn.Close] closes c. NewConn reads and writes
// nothing.
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

// Limits returns the limits that are in force for what is read, with every default
// filled in. Those for what is written are the same, except that MaxDepth has
// another default, [DefaultMaxEncodeDepth].
func (c *Conn) Limits() Limits { return c.reader.Limits() }

// NetConn returns the connection that NewConn got. To read from it or write to it
// makes the Conn lose track of the frames.
func (c *Conn) NetConn() net.Conn { return c.conn }

// Close closes the connection. Calls that are waiting and later ones return an error
// that matches [net.ErrClosed].
func (c *Conn) Close() error {
	c.closed.Store(true)
	return c.conn.Close()
}

// closedError makes the error of a net.Pipe that we have closed match net.ErrClosed,
// as the error of a socket does.
func (c *Conn) closedError(err error) error {
	if errors.Is(err, io.ErrClosedPipe) && c.closed.Load() {
		return fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return err
}

// SetDeadline sets both deadlines, see [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline sets when reads fail with a timeout. A frame of which some bytes
// have arrived by then is not lost: the next read goes on with it.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets when writes fail with a timeout. If some bytes of a frame
// were written by then, every later write fails too.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
