package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// exchange is a request and its one reply.
type exchange struct {
	call    CallInfo
	timeout time.Duration // if the context has no deadline; 0: none
	request requestFunc
	decode  func(o dirty.DecodeOptions, b *dirty.FrameBuffer) (any, error) // a RESPONSE
	forward *forwarding                                                    // in place of all but call; nil: none
}

// requestFunc makes the message of a call. It may lie in the connection's request.
type requestFunc func(c *conn, id uint64, call CallInfo) dirty.Message

// do makes an exchange, and returns what decode made of the reply. That is nil
// if an interceptor reports success without a call.
func (c *Client) do(ctx context.Context, x *exchange) (result any, err error) {
	op := x.call.Operation
	if err := checkContext(ctx); err != nil {
		return nil, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	ctx, kwargs, traced, failure := c.cfg.tracers.start(ctx, x.call)
	x.call.Kwargs = kwargs
	if failure != nil {
		failure = &OpError{Operation: op, Stage: StagePrepare, Err: failure}
	}
	err = errAbandoned
	defer func() {
		if failure := traced.end(err, x.forward.delivered()); failure != nil && err == nil {
			result, err = nil, &OpError{Operation: op, Stage: StageDecode, Sent: true, Err: failure}
		}
	}()
	if failure != nil {
		return nil, failure
	}
	if err := c.pool.startCall(); err != nil {
		return nil, &OpError{Operation: op, Stage: StagePrepare, Err: err}
	}
	defer c.pool.endCall()
	if len(c.cfg.interceptors) == 0 {
		return c.attempt(ctx, x, &x.call)
	}
	return c.doIntercepted(ctx, *x)
}

// errAbandoned is what tracers are told if the goroutine of a call ends in code
// of the user's.
const errAbandoned = sentinel("the call was abandoned")

// checkContext refuses a context that is nil.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return errorf("%w: the context is nil", ErrInvalidArgument)
	}
	return nil
}

// attempt makes an exchange for a call.
func (c *Client) attempt(ctx context.Context, x *exchange, call *CallInfo) (result any, err error) {
	if x.forward != nil {
		return nil, x.forward.attempt(ctx, c, call.Operation)
	}
	t := c.newTurn(ctx, call.Operation, x.timeout)
	err = t.try(func() (err error) {
		result, err = t.exchange(x, call)
		return err
	})
	return result, err
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
	again bool // the attempt has failed, and another one is safe
}

func (c *Client) newTurn(ctx context.Context, op Operation, timeout time.Duration) *turn {
	return &turn{client: c, op: op, ctx: ctx, bound: callTimeout, timeout: timeout, deadline: findDeadline(ctx, timeout)}
}

// try makes attempts: a second one at once if a kept connection was dead, and
// those of WithRetry. It turns a panic of a Marshaler or an Unmarshaler into an
// error.
func (t *turn) try(attempt func() error) error {
	err := t.tryOnce(attempt)
	atOnce := true // once
	for n := 2; err != nil; n++ {
		dead := atOnce && t.again
		if !dead && !t.awaitRetry(n, err) {
			break
		}
		atOnce = atOnce && !dead
		if failure := t.tellRetry(n, err, dead); failure != nil {
			return t.fail(t.stage(StageWrite, StageRead), failure)
		}
		err = t.tryOnce(attempt)
	}
	return err
}

// tryOnce makes one attempt.
func (t *turn) tryOnce(attempt func() error) error {
	t.sent, t.heard, t.again = false, false, false
	err := t.client.cfg.hooks.Try(hookValue, attempt)
	if failure, ok := err.(*hookError); ok { // all others are made by fail
		return t.fail(t.stage(StagePrepare, StageDecode), failure)
	}
	return err
}

// tellRetry tells that an attempt follows, because of err.
func (t *turn) tellRetry(attempt int, err error, dead bool) error {
	t.client.pool.noteRetry(dead)
	t.client.cfg.hooks.log(slog.LevelDebug, "dirty: call made again",
		"operation", t.op.Name, "attempt", attempt, "reason", errors.Unwrap(err)) // without the key
	return t.client.cfg.tracers.retry(t.ctx, t.op, attempt, err)
}

