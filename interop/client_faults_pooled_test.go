//go:build unix

package interop

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// pooled is a client whose pool has one connection that is older than a worker, and
// others that are younger. The worker has inherited the older one. So that connection
// gets no EOF when the arbiter dies by SIGKILL.
type pooled struct {
	*client.Client
	reused reusedTracer
}

// reusedTracer notes which calls used a connection of the pool.
type reusedTracer struct {
	mu    sync.Mutex
	calls map[string]bool // by action
}

func (r *reusedTracer) tracer() client.Tracer {
	return client.Tracer{AcquireDone: func(_ context.Context, op client.Operation, a client.AcquireResult) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.calls == nil {
			r.calls = map[string]bool{}
		}
		r.calls[op.Action] = a.Reused
	}}
}

func (r *reusedTracer) of(action string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[action]
}

// newPooled needs a server with two workers or more. On a busy machine the
// connection may be closed, after its idle time, before the new worker is there. Then
// it tries again.
func newPooled(t *testing.T, g *gunicorn, opts ...client.Option) *pooled {
	t.Helper()
	p := &pooled{}
	p.Client = g.client(t, append(opts, client.WithTracer(p.reused.tracer()))...)
	for range tries {
		oldest := g.awaitWorkers(t, g.Workers)[0]
		requireServes(t, p.Client)
		dials := p.Stats().Dials
		g.signal(t, oldest, syscall.SIGKILL)
		until(t, "there is a new worker", func() bool { // by questions that keep the connection from being idle
			status, err := p.Status(newLongContext(t))
			require.NoError(t, err)
			return status.Serving(app) == g.Workers && status.Workers[0].PID != oldest
		})
		if s := p.Stats(); s.Dials == dials && s.Idle == 1 {
			return p
		}
	}
	require.FailNow(t, "the connection is closed before there is a new worker, each time")
	return nil
}

// tries is how often a busy machine may let kept connections become too old.
const tries = 20

// fill adds n idle connections.
func (p *pooled) fill(t *testing.T, n int) {
	t.Helper()
	ctx := newLongContext(t)
	for range tries {
		var group sync.WaitGroup
		streams := make([]*client.Stream, 1+n)
		for i := range streams {
			s, err := p.OpenStream(ctx, app, "count", 1)
			require.NoError(t, err)
			streams[i] = s
		}
		for _, s := range streams {
			group.Go(func() {
				_, err := collect(s.All())
				assert.NoError(t, err)
			})
		}
		group.Wait()
		if p.Stats().Idle == 1+n {
			return
		}
	}
	require.FailNow(t, "idle connections are closed too soon, each time")
}
