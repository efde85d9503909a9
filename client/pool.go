package client

import (
	"container/list"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// pool holds the connections to one arbiter: whichever was dialled last.
//
// No lock is held over I/O. A connection is either idle, or leased to one call
// or stream, or being closed; together with the dials these are open, which
// MaxConns bounds. Calls that find no idle connection wait in order, and are
// served by what comes first: a connection that is given back, or a dial. A
// dial belongs to nobody: one whose caller has left serves the next.
type pool struct {
	cfg *config

	// life ends with Close, and with it the dials.
	life context.Context
	end  context.CancelFunc

	// background counts the goroutines of the pool and of streams.
	background sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	calls   int           // calls and streams that go on
	drained chan struct{} // made by Shutdown; closed when calls is 0

	idle    []*conn          // the one used last is last
	leased  map[*conn]func() // with what ends its stream; nil for a call
	dialing int
	closing int
	waiters list.List // of *waiter
	trouble error     // why the dials that go on do not succeed yet

	current peer       // the arbiter that was dialled last
	speech  peerSpeech // what it speaks

	janitor *time.Timer
	tending bool // it runs

	stats  Stats // without what is counted here
	closes [closeReasons]uint64
}

// waiter is a call that waits for a connection.
type waiter struct {
	served chan struct{} // closed when conn or err is set
	conn   *conn
	err    error
	stage  Stage // at which err came
}

func newPool(cfg *config) *pool {
	p := &pool{cfg: cfg, leased: map[*conn]func(){}}
	p.life, p.end = context.WithCancel(context.Background())
	p.janitor = time.AfterFunc(time.Hour, p.tend)
	p.janitor.Stop()
	return p
}

// open returns the number of connections there are. The lock is held.
func (p *pool) open() int { return len(p.idle) + len(p.leased) + p.dialing + p.closing }

// begin counts a call in, done counts it out.
func (p *pool) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.drained != nil {
		return ErrClosed
	}
	p.calls++
	p.stats.Calls++
	return nil
}

func (p *pool) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if p.calls == 0 && p.drained != nil {
		close(p.drained)
	}
}

// acquire leases a connection until put. It waits at most until the deadline,
// if there is one.
func (p *pool) acquire(ctx context.Context, deadline time.Time, timeout time.Duration) (*conn, Stage, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, StageWait, ErrClosed
		}
		n := len(p.idle)
		if n == 0 {
			break
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.leased[c] = nil
		p.startJanitor()
		p.mu.Unlock()
		if c.reusable() {
			p.mu.Lock()
			p.stats.Reused++
			p.mu.Unlock()
			return c, StageWait, nil
		}
		p.put(c, closedDead)
	}
	w := &waiter{served: make(chan struct{}), stage: StageDial}
	position := p.waiters.PushBack(w)
	p.stats.Waits++
	p.startDials()
	p.mu.Unlock()

	begin := time.Now()
	err := await(ctx, w.served, deadline, timeout)
	p.mu.Lock()
	p.stats.WaitDuration += time.Since(begin)
	if err == nil {
		p.mu.Unlock()
		return w.conn, w.stage, w.err
	}
	stage := StageDial
	if p.dialing == 0 {
		stage = StageWait
		err = fmt.Errorf("%w: %w (%d in use, %d waiting, at most %d: client.WithMaxConns)",
			ErrPoolTimeout, err, len(p.leased), p.waiters.Len(), p.cfg.MaxConns)
	} else if p.trouble != nil {
		err = fmt.Errorf("%w: %w", err, p.trouble)
	}
	select {
	case <-w.served: // just now, too late
	default:
		p.waiters.Remove(position)
	}
	p.mu.Unlock()
	if w.conn != nil {
		p.place(w.conn, keep, false)
	}
	return nil, stage, err
}

// await waits until the channel is closed, and says what ended before that.
func await(ctx context.Context, served <-chan struct{}, deadline time.Time, timeout time.Duration) error {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-served:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-expired:
		return &timeoutError{callTimeout, timeout}
	}
}

// put ends the lease of a connection that was used. It is kept or closed.
func (p *pool) put(c *conn, reason closeReason) { p.place(c, reason, true) }

// place is put for a connection that may be unused.
func (p *pool) place(c *conn, reason closeReason, used bool) {
	p.mu.Lock()
	if reason == keep {
		reason = p.keepOrReason(c)
	}
	if reason != keep {
		delete(p.leased, c)
		p.closing++
		p.mu.Unlock()
		p.discard(reason, c)
		return
	}
	defer p.mu.Unlock()
	c.reused = c.reused || used
	if !p.serve(c, nil) {
		delete(p.leased, c)
		c.reused, c.idleSince = true, time.Now()
		p.idle = append(p.idle, c)
	}
	p.startJanitor()
	p.startDials() // more, if this was a dial of many
}

