package client

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// keptScratch is the largest memory for payloads that a connection keeps. It
// is less than the size from which decoded bytes may alias their payload.
const keptScratch = 64<<10 - 1

// peer is who listens at the other end.
type peer struct {
	path string
	pid  int // 0: not known, or not to be checked
}

func (p peer) dead() bool { return p.pid != 0 && processIsDead(p.pid) }

// conn is a connection of the pool. One call or stream at a time has it.
type conn struct {
	wire *dirty.Conn
	raw  syscall.RawConn // nil for what is no socket
	peer peer

	closeFunc func()           // close, made once
	peek      func(fd uintptr) // sets silent
	silent    bool

	reused    bool // it was kept before the call that has it now
	idleSince time.Time
	deadline  bool   // one is set
	scratch   []byte // for payloads

	orphaned atomic.Bool // closed because its arbiter has died
}

func newConn(nc net.Conn, path string, cfg *config) *conn {
	c := &conn{wire: dirty.NewConn(nc, dirty.WithLimits(cfg.Limits)), peer: peer{path: path}}
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
func (c *conn) close() { _ = c.wire.Close() }

// reusable reports whether a connection from the pool can be used: its peer's
// process lives, and it is neither at its end nor has anything to read.
func (c *conn) reusable() bool {
	return !c.peer.dead() && (c.raw == nil || c.raw.Control(c.peek) == nil && c.silent)
}

// setDeadline sets when reading and writing give up; zero is never.
func (c *conn) setDeadline(t time.Time) {
	if t.IsZero() && !c.deadline {
		return
	}
	c.deadline = !t.IsZero()
	_ = c.wire.SetDeadline(t) // fails only on a closed connection, as will what follows
}

// read reads a frame. The payload is good until the next call, or as long as one
// likes if it is owned.
func (c *conn) read(owned bool) (dirty.Frame, error) {
	if owned {
		return c.wire.ReadFrame()
	}
	f, err := c.wire.ReadFrameInto(c.scratch)
	if err == nil && cap(f.Payload) > cap(c.scratch) && cap(f.Payload) <= keptScratch {
		c.scratch = f.Payload[:0]
	}
	return f, err
}

// deadPeerError says that the arbiter died while a call waited for its answer.
type deadPeerError struct{ pid int }

func (e *deadPeerError) Error() string {
	return fmt.Sprintf("the arbiter, process %d, has died", e.pid)
}

func (e *deadPeerError) Is(target error) bool { return target == io.ErrUnexpectedEOF }
