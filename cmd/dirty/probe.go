package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// probeAction is an action that no app has: names that begin with an underscore
// cannot be called. A free worker says so at once.
const probeAction = "_dirty_doctor"

// workerState is what a worker's own socket says.
type workerState int

const (
	workerUnknown workerState = iota // its socket was not found, or cannot be used
	workerFree                       // it answers at once
	workerBusy                       // it has not answered yet
	workerStuck                      // it has not answered for long
)

// String returns "unknown", "free", "busy" or "stuck".
func (s workerState) String() string {
	switch s {
	case workerUnknown:
		return "unknown"
	case workerFree:
		return "free"
	case workerBusy:
		return "busy"
	case workerStuck:
		return "stuck"
	}
	return fmt.Sprintf("workerState(%d)", int(s))
}

// workerSockets returns the paths that can be sockets of workers: those beside the
// arbiter's, and on Linux all with such a name, since the arbiter's own can be
// elsewhere.
func workerSockets(path string) []string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	const pattern = "worker-*.sock"
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), pattern)) // the pattern is good
	for _, path := range listeningSockets() {
		if match, _ := filepath.Match(pattern, filepath.Base(path)); match {
			found = append(found, path)
		}
	}
	return found
}

// probe asks a worker at its own socket, which is the one where its process listens.
// A worker that has not answered when ctx ends is stuck.
func probe(ctx context.Context, sockets []string, w client.Worker) workerState {
	if len(w.Apps) == 0 {
		return workerUnknown
	}
	for _, path := range sockets {
		var dialer net.Dialer
		nc, err := dialer.DialContext(ctx, "unix", path)
		if err != nil {
			continue
		}
		if cred, ok := server.PeerCred(nc); !ok || cred.PID != w.PID {
			_ = nc.Close()
			continue
		}
		return askWorker(ctx, nc, w.Apps[0])
	}
	return workerUnknown
}

// askWorker asks for an action that no app has. Any answer will do. It closes the
// connection.
func askWorker(ctx context.Context, nc net.Conn, app string) workerState {
	conn := dirty.NewConn(nc)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.WriteMessage(dirty.NewRequest(rand.Uint64(), app, probeAction, nil, nil)); err != nil {
		return workerUnknown
	}
	_, err := conn.ReadFrame()
	switch {
	case err == nil:
		return workerFree
	case ctx.Err() != nil:
		return workerStuck
	}
	return workerUnknown
}

// busyAfter is how long a free worker may take to answer.
const busyAfter = 200 * time.Millisecond

// workerWatch asks workers again and again, and knows the state of each. A worker that
// does not answer is not asked a second time until it does. Set stuck first.
type workerWatch struct {
	stuck time.Duration // a worker that does not answer for so long is stuck

	mu      sync.Mutex
	workers map[int]*askedWorker // by pid
	asking  sync.WaitGroup
}

// askedWorker is what is known of a worker.
type askedWorker struct {
	last   workerState   // the last answer
	asked  time.Time     // zero if it has answered
	answer chan struct{} // closed when it has answered
	forget context.CancelFunc
}

// look asks the workers of the arbiter that listens at a path, and returns at once.
// Those that are not among them any more are forgotten. ctx ends the questions.
func (w *workerWatch) look(ctx context.Context, path string, workers []client.Worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.workers == nil {
		w.workers = map[int]*askedWorker{}
	}
	present := map[int]bool{}
	sockets := workerSockets(path)
	for _, worker := range workers {
		present[worker.PID] = true
		asked := w.workers[worker.PID]
		if asked == nil {
			asked = &askedWorker{}
			w.workers[worker.PID] = asked
		}
		if !asked.asked.IsZero() {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		asked.asked, asked.forget = time.Now(), cancel
		answered := make(chan struct{})
		asked.answer = answered
		w.asking.Go(func() {
			defer cancel()
			defer close(answered)
			state := probe(ctx, sockets, worker)
			w.mu.Lock()
			defer w.mu.Unlock()
			asked.last, asked.asked = state, time.Time{}
		})
	}
	for pid, asked := range w.workers {
		if !present[pid] {
			asked.forget()
			delete(w.workers, pid)
		}
	}
}

// settle waits until each worker has answered, or for as long as a free worker may take.
func (w *workerWatch) settle(ctx context.Context) {
	w.mu.Lock()
	var answers []<-chan struct{}
	for _, asked := range w.workers {
		answers = append(answers, asked.answer)
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, busyAfter)
	defer cancel()
	for _, answer := range answers {
		select {
		case <-answer:
		case <-ctx.Done():
			return
		}
	}
}

// state returns the state of a worker, and for how long it has not answered.
func (w *workerWatch) state(pid int) (workerState, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.workers[pid]
	if asked == nil {
		return workerUnknown, 0
	}
	if asked.asked.IsZero() {
		return asked.last, 0
	}
	silent := time.Since(asked.asked)
	switch {
	case silent < busyAfter:
		return asked.last, 0
	case silent < w.stuck:
		return workerBusy, silent
	}
	return workerStuck, silent
}

// wait waits until no worker is asked any more. Call it after the context of look has
// ended.
func (w *workerWatch) wait() { w.asking.Wait() }
