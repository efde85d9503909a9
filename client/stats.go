package client

import "time"

// Stats is a snapshot of a client's connections, made by [Client.Stats].
type Stats struct {
	// Now.
	InUse   int // connections that calls and streams have
	Idle    int // connections that are kept
	Dialing int // dials that go on
	Closing int // connections that are being closed
	Waiting int // calls that wait for a connection

	// Since New.
	Calls        uint64        // calls and streams begun
	Waits        uint64        // of them, those that found no idle connection
	WaitDuration time.Duration // how long these waited, together
	Reused       uint64        // times that a kept connection was used again
	Dials        uint64        // dials that succeeded
	DialErrors   uint64        // dials that failed
	BacklogFull  uint64        // attempts to dial that found the listen backlog full, or nobody there, and were repeated
	Retries      uint64        // attempts that the client made again by itself
	Mismatches   uint64        // replies that belonged to other requests
	HookFailures uint64        // times that a Dialer, Tracer, Logger or other code of yours panicked or called runtime.Goexit
	Closed       ClosedStats
}

// ClosedStats counts connections by the reason why they were closed.
type ClosedStats struct {
	Idle     uint64 // kept idle for the whole IdleTime
	Surplus  uint64 // more than MaxIdle
	Dead     uint64 // found at its end or talkative, or with a dead or another arbiter, when it was to be used again
	Cancel   uint64 // the context of its call ended, or its stream was left
	Timeout  uint64 // the client's own timeout
	Protocol uint64 // a reply that is broken, of another request, or of a wrong kind
	Failed   uint64 // a read or a write failed
	Shutdown uint64 // the client was closed
}

// closeReason is a field of ClosedStats.
type closeReason int

const (
	keep closeReason = iota - 1 // none
	closedIdle
	closedSurplus
	closedDead
	closedCancel
	closedTimeout
	closedProtocol
	closedFailed
	closedShutdown
	closeReasons
)

func (r closeReason) String() string {
	return [...]string{"idle", "surplus", "dead", "cancel", "timeout", "protocol", "failed", "shutdown"}[r]
}

func closedStats(n [closeReasons]uint64) ClosedStats {
	return ClosedStats{
		Idle: n[closedIdle], Surplus: n[closedSurplus], Dead: n[closedDead], Cancel: n[closedCancel],
		Timeout: n[closedTimeout], Protocol: n[closedProtocol], Failed: n[closedFailed], Shutdown: n[closedShutdown],
	}
}