// exchange sends the request and reads its reply, on a connection of its own
// for that time.
func (t *turn) exchange(x *exchange, call *CallInfo) (result any, err error) {
	if err := t.open(x.request, call); err != nil {
		return nil, err
	}
	end := closedFailed // if what decodes the reply panics
	defer func() { t.close(end) }()
	f, err := t.readFirst()
	if err != nil {
		end, err = t.explain(err)
		return nil, err
	}
	switch f.Type {
	case dirty.TypeResponse:
		if result, err = x.decode(t.client.decodeOptions(), &t.conn.buffer); err != nil {
			err = t.fail(StageDecode, err)
		}
		end = keep
		return result, err
	case dirty.TypeError:
		err = t.remote(f)
		end = keep
		return nil, err
	case dirty.TypeChunk, dirty.TypeEnd:
		end = closedProtocol
		return nil, t.fail(StageRead, ErrStreamingResponse)
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
	}
	end = closedProtocol
	return nil, t.fail(StageRead, unexpected(f))
}

// readFirst reads the first answer, within the bound of the call.
func (t *turn) readFirst() (dirty.Frame, error) {
	f, err := t.read(t.conn.read(false))
	if !t.conn.stopTimer() && err == nil {
		err = net.ErrClosed // the answer came with the end of the time
	}
	return f, err
}

// unexpected is the error for a frame that answers nothing.
func unexpected(f dirty.Frame) error { return fmt.Errorf("%w: %v", ErrUnexpectedReply, f.Type) }

// open leases a connection and writes the request. On an error the lease has
// ended. After a success the timer of the connection is set.
func (t *turn) open(request requestFunc, call *CallInfo) error {
	return t.openWith(func(w *dirty.Writer) error {
		defer t.conn.forgetRequest()
		return w.WriteMessage(request(t.conn, t.id, *call))
	})
}

// openWith is open with a function that writes the request.
func (t *turn) openWith(write func(w *dirty.Writer) error) error {
	if t.ctx.Err() != nil {
		return t.fail(StagePrepare, contextError(t.ctx))
	}
	c, stage, err := t.acquire()
	if err != nil {
		return t.fail(stage, err)
	}
	t.conn, t.stop = c, nil
	end := closedFailed // if a Marshaler or a method of the context panics
	defer func() {
		if !t.sent {
			c.stopTimer()
			t.close(end)
		}
	}()
	if t.ctx.Done() != nil {
		t.stop = context.AfterFunc(t.ctx, c.closeFunc)
	}
	t.id = t.client.id.Add(1)
	if !t.deadline.IsZero() {
		c.startTimer(time.Until(t.deadline))
	}
	if err := write(c.writer); err != nil {
		if dirty.NothingWritten(err) {
			end = keep
			return t.fail(StagePrepare, err)
		}
		end, err = t.explain(err)
		return err
	}
	t.sent = true
	return nil
}

// acquire leases a connection, and tells the tracers.
func (t *turn) acquire() (*conn, Stage, error) {
	tracers, pool := &t.client.cfg.tracers, t.client.pool
	begin, err := tracers.startAcquire(t.ctx, t.op)
	if err != nil {
		return nil, StageWait, err
	}
	c, stage, err := pool.acquire(t.ctx, t.deadline, t.timeout)
	failure := tracers.endAcquire(t.ctx, t.op, begin, c, err)
	if failure != nil && err == nil {
		pool.put(c, keep, false)
		return nil, stage, failure
	}
	return c, stage, err
}

// close ends the lease.
func (t *turn) close(reason closeReason) {
	if t.giveBack(reason) {
		t.client.cfg.hooks.log(slog.LevelWarn, "dirty: more than one reply to a request", "operation", t.op.Name, "path", t.conn.peer.path)
	}
}

