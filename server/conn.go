package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// conn serves one client, a frame at a time and in order, as an arbiter does.
type conn struct {
	server *Server
	cfg    *config
	given  net.Conn // as the listener returned it
	nc     net.Conn // the same, guarded

	life   context.Context // of the connection; cancel ends it
	cancel context.CancelCauseFunc
	ctx    context.Context // of the handlers; it ends with life at the latest

	in     input
	reader *dirty.Reader
	out    output
	watch  watch

	// frame holds the frame that is answered, ahead what the watch reads
	// meanwhile.
	frame, ahead *dirty.FrameBuffer

	// These are for the exchange with a typed handler, and used again for the next.
	arguments arguments       // of the request in frame, while they are decoded
	call      dirty.Request   // the request without its arguments
	writer    *ResponseWriter // one that no code of the user's has had; nil: make one

	unlink func() bool // ends the link of close to the context
	over   bool        // the client has left, or there was a fault

	// These belong to whoever reads the next frame.
	awaited  bool  // its header was read, unless awaitErr is set
	awaitErr error // why not

	state   atomic.Int32 // a connState
	closing atomic.Bool
	closed  chan struct{} // closed when close is done
}

// connState says whether Shutdown may close a connection.
type connState = int32

const (
	connIdle    connState = iota // it waits for a frame
	connActive                   // it answers one
	connWatched                  // it answers one, and its watch reads
	connOver                     // it is to be closed
)

func newConn(s *Server, ctx context.Context, given net.Conn) *conn {
	cfg := &s.cfg
	c := &conn{server: s, cfg: cfg, given: given, nc: given, closed: make(chan struct{}),
		unlink: func() bool { return true }, frame: newFrameBuffer(s), ahead: newFrameBuffer(s)}
	c.life, c.cancel = context.WithCancelCause(ctx)
	c.ctx = c.life
	if isForeign(given) {
		c.nc = &foreignConn{Conn: given, end: func() { c.cancel(os.ErrDeadlineExceeded) }, journal: &s.journal}
	}
	c.in = input{nc: c.nc, raw: findRaw(c.nc), timeout: cfg.frameTimeout}
	// Python's sync client reads in pieces of what the send buffer holds, and its
	// effort grows with the square of their number.
	c.out = output{nc: c.nc, timeout: cfg.writeTimeout, writer: dirty.NewWriter(c.nc, dirty.WithLimits(cfg.limits), dirty.WithSendBuffer(sendBuffer))}
	c.reader = dirty.NewReader(&c.in, dirty.WithLimits(cfg.limits))
	c.watch.init(c)
	return c
}

// newFrameBuffer returns memory for the frames of a connection. A FrameHandler decodes
// none of them.
func newFrameBuffer(s *Server) *dirty.FrameBuffer {
	return &dirty.FrameBuffer{ReuseLarge: s.FrameHandler != nil}
}

