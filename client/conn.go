package client

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/netconn"
)

// peer is who listens at the other end.
type peer struct {
	path string
	pid  int    // 0: not known, or not to be checked
	file fileID // of the socket; zero if not known, or not to be checked
}

// conn is a connection of the pool. One call or stream at a time has it.
type conn struct {
	nc       net.Conn
	reader   *dirty.Reader     // reads by Read
	buffer   dirty.FrameBuffer // of the frame that was read last
	inPieces bool              // large answers are not read but for their header
	writer   *dirty.Writer
	request  dirty.Request // the one that is being written
	peer     peer

	raw    syscall.RawConn  // nil for what is no socket
	waits  bool             // the reader waits by raw
	peek   func(fd uintptr) // sets silent
	silent bool

	reused    bool // it was kept before the call that has it now
	idleSince time.Time

	// A timer bounds reading and writing, because not all connections have
	// deadlines. It closes the connection.
	timer   *time.Timer
	armed   bool          // the timer was set and not stopped
	expired atomic.Bool   // the timer has closed the connection
	lazy    bool          // the next Read sets the timer
	timeout time.Duration // for that; 0: none

	closeFunc func() // close, made once
	closing   atomic.Bool
	closed    chan struct{}
	orphaned  atomic.Bool // closed because its arbiter has died
}

func newConn(nc net.Conn, path string, cfg *config) *conn {
	c := &conn{nc: nc, peer: peer{path: path}, closed: make(chan struct{})}
	_, ours := nc.(*net.UnixConn)
	if !ours {
		c.nc = &foreignConn{Conn: nc, behaves: netconn.Behaves(nc), hooks: &cfg.hooks, left: make(chan struct{})}
	}
	c.writer = dirty.NewWriter(c.nc, dirty.WithLimits(cfg.Limits))
	c.closeFunc = c.close
	c.peek = peeker(&c.silent)
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.waits = raw, ours
			if !netconn.Behaves(nc) {
				c.raw = &foreignRaw{raw, &cfg.hooks}
			}
		}
	}
	c.reader = dirty.NewReader(c, dirty.WithLimits(cfg.Limits))
	if cfg.PeerCheck && c.raw != nil {
		c.peer.pid = peerPID(c.raw)
	}
	return c
}

// close closes the connection, in use or not, and more than once. It returns
// when the connection is closed, for which that of a Dialer may take its time.
// The errors would be of no use: whatever they say, the connection is gone.
func (c *conn) close() {
	if c.closing.Swap(true) {
		<-c.closed
		return
	}
	_ = c.nc.Close()
	close(c.closed)
}

// reusable reports whether a connection from the pool can be used: its peer's
// process lives, and it is neither at its end nor has anything to read.
func (c *conn) reusable() bool {
	return !c.peer.hasDiedSince(c.idleSince) && (c.raw == nil || c.raw.Control(c.peek) == nil && c.silent)
}

// forgetRequest drops what the request refers to.
func (c *conn) forgetRequest() { c.request = dirty.Request{} }

// startTimer makes the connection close when the time has passed, unless
// stopTimer comes before that.
func (c *conn) startTimer(d time.Duration) {
	c.armed = true
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.expire)
		return
	}
	c.timer.Reset(d)
}

// stopTimer stops the timer, and reports whether it came in time.
func (c *conn) stopTimer() bool {
	if !c.armed {
		return true
	}
	c.armed = false
	if c.timer.Stop() {
		return true
	}
	c.expired.Store(true) // expire may be about to
	return false
}

func (c *conn) expire() {
	c.expired.Store(true)
	c.close()
}

// Read reads from the connection, for the reader. A timer that is set here
// costs nothing if the frame has come already, as the next ones of a stream
// often have.
func (c *conn) Read(p []byte) (int, error) {
	c.beginRead()
	return c.nc.Read(p)
}

