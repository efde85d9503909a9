package server

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// watchDelay is how long a handler runs before the server begins to look
// whether its client leaves. It may be up to twice as long.
const watchDelay = 10 * time.Millisecond

// leftInterval is the time between two looks whether a client has left, where
// reading cannot tell.
const leftInterval = time.Second

// watch notices that the client leaves while it is being answered. For that it
// must read. What it reads may be the next frame, which it keeps. So the goroutine
// that serves the connection reads the frames but, if an answer takes longer than
// watchDelay, a goroutine of the watch reads the next one. It keeps at most one
// frame: a client that sends more has to wait.
//
// Short answers do not set a timer, because that costs half as much as the whole
// answer. Once set, the timer runs on through later exchanges. When it fires, it
// looks whether the exchange is still the one for which it was set.
type watch struct {
	conn  *conn
	unix  syscall.RawConn // nil if the connection is no Unix socket
	timer *time.Timer     // calls look
	set   atomic.Bool     // the timer is set, or look runs
	turn  atomic.Uint64   // counts the exchanges
	seen  uint64          // the exchange for which the timer was set

	// These are of the exchange. They are set before the connection becomes
	// active, and do not change while it is active.
	ctx    context.Context
	cancel context.CancelCauseFunc

	reading bool         // look reads or has read, and nobody has its result yet
	result  chan reading // what look has read
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
		w.unix = c.in.raw
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

// start sets the timer, unless it is set already.
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

// look takes over the reading, if the exchange is still the one for which the
// timer was set.
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
		if !returned {
			w.cancel(errPanic)
		}
		w.result <- r
	}()
	_ = w.conn.server.journal.Try(whereConnection, func() error {
		f, err := w.conn.read(w.conn.ahead)
		r = reading{f, err}
		if err != nil && meansLeft(err) && w.hasLeft() {
			w.cancel(w.conn.cause(ErrClientGone))
		} else {
			w.poll()
		}
		returned = true
		return nil
	})
}

// hasLeft reports whether a client from which nothing more comes has left. If it
// has closed its socket for writing only, it waits for the reply.
func (w *watch) hasLeft() bool { return w.unix == nil || hasHungUp(w.unix) }

// poll looks again and again whether the client has left, until the exchange is
// over. Nothing more is read meanwhile, so this is the only way to see it.
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
			if hasHungUp(w.unix) {
				w.cancel(ErrClientGone)
				return
			}
		}
	}
}
