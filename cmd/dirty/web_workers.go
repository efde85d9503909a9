package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	webLookPause = time.Second     // between two looks at the workers
	webSilence   = 3 * time.Second // an arbiter that takes longer to answer is told of
	webStuck     = 2 * time.Second // a worker that does not answer for so long is stuck
)

// webWorkers knows the state of the arbiter and its workers.
type webWorkers struct {
	mu    sync.Mutex
	asked time.Time    // when the look that runs began; zero between two
	seen  *seenArbiter // by the last look; nil before it, and if it has failed
	err   error        // why it has failed
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
	Silent    float64  `json:"silent"`    // seconds for which it has not answered
	Heartbeat float64  `json:"heartbeat"` // seconds since its last sign of life
}

// run looks again and again until ctx ends.
func (w *webWorkers) run(ctx context.Context, look *looker) {
	defer look.close()
	for ctx.Err() == nil {
		w.mu.Lock()
		w.asked = time.Now()
		w.mu.Unlock()
		seen, err := look.look(ctx, false)
		w.mu.Lock()
		w.asked, w.seen, w.err = time.Time{}, seen, err
		w.mu.Unlock()
		_ = sleep(ctx, webLookPause)
	}
}

// view returns what is known now. Of an arbiter that does not answer no workers are
// known: they may be gone.
func (w *webWorkers) view() webArbiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := webArbiter{Workers: []webWorker{}}
	switch silent := time.Since(w.asked); {
	case w.err != nil:
		v.Error = printable(strings.TrimPrefix(w.err.Error(), "dirty: "))
		return v
	case !w.asked.IsZero() && silent > webSilence:
		v.Error = fmt.Sprintf("it was asked %d s ago", int(silent.Seconds()))
		return v
	case w.seen == nil:
		return v
	}
	v.PID = w.seen.ArbiterPID
	for _, worker := range w.seen.Workers {
		shown := webWorker{
			PID: worker.PID, Age: worker.Age, Apps: []string{}, State: worker.State,
			Silent: worker.Silent, Heartbeat: worker.Heartbeat,
		}
		if !worker.Booted && worker.State != workerFree.String() {
			shown.State = "starting"
		}
		for _, app := range worker.Apps {
			shown.Apps = append(shown.Apps, shortName(app))
		}
		v.Workers = append(v.Workers, shown)
	}
	return v
}
