package server

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// watchDelay is how long a handler runs, at least, before the server begins to
// look whether its client leaves; at most it is twice that.
const watchDelay = 10 * time.Millisecond

// leftInterval is how often the server looks whether the client has left where
// it cannot be noticed by reading.
const leftInterval = time.Second

// watch notices that the client leaves while it is being answered. To see
// that, it must read; what it reads may be the next frame, which it then keeps.
// So frames are read by the goroutine that serves the connection or, if an answer
// takes longer than watchDelay, by one of watch. At most one frame is kept: a
// client that sends without waiting is made to wait.
//
// Short answers do not pay for this, not even by setting a timer: that costs
// half as much as the whole answer. The timer is set while it is not, and looks
// whether the exchange is the one that it saw before.
type watch struct {
	conn  *conn
	unix  syscall.RawConn // nil for what is no stream over a Unix socket
	timer *time.Timer     // calls look
	set   atomic.Bool     // the timer is set, or look runs
	turn  atomic.Uint64   // the number of the exchange
	seen  uint64          // the one that was going on when the timer was set

	// Of the exchange. They are set before the connection becomes active, and
	// do not change while it is.
	ctx    context.Context
	cancel context.CancelCauseFunc

	reading bool         // look reads, and its result was not taken
	result  chan reading // of look
}

// reading is what came of reading a frame.
type reading struct {
	frame dirty.Frame
	err   error
}

func (w *watch) init(c *conn) {
	w.conn = c
	w.result = make(chan reading, 1)
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	if u, ok := c.given.(*net.UnixConn); ok && u.LocalAddr().Network() == "unix" {
		if raw, err := u.SyscallConn(); err == nil {
			w.unix = raw
		}
	}
}

// begin begins an exchange, whose context cancel ends. It reports false if the
// connection is over.
func (w *watch) begin(ctx context.Context, cancel context.CancelCauseFunc) bool {
	w.ctx, w.cancel = ctx, cancel
	w.turn.Add(1)
	if !w.conn.state.CompareAndSwap(connIdle, connActive) {
		return false
	}
	w.start()
	return true
}

// start sets the timer, unless it is set.
func (w *watch) start() {
	if !w.set.Load() && w.set.CompareAndSwap(false, true) {
		w.seen = w.turn.Load()
		w.timer.Reset(watchDelay)
	}
}

// end ends an exchange. Its context must end as well.
func (w *watch) end() {
	if !w.conn.state.CompareAndSwap(connActive, connIdle) {
		w.reading = true
		w.conn.state.Store(connIdle)
	}
}

// next returns the next frame, whoever reads it. It lies in the connection's
// frame.
func (w *watch) next() (dirty.Frame, error) {
	c := w.conn
	if !w.reading {
		return c.read(c.frame)
	}
	r := <-w.result
	w.reading = false
	c.frame, c.ahead = c.ahead, c.frame
	return r.frame, r.err
}

// stop waits until nothing reads any more. The connection was closed before.
func (w *watch) stop() {
	w.conn.state.Store(connOver)
	w.timer.Stop()
	if w.reading {
		<-w.result
	}
}

// look takes over the reading, if the exchange is the one that was seen before.
func (w *watch) look() {
	if w.seen == w.turn.Load() && w.conn.state.CompareAndSwap(connActive, connWatched) {
		w.read()
	}
	w.set.Store(false)
	if w.conn.state.Load() == connActive { // it began before set was false
		w.start()
	}
}

// read reads a frame, and ends the exchange's context if the client has left.
// There is a result whatever the connection's methods do.
func (w *watch) read() {
	r, returned := reading{err: errPanic}, false
	defer func() {
		v := recover()
		if !returned {
			w.conn.server.reportFailure(v)
			w.cancel(errPanic)
		}
		w.result <- r
	}()
	f, err := w.conn.read(w.conn.ahead)
	r = reading{f, err}
	if err != nil && meansLeft(err) && w.hasLeft() {
		w.cancel(w.conn.cause(ErrClientGone))
	} else {
		w.poll()
	}
	returned = true
}

// hasLeft reports whether a client from which nothing more comes has left. If it
// has closed its socket for writing only, it waits for the reply.
func (w *watch) hasLeft() bool { return w.unix == nil || hungUp(w.unix) }

// poll looks again and again until the exchange is over: nothing more is read
// meanwhile, so that this is the only way to see the client leave.
func (w *watch) poll() {
	if w.unix == nil || !canSeeHangUp {
		return
	}
	t := time.NewTicker(leftInterval)
	defer t.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-t.C:
			if hungUp(w.unix) {
				w.cancel(ErrClientGone)
				return
			}
		}
	}
}
