package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty/client"
)

const (
	webStatusPause   = time.Second     // between two questions for the status
	webStatusTimeout = 5 * time.Second // bounds the wait for it
	webStuck         = 2 * time.Second // a worker that does not answer for so long is stuck
)

// webWorkers knows the state of the arbiter and its workers.
type webWorkers struct {
	resolve client.Resolver
	client  *client.Client
	watch   workerWatch

	mu     sync.Mutex
	status *client.Status // the last one; nil before the first
	err    error          // why there was none since
}

// webArbiter is what a viewer is told of the arbiter.
type webArbiter struct {
	PID     int         `json:"pid"`
	Error   string      `json:"error"` // why it does not answer
	Workers []webWorker `json:"workers"`
}

// webWorker is a worker.
type webWorker struct {
	PID       int      `json:"pid"`
	Age       int      `json:"age"`
	Apps      []string `json:"apps"`
	State     string   `json:"state"`     // starting, free, busy, stuck or unknown
	Silent    float64  `json:"silent"`    // seconds since it was asked, while it has not answered
	Heartbeat float64  `json:"heartbeat"` // seconds since its last sign of life
}

// run asks again and again until ctx ends.
func (w *webWorkers) run(ctx context.Context) {
	defer w.watch.wait()
	for ctx.Err() == nil {
		w.look(ctx)
		_ = sleep(ctx, webStatusPause)
	}
}

// look asks the arbiter, and has its workers asked.
func (w *webWorkers) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, webStatusTimeout)
	defer cancel()
	status, err := w.client.Status(limited)
	if err == nil {
		var path string
		if path, err = w.resolve(ctx); err == nil {
			w.watch.look(ctx, path, status.Workers)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err == nil {
		w.status = status
	}
}

// view returns what is known now.
func (w *webWorkers) view() webArbiter {
	w.mu.Lock()
	status, err := w.status, w.err
	w.mu.Unlock()
	v := webArbiter{Workers: []webWorker{}}
	if err != nil {
		v.Error = printable(strings.TrimPrefix(err.Error(), "dirty: "))
		return v // the workers may be gone
	}
	if status == nil {
		return v
	}
	v.PID = status.ArbiterPID
	for _, worker := range status.Workers {
		state, silent := w.watch.state(worker.PID)
		seen := webWorker{
			PID: worker.PID, Age: worker.Age, Apps: []string{}, State: state.String(),
			Silent: silent.Seconds(), Heartbeat: worker.HeartbeatAge.Seconds(),
		}
		if !worker.Booted && state != workerFree {
			seen.State = "starting"
		}
		for _, app := range worker.Apps {
			seen.Apps = append(seen.Apps, shortName(app))
		}
		v.Workers = append(v.Workers, seen)
	}
	return v
}
