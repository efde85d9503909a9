package client

import (
	"maps"
	"slices"
	"time"
)

// lookInterval is how often the janitor looks whether arbiters live. A
// connection that was open when a worker was forked gets no EOF when the arbiter
// is killed, because the worker has it too.
const lookInterval = time.Second

// startJanitor makes sure that idle connections are closed in time, and that
// calls do not wait for a dead arbiter. The lock is held.
//
// The janitor is not stopped when there is nothing to do any more: setting a
// timer for each call costs more than letting it find nothing.
func (p *pool) startJanitor() {
	var due time.Time
	switch {
	case p.closed:
		return
	case len(p.idle) > 0:
		due = p.idle[0].idleSince.Add(p.cfg.IdleTime)
		if p.tending && !due.Before(p.nextTend) {
			return
		}
		if look := time.Now().Add(lookInterval); look.Before(due) {
			due = look // something may be leased until then
		}
	case p.tending || p.current.pid == 0 || len(p.leased) == 0:
		return
	default:
		due = time.Now().Add(lookInterval)
	}
	p.tending, p.nextTend = true, due
	p.janitor.Reset(time.Until(due))
}

// tend is the janitor.
func (p *pool) tend() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.running++
	defer p.endRun()
	p.tending = false
	oldest := time.Now().Add(-p.cfg.IdleTime)
	n := slices.IndexFunc(p.idle, func(c *conn) bool { return c.idleSince.After(oldest) })
	if n < 0 {
		n = len(p.idle)
	}
	idle := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.discard(closedIdle, idle...)
	leased := slices.Collect(maps.Keys(p.leased))
	p.startJanitor()
	p.mu.Unlock()

	dead := map[peer]bool{}
	for _, c := range leased {
		if _, looked := dead[c.peer]; !looked {
			dead[c.peer] = c.peer.hasLeft()
		}
		if dead[c.peer] {
			c.orphaned.Store(true)
			p.run(c.close)
		}
	}
}
