package client

import "time"

// dead reports whether the peer's process has ended. That is known on Linux
// only, and only where its process id is known.
func (p peer) dead() bool { return p.pid != 0 && processIsDead(p.pid) }

// hasLeft reports whether nobody serves the peer's connections any more. A process
// that has ended may have handed its socket to another one: a server that was taken
// over (server.Server.TakeOver), or a launcher. To know that, hasLeft dials.
func (p peer) hasLeft() bool { return p.dead() && !p.wasTakenOver() }

// recentAnswer is how long an answer shows that a peer is no zombie. Looking for
// one costs 30 times as much as looking whether there is a process, too much for
// connections that are used thousands of times a second.
const recentAnswer = 10 * time.Millisecond

// freshAnswer is how long an answer shows that a peer's process lives. Within this time
// its death is no likelier than during the call itself, against which no look helps. To
// look takes a fifteenth of the client's time for a small call.
const freshAnswer = 100 * time.Microsecond

// hasDiedSince reports whether the peer's process has ended since it answered.
func (p peer) hasDiedSince(answer time.Time) bool {
	if p.pid == 0 {
		return false
	}
	switch age := time.Since(answer); {
	case age < freshAnswer:
		return false
	case age < recentAnswer:
		return processIsGone(p.pid)
	}
	return p.dead()
}
