//go:build unix

package interop

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// TestClientFaultWorkerCannotStart: an app fails in its init. gunicorn starts
// hundreds of workers a second, loses the calls and says nothing. The client can say
// what is wrong. All releases do the same and it is a heavy load, so that only the
// newest one is tested.
func TestClientFaultWorkerCannotStart(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		g := fresh(t, p, options{Apps: []string{app, "otherapps:Fussy"}})
		c := g.client(t, client.WithTimeout(time.Second))
		long := newLongContext(t)
		require.NoError(t, c.WaitReady(long, app, "otherapps:Fussy"))
		refuse := filepath.Join(g.folder, "refuse")
		require.NoError(t, os.WriteFile(refuse, nil, 0o600))
		g.signal(t, g.workerPIDs(t)[0], syscall.SIGKILL)

		until(t, "there are new workers", func() bool {
			status, err := c.Status(long)
			require.NoError(t, err)
			return len(status.Workers) > 0 && status.Workers[0].Age > 3 && status.Serving("") == 0
		})
		_, err := c.Execute(t.Context(), app, "hold", t.Name(), 0)
		lost := requireLostOrWorkerError(t, err)
		assert.Zero(t, g.events.count("begin "+t.Name()))

		until(t, "the client knows why", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			ready := c.WaitReady(ctx, app)
			require.ErrorIs(t, ready, client.ErrUnavailable)
			require.ErrorIs(t, ready, context.DeadlineExceeded)
			return strings.Contains(ready.Error(), "crash")
		})

		require.NoError(t, os.Remove(refuse))
		cured := time.Now()
		recovered := awaitService(t, c, cured)
		require.NoError(t, c.WaitReady(long, app))
		requireServes(t, c)
		t.Logf("the call was lost: %v", lost)
		report(t, "workers cannot start (back: after the app's init does not fail any more)", describeOutcome(err), recovered)
	})
}

// TestClientFaultStartsAnew: gunicorn is gone for a while.
func TestClientFaultStartsAnew(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		requireServes(t, c)
		until(t, "gunicorn serves HTTP", g.servesHTTP)
		g.stopGracefully(t)
		_, err := c.Execute(t.Context(), app, "pid")
		require.Error(t, err)
		requireMayHappen(t, err) // an arbiter that the master has killed may die just now
		waiting := make(chan error, 1)
		waiter := g.client(t, client.WithWaitForServer(maxWait), client.WithTimeout(maxWait))
		go func() {
			_, err := waiter.Execute(t.Context(), app, "pid")
			waiting <- err
		}()
		until(t, "a call waits", func() bool { return waiter.Stats().BacklogFull > 0 })
		begin := time.Now()
		g.start(t)
		if err := <-waiting; err != nil {
			// The call may come before the first worker.
			require.True(t, client.SafeToRetry(err), "%v", err)
		}
		recovered := awaitService(t, c, begin)
		requireServes(t, c)
		report(t, "gunicorn is stopped and started (back: after its start)", describeOutcome(err), recovered)
	})
}