// findRaw returns how to use the descriptor of a connection, or nil.
func findRaw(nc net.Conn) syscall.RawConn {
	if c, ok := nc.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// serve answers until the client leaves, a fault, or the end of the server.
// Then the connection is closed, and nothing of it is left.
//
// It waits for frames by itself, and not in a function that it calls: while a connection
// is idle little is on its stack, so that the runtime takes the rest of the stack back.
func (c *conn) serve() error {
	defer c.watch.stop()
	defer c.close()
	defer c.cancel(nil)
	err := c.server.journal.Try(whereConnection, c.begin)
	defer c.unlink()
	for err == nil && !c.over {
		c.await()
		err = c.server.journal.Try(whereConnection, c.answerNext)
	}
	if usercode.IsFailure(err) {
		return errPanic
	}
	return err
}

// whereConnection is where ConnContext and the methods of a connection fail.
const whereConnection = "connection"

// errPanic is why a connection ends after a panic or runtime.Goexit that no
// reply can tell of.
const errPanic = sentinel("the connection was closed because of a panic")

// begin makes the connection's context, with whose end it closes.
func (c *conn) begin() error {
	c.unlink = context.AfterFunc(c.life, c.close)
	if err := c.makeContext(); err != nil {
		return c.server.countRefusal(err)
	}
	if c.ctx != c.life {
		c.unlink()
		c.unlink = context.AfterFunc(c.ctx, c.close)
	}
	c.server.counts.accepted.Add(1)
	return nil
}

// answerNext reads a frame and answers it. It sets over if the client has left.
func (c *conn) answerNext() error {
	if c.canLeave() {
		return c.handOver()
	}
	f, err := c.watch.next()
	if c.isWoken(err) {
		c.in.putBack()
		return nil
	}
	if err == nil {
		err = c.exchange(f)
	}
	if err != nil {
		c.over = true
		return c.explainEnd(err)
	}
	// Shutdown first says that it closes, then looks at the state. A server that
	// is taken over hands over even then.
	if c.server.closing.Load() && !c.server.isTakenOver() {
		return ErrServerClosed
	}
	return nil
}

// makeContext makes the context of the handlers.
func (c *conn) makeContext() error {
	if c.server.ConnContext == nil {
		return nil
	}
	ctx := c.server.ConnContext(c.life, c.given)
	if ctx == nil {
		return errRefused
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) }) // ctx need not be a child of life
	c.ctx = ctx
	return nil
}

// close closes the connection, in use or not. The error would be of no use:
// whatever it says, the connection is gone. Close of some types takes seconds;
// every caller waits for it.
func (c *conn) close() {
	if !c.closing.CompareAndSwap(false, true) {
		<-c.closed
		return
	}
	defer close(c.closed)
	_ = c.server.journal.Try(whereConnection, c.nc.Close)
}

// closeIdle ends the connection unless a frame is being answered.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(connIdle, connOver) {
		c.cancel(ErrServerClosed)
	}
}

// read reads the next frame into b.
func (c *conn) read(b *dirty.FrameBuffer) (dirty.Frame, error) {
	if !c.awaited {
		c.readHeader()
	}
	c.awaited = false
	if c.awaitErr != nil {
		return dirty.Frame{}, c.awaitErr
	}
	return c.reader.ReadFrameTo(b)
}

// await waits for the next frame, so that read need not. It does nothing where that would
// call code of the user's, or where another goroutine reads.
func (c *conn) await() {
	if !isForeign(c.given) && !c.watch.reading && !c.canLeave() {
		c.readHeader()
	}
}

// readHeader begins the next frame, and reads its header.
func (c *conn) readHeader() {
	c.awaited = true
	buffered := c.reader.Buffered() > 0
	c.in.nextFrame(buffered)
	if !buffered && c.server.isTakenOver() { // wake came before nextFrame
		c.awaitErr = os.ErrDeadlineExceeded
		return
	}
	_, c.awaitErr = c.reader.NextHeader()
}

// cause is why something has failed: because the connection was ended, or for
// the given reason.
func (c *conn) cause(reason error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return reason
}

// explainEnd says why a connection has ended, and logs it: nil if the client
// has left between two frames, or while it was answered.
func (c *conn) explainEnd(err error) error {
	err = c.cause(err)
	journal := &c.server.journal
	var protocol *dirty.ProtocolError
	switch {
	case err == io.EOF, errors.Is(err, ErrClientGone), errors.Is(err, syscall.ECONNRESET):
		return nil
	case errors.As(err, &protocol) && protocol.Err != io.ErrUnexpectedEOF:
		c.server.counts.faults.Add(1)
		journal.warn("dirty: connection closed: the client does not speak the protocol", slog.Any("error", err))
	case errors.Is(err, os.ErrDeadlineExceeded):
		journal.warn("dirty: connection closed: a frame took too long", slog.Any("error", err))
	default:
		journal.write(slog.LevelDebug, "dirty: connection closed", slog.Any("error", err))
	}
	return err
}

// meansLeft reports whether an error of reading means that the client has left.
func meansLeft(err error) bool {
	var protocol *dirty.ProtocolError
	if errors.As(err, &protocol) {
		return protocol.Err == io.ErrUnexpectedEOF
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
