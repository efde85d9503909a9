//go:build linux

package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// TestWorkerWatch: a worker is free while it answers, then busy, then stuck, and free
// again. It is asked once at a time.
func TestWorkerWatch(t *testing.T) {
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	s := withWorker(t, server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		asked <- struct{}{}
		select {
		case <-answer:
			return w.Respond(nil)
		case <-ctx.Done():
			return ctx.Err()
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	watch := &workerWatch{stuck: time.Hour}
	workers := []client.Worker{{PID: os.Getpid(), Apps: []string{demoApp}}, {PID: 1, Apps: []string{demoApp}}}
	eventually := func(want workerState) {
		t.Helper()
		require.Eventually(t, func() bool {
			watch.look(ctx, s.Socket(), workers)
			state, _ := watch.state(os.Getpid())
			return state == want
		}, time.Minute, 5*time.Millisecond)
	}
	state, _ := watch.state(os.Getpid())
	assert.Equal(t, workerUnknown, state)
	eventually(workerBusy)
	watch.stuck = busyAfter // so long it has not answered already
	eventually(workerStuck)
	_, silent := watch.state(os.Getpid())
	assert.GreaterOrEqual(t, silent, watch.stuck)
	<-asked
	assert.Empty(t, asked)
	close(answer)
	eventually(workerFree)
	state, _ = watch.state(1)
	assert.Equal(t, workerUnknown, state, "nobody listens for it")

	watch.look(ctx, s.Socket(), nil)
	state, _ = watch.state(os.Getpid())
	assert.Equal(t, workerUnknown, state, "it has ended")
	cancel()
	watch.wait()
}

// TestWorkerWatchEnds: a question that is never answered ends with its context, and
// with its worker.
func TestWorkerWatchEnds(t *testing.T) {
	s := withWorker(t, server.HandlerFunc(func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	workers := []client.Worker{{PID: os.Getpid(), Apps: []string{demoApp}}}
	watch := &workerWatch{stuck: time.Second}
	watch.look(t.Context(), s.Socket(), workers)
	watch.look(t.Context(), s.Socket(), nil)
	watch.wait()
	ctx, cancel := context.WithCancel(t.Context())
	watch.look(ctx, s.Socket(), workers)
	cancel()
	watch.wait()
}
