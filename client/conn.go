package client

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

const (
	// keptScratch is the largest memory for payloads that a connection keeps.
	keptScratch = 64<<10 - 1

	// sharedScratch is the largest that connections share, so that idle ones hold
	// none of it.
	sharedScratch = 1 << 20
)

// scratches are of more than keptScratch.
var scratches sync.Pool // of *[]byte

// peer is who listens at the other end.
type peer struct {
	path string
	pid  int // 0: not known, or not to be checked
}

// conn is a connection of the pool. One call or stream at a time has it.
type conn struct {
	nc     net.Conn
	reader *dirty.Reader // reads by Read
	writer *dirty.Writer
	raw    syscall.RawConn // nil for what is no socket
	peer   peer

	closeFunc func()           // close, made once
	peek      func(fd uintptr) // sets silent
	silent    bool

	reused    bool // it was kept before the call that has it now
	idleSince time.Time
	deadline  bool          // one is set
	unbound   bool          // the next Read sets one first
	timeout   time.Duration // for that; 0: none
	scratch   []byte        // for payloads
	large     []byte        // for one of more than keptScratch, shared

	orphaned atomic.Bool // closed because its arbiter has died
}

func newConn(nc net.Conn, path string, cfg *config) *conn {
	limits := dirty.WithLimits(cfg.Limits)
	c := &conn{nc: nc, writer: dirty.NewWriter(nc, limits), peer: peer{path: path}}
	c.reader = dirty.NewReader(c, limits)
	c.closeFunc = c.close
	c.peek = peeker(&c.silent)
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	if cfg.PeerCheck && c.raw != nil {
		c.peer.pid = peerPID(c.raw)
	}
	return c
}

// close closes the connection, in use or not, and more than once. The error
// would be of no use: whatever it says, the connection is gone.
func (c *conn) close() { _ = c.nc.Close() }

// reusable reports whether a connection from the pool can be used: its peer's
// process lives, and it is neither at its end nor has anything to read.
func (c *conn) reusable() bool {
	return !c.peer.hasDiedSince(c.idleSince) && (c.raw == nil || c.raw.Control(c.peek) == nil && c.silent)
}

// setDeadline sets when reading and writing give up; zero is never.
func (c *conn) setDeadline(t time.Time) {
	c.unbound = false
	if t.IsZero() && !c.deadline {
		return
	}
	c.deadline = !t.IsZero()
	_ = c.nc.SetDeadline(t) // fails only on a closed connection, as will what follows
}

// bound makes reading a frame give up after the timeout, 0 for never. That costs
// nothing if the frame has come already, as the next ones of a stream often have.
func (c *conn) bound(timeout time.Duration) { c.unbound, c.timeout = true, timeout }

// Read reads from the connection, for the reader.
func (c *conn) Read(p []byte) (int, error) {
	if c.unbound {
		var until time.Time
		if c.timeout > 0 {
			until = time.Now().Add(c.timeout)
		}
		c.setDeadline(until)
	}
	return c.nc.Read(p)
}

// read reads a frame. The payload is good until the next call or shed, or as long
// as one likes if it is owned or [lasting].
func (c *conn) read(owned bool) (dirty.Frame, error) {
	if owned {
		return c.reader.ReadFrame()
	}
	c.shed()
	h, err := c.reader.NextHeader()
	if err != nil {
		return dirty.Frame{}, err
	}
	if h.Length <= keptScratch {
		f, err := c.reader.ReadFrameInto(c.scratch)
		if err == nil {
			c.scratch = f.Payload[:0]
		}
		return f, err
	}
	if h.Length <= sharedScratch {
		if b, ok := scratches.Get().(*[]byte); ok {
			c.large = *b
		}
	}
	f, err := c.reader.ReadFrameInto(c.large)
	switch {
	case err != nil:
	case lasting(f.Payload):
		c.large = nil
	default:
		c.large = f.Payload[:0]
	}
	return f, err
}

// shed lets others have the memory of a large payload.
func (c *conn) shed() {
	if c.large != nil {
		b := c.large
		c.large = nil
		scratches.Put(&b)
	}
}

// lasting reports whether a payload is read into memory of its own: what is
// decoded from it may refer to it. It is so if the payload is too large to be
// shared, or its first value is bytes; other large bytes are copied.
func lasting(payload []byte) bool {
	switch n := len(payload); {
	case n <= keptScratch:
		return false
	case n > sharedScratch:
		return true
	case cap(payload) > n+n/8: // shared memory: it would be kept for a part of it
		return false
	}
	d := dirty.NewDecoder(payload)
	if n, err := d.DictHeader(); err != nil || n == 0 {
		return false
	}
	_ = d.Skip() // the key; Kind returns the error again
	k, err := d.Kind()
	return err == nil && k == dirty.KindBytes
}

// deadPeerError says that the arbiter died while a call waited for its answer.
type deadPeerError struct{ pid int }

func (e *deadPeerError) Error() string {
	return fmt.Sprintf("the arbiter, process %d, has died", e.pid)
}

func (e *deadPeerError) Is(target error) bool { return target == io.ErrUnexpectedEOF }
