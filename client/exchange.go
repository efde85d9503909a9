package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// exchange is a request and its one reply.
type exchange struct {
	op      Operation
	timeout time.Duration // if the context has no deadline; 0: none
	request func(id uint64) dirty.Message
	result  func(f dirty.Frame) error // decodes a RESPONSE
}

// do makes an exchange.
func (c *Client) do(ctx context.Context, x *exchange) error {
	ctx, end := c.cfg.tracer.start(ctx, x.op)
	err := error(errPanicked)
	defer func() { end(err, 0) }()
	err = c.begun(ctx, x)
	return err
}

// errPanicked is what tracers are told if the code of an interceptor, an argument
// or a result panics.
const errPanicked = sentinel("the call panicked")

func (c *Client) begun(ctx context.Context, x *exchange) error {
	if err := c.pool.begin(); err != nil {
		return &OpError{Operation: x.op, Stage: StagePrepare, Err: err}
	}
	defer c.pool.done()
	if len(c.cfg.interceptors) == 0 {
		return c.attempts(ctx, x)
	}
	return c.intercepted(ctx, x.op, func(ctx context.Context) error { return c.attempts(ctx, x) })
}

// attempts makes an exchange, and once more where that is known to be safe.
func (c *Client) attempts(ctx context.Context, x *exchange) error {
	t := &turn{client: c, op: x.op, ctx: ctx, bound: callTimeout, timeout: x.timeout, deadline: deadline(ctx, x.timeout)}
	err := t.exchange(x)
	if err != nil && t.again {
		c.retrying(ctx, x.op, err)
		err = t.exchange(x)
	}
	return err
}

// retrying tells of a repetition.
func (c *Client) retrying(ctx context.Context, op Operation, err error) {
	c.pool.mu.Lock()
	c.pool.stats.Retries++
	c.pool.mu.Unlock()
	c.pool.died()
	c.cfg.tracer.retry(ctx, op, 2, err)
	c.cfg.logger.Debug("dirty: call made again on another connection", "operation", op.Name, "reason", errors.Unwrap(err)) // without the key
}

// callTimeout names the bound of WithTimeout.
const callTimeout = "the timeout of the call"

// turn is one lease of a connection: a request that goes out, and the frames
// that come back. It knows how to say what went wrong.
type turn struct {
	client   *Client
	op       Operation
	ctx      context.Context
	deadline time.Time     // zero: none
	bound    string        // what the deadline is, for the error
	timeout  time.Duration // and how long

	conn  *conn
	stop  func() bool // stops the closing of conn when ctx ends; nil if it never ends
	id    uint64
	sent  bool // the request was written whole
	heard bool // something came back
	again bool // after a failure: it is safe to try once more
}

// exchange sends the request and reads its reply, on a connection of its own
// for that time.
func (t *turn) exchange(x *exchange) error {
	if err := t.open(x.request); err != nil {
		return err
	}
	end := closedFailed // if what decodes the reply panics
	defer func() { t.close(end) }()
	f, err := t.read(false)
	if err != nil {
		end, err = t.explain(err)
		return err
	}
	switch f.Type {
	case dirty.TypeResponse:
		if err = x.result(f); err != nil {
			err = t.failed(StageDecode, err)
		}
		end = keep
		return err
	case dirty.TypeError:
		err = t.remote(f)
		end = keep
		return err
	case dirty.TypeChunk, dirty.TypeEnd:
		end = closedProtocol
		return t.failed(StageRead, ErrStreamingResponse)
	}
	end = closedProtocol
	return t.failed(StageRead, unexpected(f))
}

// unexpected is the error for a frame that answers nothing.
func unexpected(f dirty.Frame) error { return fmt.Errorf("%w: %v", ErrUnexpectedReply, f.Type) }

// open leases a connection and writes the request. On an error the lease has
// ended.
func (t *turn) open(request func(id uint64) dirty.Message) error {
	t.sent, t.heard, t.again = false, false, false
	if t.ctx.Err() != nil {
		return t.failed(StagePrepare, contextError(t.ctx))
	}
	acquired := t.client.cfg.tracer.acquire(t.ctx, t.op)
	c, stage, err := t.client.pool.acquire(t.ctx, t.deadline, t.timeout)
	acquired(c, err)
	if err != nil {
		return t.failed(stage, err)
	}
	t.conn, t.stop = c, nil
	if t.ctx.Done() != nil {
		t.stop = context.AfterFunc(t.ctx, c.closeFunc)
	}
	end := closedFailed // if a Marshaler panics
	defer func() {
		if !t.sent {
			t.close(end)
		}
	}()
	t.id = t.client.id.Add(1)
	c.setDeadline(t.deadline)
	if err := c.writer.WriteMessage(request(t.id)); err != nil {
		if unsendable(err) {
			end = keep
			return t.failed(StagePrepare, err)
		}
		end, err = t.explain(err)
		return err
	}
	t.sent = true
	return nil
}

