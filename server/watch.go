package server

import (
	"context"
	"net"
	"slices"
	"sync"
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

// watches are those of the connections that have answered lately. They share one timer:
// with one for each, busy connections would set off thousands of timers a second.
type watches struct {
	mu   sync.Mutex
	list []*watch // a timer is set while there are any
}

// add adds a watch whose exchange has begun.
func (ws *watches) add(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = append(ws.list, w)
	if len(ws.list) == 1 {
		time.AfterFunc(watchDelay, ws.check)
	}
}

// check finds the exchanges that go on since the check before, and lets their watches
// look. Connections that were idle since then leave the list.
func (ws *watches) check() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = slices.DeleteFunc(ws.list, (*watch).check)
	if len(ws.list) > 0 {
		time.AfterFunc(watchDelay, ws.check)
	}
}

// check reports whether a watch leaves the list: its exchange takes long, so that it
// looks from now on, or there is none.
func (w *watch) check() (leaves bool) {
	if turn := w.turn.Load(); turn != w.seen {
		w.seen = turn
		return false
	}
	if w.conn.state.CompareAndSwap(connActive, connWatched) {
		go w.look()
		return true
	}
	w.listed.Store(false)
	// It stays if an exchange began before listed was false.
	return w.conn.state.Load() != connActive || !w.listed.CompareAndSwap(false, true)
}

// watch notices that the client leaves while it is being answered. For that it
// must read. What it reads may be the next frame, which it keeps. So the goroutine
// that serves the connection reads the frames but, if an answer takes longer than
// watchDelay, a goroutine of the watch reads the next one. It keeps at most one
// frame: a client that sends more has to wait.
//
// Short answers set no timer, because that costs half as much as the whole answer. The
// timer is that of all watches.
type watch struct {
	conn   *conn
	unix   syscall.RawConn // nil if the connection is no Unix socket
	listed atomic.Bool     // it is in the list of watches, or look runs
	turn   atomic.Uint64   // counts the exchanges
	seen   uint64          // the exchange that watches saw last

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

// start lets watches look at the exchange, unless they do so already.
func (w *watch) start() {
	if !w.listed.Load() && w.listed.CompareAndSwap(false, true) {
		w.conn.server.watches.add(w)
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
	if w.reading {
		<-w.result
	}
}

// look reads for an exchange that takes long.
func (w *watch) look() {
	w.read()
	w.listed.Store(false)
	if w.conn.state.Load() == connActive { // it began before listed was false
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
