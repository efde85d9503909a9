package server

import "sync/atomic"

// Stats says what a server does and has done. [Server.Stats] makes it. The
// numbers are not all of one moment.
type Stats struct {
	// Now.
	Conns   int // connections
	Running int // requests that are handled
	Queued  int // requests that wait because of MaxConcurrent

	// Since the start.
	Accepted uint64 // connections that were served
	Refused  uint64 // connections that were not served: too many, not wanted by ConnContext, or too late
	Faults   uint64 // connections that were closed because what came was no frame
	Requests uint64 // requests, without those that could not be decoded
	Errors   uint64 // replies that were errors, to messages of any kind
	Panics   uint64 // panics and calls of runtime.Goexit in the code of the user
}

// counts is what Stats is made from.
type counts struct {
	running, queued                                     atomic.Int64
	accepted, refused, faults, requests, errors, panics atomic.Uint64
}

// startRequest counts a request that runs from now on, until endRequest.
func (c *counts) startRequest() {
	c.requests.Add(1)
	c.running.Add(1)
}

func (c *counts) endRequest() { c.running.Add(-1) }

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	c := &s.counts
	return Stats{
		Conns: conns, Running: int(c.running.Load()), Queued: int(c.queued.Load()),
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Faults: c.faults.Load(),
		Requests: c.requests.Load(), Errors: c.errors.Load(), Panics: c.panics.Load(),
	}
}
