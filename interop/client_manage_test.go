//go:build unix

package interop

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

func TestClientStatus(t *testing.T) {
	const dirtyTimeout = 6 // seconds; hearts beat twice as often
	eachFresh(t, options{Workers: 2, Timeout: dirtyTimeout}, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		pids := g.awaitWorkers(t, 2)
		require.NoError(t, c.Ping(ctx))
		status, err := c.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, g.arbiterPID(t), status.ArbiterPID)
		assert.Equal(t, []string{app}, status.Apps)
		require.Len(t, status.Workers, 2)
		for i, w := range status.Workers {
			assert.Equal(t, pids[i], w.PID)
			assert.Equal(t, i+1, w.Age)
			assert.Equal(t, []string{app}, w.Apps)
			assert.True(t, w.Booted, "gunicorn's own field is false")
			assert.GreaterOrEqual(t, w.HeartbeatAge, time.Duration(0))
			assert.Less(t, w.HeartbeatAge, dirtyTimeout*time.Second)
		}
		assert.Equal(t, 2, status.Serving(app))
		assert.Equal(t, 2, status.Serving(""))
		assert.Zero(t, status.Serving("nowhere:App"))

		// The arbiter answers while all workers are busy, and their hearts beat on.
		for range 2 {
			go func() { _, _ = c.Execute(ctx, app, "hold", t.Name(), 60) }()
		}
		g.events.awaitCount(t, "begin "+t.Name(), 2)
		require.NoError(t, c.Ping(ctx))
		last := time.Duration(0)
		until(t, "the heart beats again", func() bool {
			status, err = c.Status(ctx)
			require.NoError(t, err)
			age := status.Workers[0].HeartbeatAge
			beats := age < last
			last = age
			return beats && status.Serving(app) == 2
		})
		assert.Zero(t, g.events.count("end "+t.Name()), "they were busy")
	})
}

func TestClientManage(t *testing.T) {
	eachFreshPeer(t, options{}, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		scaled, err := c.AddWorkers(ctx, 3)
		require.NoError(t, err)
		assert.Equal(t, client.ScaleResult{Requested: 3, Changed: 3, Total: 4, Target: 4}, *scaled)
		g.awaitWorkers(t, 4)

		scaled, err = c.RemoveWorkers(ctx, 2)
		require.NoError(t, err)
		assert.Equal(t, 2, scaled.Requested)
		assert.Equal(t, 2, scaled.Changed)
		assert.Equal(t, 2, scaled.Target)

		for _, n := range []int{0, -1, client.MaxScale + 1} {
			_, err = c.AddWorkers(ctx, n)
			require.ErrorIs(t, err, client.ErrInvalidArgument)
			requireOp(t, err, client.StagePrepare, false)
			_, err = c.RemoveWorkers(ctx, n)
			require.ErrorIs(t, err, client.ErrInvalidArgument)
		}
		status, err := c.Status(ctx)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, len(status.Workers), 2)
	})
}

// TestClientManageLimits: gunicorn may do less than it is asked for, and needs 0.1 s
// for each worker. Package client tests that the deadline grows with their number.
func TestClientManageLimits(t *testing.T) {
	eachFresh(t, options{Apps: []string{app + ":1"}}, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		scaled, err := c.AddWorkers(ctx, 2)
		require.NoError(t, err)
		assert.Zero(t, scaled.Changed)
		assert.NotEmpty(t, scaled.Reason)
		scaled, err = c.RemoveWorkers(ctx, 5)
		require.NoError(t, err)
		assert.Zero(t, scaled.Changed, "the last one stays")
	})
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		scaled, err := c.AddWorkers(ctx, 7) // 0.7 s
		require.NoError(t, err)
		assert.Equal(t, 7, scaled.Changed)
	})
}

// TestClientWaitReady waits from before there is a server until each app serves. When
// all workers have booted, calls succeed. Before that, the arbiter sends some calls to
// workers that do not listen yet.
func TestClientWaitReady(t *testing.T) {
	const slow = "otherapps:Slow"
	eachPython(t, func(t *testing.T, p python) {
		g := newGunicorn(t, p, options{Workers: 2, Apps: []string{app, slow + ":1"}, NotReady: true})
		t.Cleanup(g.stop)
		c, ctx := g.client(t), t.Context()
		wait := func(apps ...string) chan error {
			done := make(chan error, 1)
			go func() { done <- c.WaitReady(ctx, apps...) }()
			return done
		}
		short := g.client(t, client.WithTimeout(time.Second))
		err := short.WaitReady(ctx)
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.ErrorIs(t, err, client.ErrTimeout)
		require.ErrorIs(t, err, os.ErrNotExist)

		any, both := wait(), wait(app, slow)
		g.start(t)
		require.NoError(t, <-any)
		require.NoError(t, c.WaitReady(ctx, app))
		err = short.WaitReady(ctx, app, slow)
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.ErrorIs(t, err, client.ErrTimeout)
		assert.ErrorContains(t, err, slow)
		status, err := c.Status(ctx)
		require.NoError(t, err)
		assert.Zero(t, status.Serving(slow))
		assert.Equal(t, 1, status.Serving(app))

		require.NoError(t, os.WriteFile(filepath.Join(g.folder, "go"), nil, 0o600))
		require.NoError(t, <-both)
		got, err := c.Execute(ctx, slow, "identity", "at once")
		require.NoError(t, err)
		assert.Equal(t, "at once", got)
	})
}