// giveBack gives the connection back to the pool. One whose context has ended is never
// kept, nor one on which more has come: the next call would take that for its reply. It
// reports whether more has come.
func (t *turn) giveBack(reason closeReason) (more bool) {
	end := closedFailed // if a method of the context ends this goroutine
	defer func() { t.client.pool.put(t.conn, end, true) }()
	if reason == keep { // else the reader of a stream may still decode what it read
		t.conn.buffer.Release()
	}
	if t.stop != nil && !t.stopWatching() && reason == keep {
		reason = closedCancel
	}
	more = reason == keep && t.conn.reader.Buffered() > 0
	if more {
		reason = closedProtocol
	}
	end = reason
	return more
}

// stopWatching stops the closing of the connection when the context ends. It reports
// whether it came in time. Methods of the context may panic.
func (t *turn) stopWatching() (inTime bool) {
	_ = t.client.cfg.hooks.Try(hookContext, func() error { inTime = t.stop(); return nil })
	return inTime
}

// read checks a frame that was read for this request.
func (t *turn) read(f dirty.Frame, err error) (dirty.Frame, error) {
	if err != nil {
		return f, err
	}
	if f.RequestID != t.id {
		t.client.pool.noteMismatch()
		t.client.cfg.hooks.log(slog.LevelWarn, "dirty: a reply to another request came and was not delivered",
			"operation", t.op.Name, "type", f.Type.String(), "id", f.RequestID, "want", t.id)
		return f, ErrIDMismatch
	}
	if !t.heard && !t.conn.reused {
		t.client.pool.learn(t.conn.peer, speechKnown)
	}
	t.heard = true
	return f, nil
}

// stage returns the stage before or after the request was sent.
func (t *turn) stage(before, after Stage) Stage {
	if t.sent {
		return after
	}
	return before
}

// explain says why writing or reading failed, and why the connection is
// closed.
func (t *turn) explain(err error) (closeReason, error) {
	stage := t.stage(StageWrite, StageRead)
	var protocol *dirty.ProtocolError
	switch {
	case t.ctx.Err() != nil:
		return closedCancel, t.fail(stage, contextError(t.ctx))
	case t.client.pool.isClosed():
		return closedShutdown, t.fail(stage, ErrClosed)
	case errors.Is(err, ErrIDMismatch):
		return closedProtocol, t.fail(stage, err)
	case t.conn.expired.Load():
		return closedTimeout, t.fail(stage, &timeoutError{t.bound, t.timeout})
	case errors.As(err, &protocol) && protocol.Err != io.ErrUnexpectedEOF:
		return closedProtocol, t.fail(stage, err)
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
		return closedProtocol, t.fail(stage, ErrUnsupportedPeer)
	case t.client.pool.isClosed(): // during the probe
		return closedShutdown, t.fail(stage, ErrClosed)
	}
	if errors.Is(err, io.EOF) { // plain, it would be taken for the end of a stream
		err = because("the arbiter closed the connection", io.ErrUnexpectedEOF)
	}
	return closedFailed, t.fail(stage, err)
}

// isEnd reports whether an error says that the peer has closed the connection or
// is dead.
func isEnd(err error) bool {
	for _, end := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe} {
		if errors.Is(err, end) {
			return true
		}
	}
	var dead *deadPeerError
	return errors.As(err, &dead)
}

// isTimeout reports whether a deadline of a connection has passed that the
// Dialer had set.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// fail makes an error of the call.
func (t *turn) fail(stage Stage, err error) error {
	return &OpError{Operation: t.op, Stage: stage, Sent: t.sent, Err: err}
}

// remote returns the error that an ERROR frame is, which was just read.
func (t *turn) remote(f dirty.Frame) error {
	m, err := t.client.decodeOptions().DecodeFrame(f)
	if err != nil {
		return t.fail(StageDecode, err)
	}
	return t.fail(StageRead, m.(*dirty.ErrorReply).Err)
}