// keepOrReason returns keep, or why a sound connection is not kept.
func (p *pool) keepOrReason(c *conn) closeReason {
	switch {
	case p.closed || p.drained != nil && p.waiters.Len() == 0:
		return closedShutdown
	case c.peer != p.current:
		return closedDead
	case p.waiters.Len() == 0 && (len(p.idle) >= p.cfg.MaxIdle || p.cfg.IdleTime == 0):
		return closedSurplus
	}
	return keep
}

// serve gives a connection or an error to who waits longest.
func (p *pool) serve(c *conn, err error) bool {
	front := p.waiters.Front()
	if front == nil {
		return false
	}
	w := p.waiters.Remove(front).(*waiter)
	w.conn, w.err = c, err
	close(w.served)
	return true
}

// discard closes connections that were taken out of the pool's lists and
// counted as closing, which they are until they are closed.
func (p *pool) discard(reason closeReason, conns ...*conn) {
	if len(conns) == 0 {
		return
	}
	for _, c := range conns {
		c.close()
		p.cfg.logger.Debug("dirty: connection closed", "reason", reason.String(), "path", c.peer.path, "pid", c.peer.pid)
	}
	p.mu.Lock()
	p.closing -= len(conns)
	p.closes[reason] += uint64(len(conns))
	p.startDials()
	p.mu.Unlock()
}

// startDials starts a dial for each call that waits, as far as the limits
// allow. The lock is held.
func (p *pool) startDials() {
	for !p.closed && p.dialing < min(p.cfg.MaxDials, p.waiters.Len()) && p.open() < p.cfg.MaxConns {
		p.dialing++
		p.background.Go(p.dial)
	}
}

func (p *pool) dial() {
	c, err := p.cfg.connect(p.life, p.troubled)
	p.mu.Lock()
	p.dialing--
	if p.dialing == 0 {
		p.trouble = nil
	}
	if err != nil {
		p.stats.DialErrors++
		p.serve(nil, err)
		p.startDials()
		p.mu.Unlock()
		return
	}
	p.stats.Dials++
	p.leased[c] = nil
	strangers := p.follow(c.peer)
	p.mu.Unlock()
	p.place(c, keep, false)
	p.discard(closedDead, strangers...)
}

// follow makes a peer the current one, and returns the idle connections to
// another: its arbiter was replaced. The lock is held.
func (p *pool) follow(to peer) (strangers []*conn) {
	if p.current == to {
		return nil
	}
	p.current, p.speech = to, speechUnknown
	return p.takeIdle()
}

// takeIdle takes all idle connections out of the pool, to be discarded. The lock
// is held.
func (p *pool) takeIdle() []*conn {
	conns := p.idle
	p.idle = nil
	p.closing += len(conns)
	return conns
}

// troubled notes why a dial is tried again.
func (p *pool) troubled(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err
	p.stats.BacklogFull++
}

// died is told that a kept connection was dead. Those that are idle will be
// too.
func (p *pool) died() {
	p.mu.Lock()
	conns := p.takeIdle()
	p.mu.Unlock()
	p.discard(closedDead, conns...)
}

// adopt notes what ends the stream that has a connection when the client is
// closed, and starts its goroutine, if it has one. It does neither if the client
// is closed already.
func (p *pool) adopt(c *conn, end, run func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.leased[c] = end
	if run != nil {
		p.background.Go(run)
	}
	return true
}

// isClosed reports whether Close was called.
func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// drain refuses new calls, and returns a channel that is closed when those
// that go on have ended.
func (p *pool) drain() <-chan struct{} {
	p.mu.Lock()
	if p.drained == nil {
		p.drained = make(chan struct{})
		if p.calls == 0 {
			close(p.drained)
		}
	}
	drained, conns := p.drained, p.takeIdle()
	p.mu.Unlock()
	p.discard(closedShutdown, conns...)
	return drained
}

// close ends everything. Connections that calls have are cut, and the calls put
// them.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for e := p.waiters.Front(); e != nil && p.dialing == 0; e = e.Next() {
			e.Value.(*waiter).stage = StageWait
		}
		p.end()
		p.janitor.Stop()
		for p.serve(nil, ErrClosed) {
		}
	}
	leased, idle := maps.Clone(p.leased), p.takeIdle()
	p.mu.Unlock()
	for c, end := range leased {
		c.close()
		if end != nil {
			end()
		}
	}
	p.discard(closedShutdown, idle...)
	p.background.Wait()
}

// snapshot returns the statistics.
func (p *pool) snapshot() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.InUse, s.Idle, s.Dialing, s.Closing, s.Waiting = len(p.leased), len(p.idle), p.dialing, p.closing, p.waiters.Len()
	s.Closed = closedStats(p.closes)
	return s
}
