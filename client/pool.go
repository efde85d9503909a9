package client

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// closeGrace is how long Close waits at most. All that is ours ends at once;
// this is for hooks, which may block for ever.
const closeGrace = time.Second

// pool holds the connections to one arbiter: whichever was dialled last.
//
// No lock is held over I/O or a hook. A connection is either idle, or leased to
// one call or stream, or being closed; together with the dials these are open,
// which MaxConns bounds. Calls that find no idle connection wait in order, and
// are served by what comes first: a connection that is given back, or a dial. A
// dial belongs to nobody: one whose caller has left serves the next.
type pool struct {
	cfg *config

	// life ends with Close, and with it the dials.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	calls   int                  // calls and streams that go on
	streams map[*Stream]struct{} // those of them that Close must end
	running int                  // goroutines of the pool and of streams
	drained chan struct{}        // made by Shutdown; closed when calls is 0
	over    chan struct{}        // closed when the pool is closed, and nothing runs any more

	idle    []*conn // the one used last is last
	leased  map[*conn]struct{}
	dialing int
	closing int
	waiters list.List // of *waiter
	trouble error     // why the dials that go on do not succeed yet

	current peer       // the arbiter that was dialled last
	speech  peerSpeech // what it speaks

	janitor  *time.Timer
	tending  bool      // the janitor's timer is set
	nextTend time.Time // for when

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
	p := &pool{cfg: cfg, streams: map[*Stream]struct{}{}, leased: map[*conn]struct{}{}, over: make(chan struct{})}
	p.life, p.end = context.WithCancel(context.Background())
	p.janitor = time.AfterFunc(time.Hour, p.tend)
	p.janitor.Stop()
	return p
}

// open returns the number of connections there are. The lock is held.
func (p *pool) open() int { return len(p.idle) + len(p.leased) + p.dialing + p.closing }

// startCall counts a call in, endCall counts it out.
func (p *pool) startCall() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.drained != nil {
		return ErrClosed
	}
	p.calls++
	p.stats.Calls++
	return nil
}

func (p *pool) endCall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if p.calls == 0 && p.drained != nil {
		close(p.drained)
	}
	p.tellIfOver()
}

// spawn starts a goroutine for which Close waits. The lock is held.
func (p *pool) spawn(f func()) {
	p.running++
	go func() {
		defer p.endRun()
		f()
	}()
}

// endRun counts a goroutine out.
func (p *pool) endRun() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.tellIfOver()
}

// tellIfOver tells Close if nothing runs any more. The lock is held.
func (p *pool) tellIfOver() {
	if !p.closed || p.calls > 0 || p.running > 0 {
		return
	}
	select {
	case <-p.over:
	default:
		close(p.over)
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
		p.leased[c] = struct{}{}
		p.startJanitor()
		p.mu.Unlock()
		if c.reusable() {
			p.mu.Lock()
			p.stats.Reused++
			p.mu.Unlock()
			return c, StageWait, nil
		}
		p.put(c, closedDead, true)
	}
	w := &waiter{served: make(chan struct{}), stage: StageDial}
	position := p.waiters.PushBack(w)
	p.stats.Waits++
	p.startDials()
	p.mu.Unlock()

	begin := time.Now()
	waited := false
	defer func() {
		if !waited { // a method of the context has panicked
			p.leave(w, position)
		}
	}()
	err := await(ctx, w.served, deadline, timeout)
	waited = true
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
	p.mu.Unlock()
	p.leave(w, position)
	return nil, stage, err
}

// leave ends a wait. A connection that was given just now, too late, goes to the
// next one.
func (p *pool) leave(w *waiter, position *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.served:
		if w.conn != nil {
			p.place(w.conn, keep, false)
		}
	default:
		p.waiters.Remove(position)
	}
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

// put ends the lease of a connection, which is kept or closed; used is whether
// a request was written to it.
func (p *pool) put(c *conn, reason closeReason, used bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.place(c, reason, used)
}

// place is put. The lock is held.
func (p *pool) place(c *conn, reason closeReason, used bool) {
	if reason == keep {
		reason = p.keepOrReason(c)
	}
	if reason != keep {
		delete(p.leased, c)
		p.discard(reason, c)
		return
	}
	c.reused = c.reused || used
	if !p.serve(c, nil) {
		delete(p.leased, c)
		c.reused, c.idleSince = true, time.Now()
		p.idle = append(p.idle, c)
	}
	p.startJanitor()
	p.startDials() // more, if this was a dial of many
}

