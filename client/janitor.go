package client

import (
	"slices"
	"time"
)

// lookInterval is how often the janitor looks whether arbiters live. A
// connection that was open when a worker was forked gets no EOF when the arbiter
// is killed, because the worker holds it too.
const lookInterval = time.Second

// startJanitor makes sure that idle connections are closed in time, and that
// calls do not wait for a dead arbiter. The lock is held.
//
// The janitor is not stopped when there is nothing to do any more: setting a
// timer for each call costs more than letting it find nothing.
func (p *pool) startJanitor() {
	if p.tending || p.closed {
		return
	}
	next := min(lookInterval, p.cfg.IdleTime) // never later than what becomes idle meanwhile is due
	switch {
	case len(p.idle) > 0:
		next = min(next, time.Until(p.idle[0].idleSince.Add(p.cfg.IdleTime)))
	case p.current.pid == 0 || len(p.leased) == 0:
		return
	}
	p.tending = true
	p.janitor.Reset(next)
}

// tend is the janitor.
func (p *pool) tend() {
	p.mu.Lock()
	p.tending = false
	oldest := time.Now().Add(-p.cfg.IdleTime)
	n := slices.IndexFunc(p.idle, func(c *conn) bool { return c.idleSince.After(oldest) })
	if n < 0 {
		n = len(p.idle)
	}
	idle := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.closing += n
	leased := make([]*conn, 0, len(p.leased))
	for c := range p.leased {
		leased = append(leased, c)
	}
	p.startJanitor()
	p.mu.Unlock()

	p.discard(closedIdle, idle...)
	dead := map[peer]bool{}
	for _, c := range leased {
		if _, looked := dead[c.peer]; !looked {
			dead[c.peer] = c.peer.dead()
		}
		if dead[c.peer] {
			c.orphaned.Store(true)
			c.close()
		}
	}
}