// unsendable reports whether a message was refused before anything of it was
// written.
func unsendable(err error) bool {
	var marshal *dirty.MarshalError
	return errors.As(err, &marshal)
}

// close ends the lease. A connection whose context has ended is never kept,
// nor one with something more to read: the next reply could not be told.
func (t *turn) close(reason closeReason) {
	if reason == keep { // else somebody may decode what was read
		t.conn.shed()
	}
	if t.stop != nil && !t.stop() && reason == keep {
		reason = closedCancel
	}
	if reason == keep && t.conn.reader.Buffered() > 0 {
		reason = closedProtocol
		t.client.cfg.logger.Warn("dirty: more than one reply to a request", "operation", t.op.Name, "path", t.conn.peer.path)
	}
	t.client.pool.put(t.conn, reason)
}

// read reads the next frame for this request.
func (t *turn) read(owned bool) (dirty.Frame, error) {
	f, err := t.conn.read(owned)
	if err != nil {
		return f, err
	}
	if f.RequestID != t.id {
		t.client.mismatch(t.op, f.Header, t.id)
		return f, ErrIDMismatch
	}
	if !t.heard && !t.conn.reused {
		t.client.pool.learn(t.conn.peer, speechKnown)
	}
	t.heard = true
	return f, nil
}

// mismatch tells of a reply to somebody else.
func (c *Client) mismatch(op Operation, h dirty.Header, want uint64) {
	c.pool.mu.Lock()
	c.pool.stats.Mismatches++
	c.pool.mu.Unlock()
	c.cfg.logger.Warn("dirty: a reply to another request came and was not delivered",
		"operation", op.Name, "type", h.Type.String(), "id", h.RequestID, "want", want)
}

// explain says why writing or reading failed, and why the connection is
// closed.
func (t *turn) explain(err error) (closeReason, error) {
	stage := StageWrite
	if t.sent {
		stage = StageRead
	}
	var protocol *dirty.ProtocolError
	switch {
	case t.ctx.Err() != nil:
		return closedCancel, t.failed(stage, contextError(t.ctx))
	case t.client.pool.isClosed():
		return closedShutdown, t.failed(stage, ErrClosed)
	case errors.Is(err, ErrIDMismatch):
		return closedProtocol, t.failed(stage, err)
	case isTimeout(err):
		return closedTimeout, t.failed(stage, &timeoutError{t.bound, t.timeout})
	case errors.As(err, &protocol) && protocol.Err != io.ErrUnexpectedEOF:
		return closedProtocol, t.failed(stage, err)
	}
	if t.conn.orphaned.Load() {
		err = &deadPeerError{t.conn.peer.pid}
	}
	untouched := !t.heard && t.conn.reader.Buffered() == 0
	switch {
	case !t.sent && t.conn.reused:
		t.again = true
	case !isEnd(err) || !untouched:
	case t.conn.reused:
		t.again = t.op.reads
	case t.speaksJSON():
		return closedProtocol, t.failed(stage, ErrUnsupportedPeer)
	case t.client.pool.isClosed(): // during the probe
		return closedShutdown, t.failed(stage, ErrClosed)
	}
	if errors.Is(err, io.EOF) { // plain, it would be taken for the end of a stream
		err = because("the arbiter closed the connection", io.ErrUnexpectedEOF)
	}
	return closedFailed, t.failed(stage, err)
}

// isEnd reports whether the peer has closed the connection or is dead.
func isEnd(err error) bool {
	for _, end := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe} {
		if errors.Is(err, end) {
			return true
		}
	}
	var dead *deadPeerError
	return errors.As(err, &dead)
}

// isTimeout reports whether a deadline of a connection has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// failed makes an error of the call.
func (t *turn) failed(stage Stage, err error) error {
	return &OpError{Operation: t.op, Stage: stage, Sent: t.sent, Err: err}
}

// remote returns the error that an ERROR frame is.
func (t *turn) remote(f dirty.Frame) error {
	m, err := t.client.decodeOptions(f.Payload).DecodeFrame(f)
	if err != nil {
		return t.failed(StageDecode, err)
	}
	return t.failed(StageRead, m.(*dirty.ErrorReply).Err)
}
