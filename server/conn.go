package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/gunicorn-go/dirty"
)

// conn serves one client, a frame at a time and in order, as an arbiter does.
type conn struct {
	server *Server
	cfg    *config
	nc     net.Conn
	ctx    context.Context // of the handlers; they get children of it
	cancel context.CancelCauseFunc

	in     input
	reader *dirty.Reader
	out    output
	watch  watch

	// scratch is memory for payloads. It is less than the size from which
	// decoded bytes may alias their payload.
	scratch []byte

	state atomic.Int32 // a connState
}

const keptScratch = 64<<10 - 1

// connState says whether Shutdown may close a connection.
type connState = int32

const (
	connIdle    connState = iota // it waits for a frame
	connActive                   // it answers one
	connWatched                  // it answers one, and its watch reads
	connOver                     // it is to be closed
)

func newConn(s *Server, ctx context.Context, nc net.Conn) *conn {
	cfg := &s.cfg
	c := &conn{
		server: s, cfg: cfg, nc: nc,
		in:  input{nc: nc, timeout: cfg.frameTimeout},
		out: output{nc: nc, timeout: cfg.writeTimeout, writer: dirty.NewWriter(nc, dirty.WithLimits(cfg.limits))},
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.reader = dirty.NewReader(&c.in, dirty.WithLimits(cfg.limits))
	c.watch.init(c)
	return c
}

// serve answers until the client leaves, a fault, or the end of the server.
// Then the connection is closed, and nothing of it is left.
func (c *conn) serve() error {
	stop := context.AfterFunc(c.ctx, c.close)
	defer func() {
		stop()
		c.cancel(nil)
		c.close()
		c.watch.stop()
	}()
	for {
		f, err := c.watch.next()
		if err != nil {
			return c.ended(err)
		}
		if err := c.exchange(f); err != nil {
			return c.ended(err)
		}
		// Shutdown first says that it closes, then looks at the state.
		if c.server.closing.Load() {
			return ErrServerClosed
		}
	}
}

// close closes the connection, in use or not, and more than once. The error
// would be of no use: whatever it says, the connection is gone.
func (c *conn) close() { _ = c.nc.Close() }

// closeIdle closes the connection unless a frame is being answered.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(connIdle, connOver) {
		c.close()
	}
}

// next reads the next frame. Its payload is good until the call after.
func (c *conn) next() (dirty.Frame, error) {
	f, err := c.read(c.scratch)
	if err == nil && cap(f.Payload) > cap(c.scratch) && cap(f.Payload) <= keptScratch {
		c.scratch = f.Payload[:0]
	}
	return f, err
}

// read reads the next frame, into buf if it is large enough.
func (c *conn) read(buf []byte) (dirty.Frame, error) {
	c.in.nextFrame(c.reader.Buffered() > 0)
	return c.reader.ReadFrameInto(buf)
}

// cause is why something has failed: because the connection was ended, or for
// the given reason.
func (c *conn) cause(reason error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return reason
}

// ended says why a connection has ended: nil if the client has left between
// two frames, or while it was answered.
func (c *conn) ended(err error) error {
	err = c.cause(err)
	var protocol *dirty.ProtocolError
	switch {
	case err == io.EOF, errors.Is(err, ErrClientGone), errors.Is(err, syscall.ECONNRESET):
		return nil
	case c.server.closing.Load() && (errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)):
		return ErrServerClosed
	case errors.As(err, &protocol) && protocol.Err != io.ErrUnexpectedEOF:
		c.server.counts.faults.Add(1)
		c.cfg.logger.Warn("dirty: connection closed: the client does not speak the protocol", "error", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.cfg.logger.Warn("dirty: connection closed: a frame took too long", "error", err)
	default:
		c.cfg.logger.Debug("dirty: connection closed", "error", err)
	}
	return err
}

// leaves reports whether an error of reading means that the client has left.
func leaves(err error) bool {
	var protocol *dirty.ProtocolError
	if errors.As(err, &protocol) {
		return protocol.Err == io.ErrUnexpectedEOF
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
