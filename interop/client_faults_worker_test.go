//go:build unix

package interop

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// lostAfter is the timeout of calls whose worker dies. gunicorn loses some of these
// calls, on Python 3.12 and later up to half: no answer ever comes, and only the
// client's timeout ends them. So each test here accepts that or gunicorn's error.
const lostAfter = 5 * time.Second

// requireLostOrWorkerError checks the error of a call whose worker died after the
// request was sent, and reports whether the call was lost.
func requireLostOrWorkerError(t *testing.T, err error) (lost bool) {
	t.Helper()
	if errors.Is(err, client.ErrTimeout) {
		requireTimedOut(t, err)
		return true
	}
	requireRemote(t, dirty.ErrWorker, err)
	return false
}

// TestClientFaultBusyWorkerKilled: kill -9 while an action runs.
func TestClientFaultBusyWorkerKilled(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(lostAfter))
		requireServes(t, c)
		worker := g.workerPIDs(t)[0]
		done := g.hold(t.Context(), c, t.Name(), 60)
		g.events.await(t, "begin "+t.Name())
		fault := g.signal(t, worker, syscall.SIGKILL)
		recovered := awaitService(t, g.client(t), fault)
		err := <-done
		requireLostOrWorkerError(t, err)
		assert.False(t, client.SafeToRetry(err), "the action had begun")
		requireServes(t, c)
		report(t, "kill -9 of a busy worker", describeOutcome(err), recovered)
	})
}

// TestClientFaultIdleWorkerKilled: kill -9 of an idle worker. The first call after
// it may still meet the dying worker.
func TestClientFaultIdleWorkerKilled(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(lostAfter))
		requireServes(t, c)
		worker := g.workerPIDs(t)[0]
		fault := g.signal(t, worker, syscall.SIGKILL)
		done := g.hold(t.Context(), c, t.Name(), 0)
		recovered := awaitService(t, g.client(t), fault)
		err := <-done
		if err != nil && !requireLostOrWorkerError(t, err) && client.SafeToRetry(err) {
			assert.Zero(t, g.events.count("begin "+t.Name()), "it is safe to retry: %v", err)
		}
		requireServes(t, c)
		report(t, "kill -9 of an idle worker, the next call", describeOutcome(err), recovered)
	})
}

// TestClientFaultQueued: kill -9 of a worker for which a call waits in the arbiter.
func TestClientFaultQueued(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(lostAfter))
		requireServes(t, c)
		worker := g.workerPIDs(t)[0]
		first := g.hold(t.Context(), c, t.Name()+"/first", 60)
		g.events.await(t, "begin "+t.Name()+"/first")
		queued := g.hold(t.Context(), c, t.Name()+"/queued", 0)
		until(t, "both calls have connections", func() bool { return c.Stats().InUse == 2 })
		require.NoError(t, c.Ping(t.Context())) // the arbiter has read the second by now, most likely
		fault := g.signal(t, worker, syscall.SIGKILL)
		recovered := awaitService(t, g.client(t), fault)
		requireLostOrWorkerError(t, <-first)
		err := <-queued
		if err != nil && !requireLostOrWorkerError(t, err) && client.SafeToRetry(err) { // nil: it came late
			assert.Zero(t, g.events.count("begin "+t.Name()+"/queued"), "it is safe to retry: %v", err)
		}
		requireServes(t, c)
		report(t, "kill -9 of a busy worker, a call queued behind it", describeOutcome(err), recovered)
	})
}

// TestClientFaultMidStream: kill -9 between chunks. The stream must end with an
// error, and not as if it were complete.
func TestClientFaultMidStream(t *testing.T) {
	onLinux(t)
	t.Parallel()
	for action, name := range map[string]string{"ticks": "sync", "ticks_async": "async"} {
		t.Run(name, func(t *testing.T) {
			eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
				c := g.client(t, client.WithTimeout(lostAfter), client.WithStreamTimeout(lostAfter))
				requireServes(t, c)
				worker := g.workerPIDs(t)[0]
				var fault time.Time
				var recovered time.Duration
				var err error
				want := 0
				for tick, e := range client.StreamOf[int](t.Context(), c, app, action, t.Name(), 0.002) {
					if err = e; err != nil {
						break
					}
					require.Equal(t, want, tick)
					want++
					if tick == 3 {
						fault = g.signal(t, worker, syscall.SIGKILL)
						recovered = awaitService(t, g.client(t), fault)
					}
				}
				require.Error(t, err, "the stream ended")
				requireLostOrWorkerError(t, err)
				assert.False(t, client.SafeToRetry(err))
				requireServes(t, c)
				report(t, "kill -9 of a worker between chunks", describeOutcome(err), recovered)
			})
		})
	}
}

// TestClientFaultWorkerStopped: SIGSTOP of a worker. gunicorn kills it when it has
// not heard its heartbeat for dirty_timeout.
func TestClientFaultWorkerStopped(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(8*time.Second))
		requireServes(t, c)
		worker := g.workerPIDs(t)[0]
		fault := g.signal(t, worker, syscall.SIGSTOP)
		done := g.hold(t.Context(), c, t.Name(), 0)
		recovered := awaitService(t, g.client(t), fault)
		err := <-done
		require.Error(t, err)
		if !errors.Is(err, client.ErrTimeout) {
			require.True(t, errors.Is(err, dirty.ErrPeerTimeout) || errors.Is(err, dirty.ErrWorker), "%v", err)
		}
		requireServes(t, c)
		report(t, "SIGSTOP of a worker (dirty_timeout 2 s)", describeOutcome(err), recovered)
	})
}