// RawRead tells the reader how to wait without memory for what may come.
func (c *conn) RawRead() func(read func(fd uintptr) (done bool)) error {
	if !c.waits {
		return nil
	}
	return func(read func(fd uintptr) bool) error {
		c.beginRead()
		return c.raw.Read(read)
	}
}

func (c *conn) beginRead() {
	if c.lazy {
		c.lazy = false
		if c.timeout > 0 {
			c.startTimer(c.timeout)
		}
	}
}

// read reads a frame. The payload is valid until the next call, or belongs to
// the caller if it is owned.
func (c *conn) read(owned bool) (dirty.Frame, error) {
	switch {
	case owned:
		return c.reader.ReadFrame()
	case c.inPieces:
		return c.readAnswer()
	}
	return c.reader.ReadFrameTo(&c.buffer)
}

// readWithin is read with a bound for this frame alone; 0 is none.
func (c *conn) readWithin(timeout time.Duration, owned bool) (dirty.Frame, error) {
	c.lazy, c.timeout = true, timeout
	f, err := c.read(owned)
	c.lazy = false
	if !c.stopTimer() && err == nil {
		err = net.ErrClosed // the frame came with the end of the time
	}
	return f, err
}

// foreignConn is a connection of a Dialer, whose methods may panic, and whose
// Close may take its time. A Read that waits is left behind when the connection
// is closed. A Write is not: it must be known whether it wrote all.
type foreignConn struct {
	net.Conn
	behaves bool // Read and Write need no care, and the deadline that Close sets ends them
	hooks   *hooks
	left    chan struct{} // closed when the connection is to be closed
	in      []byte        // what Read reads into, which may outlast the call
}

func (c *foreignConn) Read(p []byte) (int, error) {
	if c.behaves {
		n, err := c.Conn.Read(p)
		if err != nil && c.isLeft() {
			err = net.ErrClosed
		}
		return n, err
	}
	size := min(len(p), 64<<10)
	if len(c.in) < size {
		c.in = make([]byte, size)
	}
	in, n := c.in[:size], 0
	done := make(chan error, 1)
	go func() {
		done <- c.hooks.guard(hookConn, func() (err error) { n, err = c.Conn.Read(in); return err })
	}()
	select {
	case err := <-done:
		if n < 0 || n > size {
			return 0, fmt.Errorf("%s read %d of %d bytes", hookConn, n, size)
		}
		return copy(p, in[:n]), err
	case <-c.left:
		return 0, net.ErrClosed
	}
}

func (c *foreignConn) Write(p []byte) (n int, err error) {
	if c.behaves {
		return c.Conn.Write(p)
	}
	err = c.hooks.guard(hookConn, func() (err error) { n, err = c.Conn.Write(p); return err })
	return n, err
}

// TakesParts tells the writer whether a frame may be several Writes.
func (c *foreignConn) TakesParts() bool { return netconn.IsInMemory(c.Conn) }

// isLeft reports whether the connection is to be closed.
func (c *foreignConn) isLeft() bool {
	select {
	case <-c.left:
		return true
	default:
		return false
	}
}

// Close is called once.
func (c *foreignConn) Close() error {
	close(c.left)
	// This ends a Write before a slow Close does.
	_ = c.hooks.guard(hookConn, func() error { return c.Conn.SetDeadline(time.Unix(1, 0)) })
	return c.hooks.guard(hookConn, c.Conn.Close)
}

// foreignRaw is the socket of a foreignConn.
type foreignRaw struct {
	syscall.RawConn
	hooks *hooks
}

func (c *foreignRaw) Control(f func(fd uintptr)) error {
	return c.hooks.guard(hookConn, func() error { return c.RawConn.Control(f) })
}

// deadPeerError says that the arbiter died while a call waited for its answer.
type deadPeerError struct{ pid int }

func (e *deadPeerError) Error() string {
	return fmt.Sprintf("the arbiter, process %d, has died", e.pid)
}

func (e *deadPeerError) Is(target error) bool { return target == io.ErrUnexpectedEOF }
