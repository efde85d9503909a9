package server

import "sync/atomic"

// Stats is a snapshot of what a server does and has done, made by
// [Server.Stats].
type Stats struct {
	// Now.
	Conns   int // connections
	Running int // requests that are handled
	Queued  int // requests that wait because of MaxConcurrent

	// Since the start.
	Accepted uint64 // connections that were served
	Refused  uint64 // connections that were closed at once, because of MaxConns or ConnContext
	Faults   uint64 // connections that were closed because what came was no frame
	Requests uint64 // requests, without those that could not be decoded
	Errors   uint64 // replies that were errors, to messages of any kind
	Panics   uint64 // handlers that panicked
}

// counts is what Stats is made from.
type counts struct {
	running, queued                                     atomic.Int64
	accepted, refused, faults, requests, errors, panics atomic.Uint64
}

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