// keepOrReason returns keep, or why a sound connection is not kept. The lock is
// held.
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

// serve gives a connection or an error to the call that waits longest, and
// reports whether there is one. The lock is held.
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

// discard closes connections that were taken out of the pool's lists, each in
// a goroutine of its own, because Close may take its time. The lock is held.
func (p *pool) discard(reason closeReason, conns ...*conn) {
	p.closing += len(conns)
	p.closes[reason] += uint64(len(conns))
	for _, c := range conns {
		p.spawn(func() {
			func() {
				defer p.endClose()
				c.close()
			}()
			p.cfg.hooks.log(slog.LevelDebug, "dirty: connection closed", "reason", reason.String(), "path", c.peer.path, "pid", c.peer.pid)
		})
	}
}

// endClose notes that a connection is closed.
func (p *pool) endClose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing--
	p.startDials()
}

// startDials starts a dial for each call that waits, as far as the limits
// allow. The lock is held.
func (p *pool) startDials() {
	for !p.closed && p.dialing < min(p.cfg.MaxDials, p.waiters.Len()) && p.open() < p.cfg.MaxConns {
		p.dialing++
		p.spawn(p.dial)
	}
}

func (p *pool) dial() {
	c, err := p.cfg.connect(p.life, p.noteTrouble)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if p.dialing == 0 {
		p.trouble = nil
	}
	if err != nil {
		p.stats.DialErrors++
		p.serve(nil, err)
		p.startDials()
		return
	}
	p.stats.Dials++
	p.leased[c] = struct{}{}
	p.follow(c.peer)
	p.place(c, keep, false)
}

// follow makes a peer the current one, and drops the idle connections to
// another: its arbiter was replaced. The lock is held.
func (p *pool) follow(to peer) {
	if p.current == to {
		return
	}
	p.current, p.speech = to, speechUnknown
	p.dropIdle(closedDead)
}

// dropIdle closes all idle connections. The lock is held.
func (p *pool) dropIdle(reason closeReason) {
	conns := p.idle
	p.idle = nil
	p.discard(reason, conns...)
}

// noteTrouble notes why a dial is tried again.
func (p *pool) noteTrouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err
	p.stats.BacklogFull++
}

// noteRetry notes that a call is made again. If that is because a kept
// connection was dead, those that are idle will be dead too.
func (p *pool) noteRetry(dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Retries++
	if dead {
		p.dropIdle(closedDead)
	}
}

// noteMismatch counts a reply to somebody else.
func (p *pool) noteMismatch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Mismatches++
}

// adopt notes a stream that Close must end. It reports whether the client is
// still open.
func (p *pool) adopt(s *Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.streams[s] = struct{}{}
	}
	return !p.closed
}

// release ends what startCall and adopt began.
func (p *pool) release(s *Stream) {
	p.mu.Lock()
	delete(p.streams, s)
	p.mu.Unlock()
	p.endCall()
}

// run starts a goroutine for which Close waits.
func (p *pool) run(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spawn(f)
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
	defer p.mu.Unlock()
	if p.drained == nil {
		p.drained = make(chan struct{})
		if p.calls == 0 {
			close(p.drained)
		}
	}
	p.dropIdle(closedShutdown)
	return p.drained
}

// close ends everything, and waits until nothing of it is left. It does not
// wait for a hook that blocks, nor for the one that it is called from.
func (p *pool) close() {
	for _, s := range p.cut() {
		s.abort(closedShutdown, ErrClosed)
	}
	if insideHook() {
		return
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
	}
}

// cut refuses calls, ends the waits, and closes all connections; calls that had
// one give it back. It returns the streams, which are to be ended.
func (p *pool) cut() []*Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	for c := range p.leased {
		p.spawn(c.close)
	}
	p.dropIdle(closedShutdown)
	p.tellIfOver()
	return slices.Collect(maps.Keys(p.streams))
}

// snapshot returns the statistics.
func (p *pool) snapshot() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.InUse, s.Idle, s.Dialing, s.Closing, s.Waiting = len(p.leased), len(p.idle), p.dialing, p.closing, p.waiters.Len()
	s.Closed = closedStats(p.closes)
	s.HookFailures = p.cfg.hooks.failures.Load()
	return s
}
