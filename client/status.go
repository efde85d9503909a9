package client

import (
	"context"
	"slices"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Status is the state of the arbiter and its workers, at one moment.
type Status struct {
	ArbiterPID int
	Workers    []Worker // the oldest first
	Apps       []string // all that are configured, with or without workers
}

// Worker is a dirty worker, as its arbiter sees it.
type Worker struct {
	PID  int
	Age  int      // a number that grows with each worker the arbiter makes
	Apps []string // those that it serves

	// Booted is set once the worker has given a sign of life. gunicorn's own
	// field of that name is always false, so it is derived from the heartbeat:
	// the arbiter tells a negative age for one that has not come yet.
	Booted bool

	// HeartbeatAge is the time since the last sign of life, 0 if there was none
	// yet. In health it stays below half of dirty_timeout.
	HeartbeatAge time.Duration
}

// Status asks the arbiter for its state. It answers on its own, even if all
// workers are busy, but not while it decodes a large message of somebody's.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	op := Operation{Name: "status", reads: true}
	r, err := doFor[dirty.StatusResult](ctx, c, CallInfo{Operation: op}, c.cfg.Timeout,
		func(_ *conn, id uint64, _ CallInfo) dirty.Message { return dirty.NewStatusRequest(id) })
	if err != nil {
		return nil, err
	}
	s := &Status{ArbiterPID: r.ArbiterPID, Apps: r.Apps, Workers: make([]Worker, len(r.Workers))}
	for i, w := range r.Workers {
		s.Workers[i] = Worker{PID: w.PID, Age: w.Age, Apps: w.Apps, Booted: w.Booted}
		if w.LastHeartbeat != nil && *w.LastHeartbeat >= 0 {
			s.Workers[i].Booted = true
			s.Workers[i].HeartbeatAge = time.Duration(min(*w.LastHeartbeat, maxSeconds) * float64(time.Second))
		}
	}
	return s, nil
}

// maxSeconds bounds the seconds of a heartbeat: a Duration can hold them.
const maxSeconds = 1 << 33

// Serving returns the number of workers that have booted and serve the app. As
// many calls of its actions can run at one time. "" stands for any app.
func (s *Status) Serving(app string) int {
	n := 0
	for _, w := range s.Workers {
		if w.Booted && (app == "" || slices.Contains(w.Apps, app)) {
			n++
		}
	}
	return n
}

// Ping reports whether an arbiter answers. It says nothing of its workers; see
// [Client.WaitReady].
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Status(ctx)
	return err
}
