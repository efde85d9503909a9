//go:build unix

package interop

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// mixesUp reports whether this release sends answers to the wrong calls after an
// action has exceeded dirty_timeout: it takes the late answer for the answer to the
// next request of that worker, and so on. Releases from 26.1 on do not.
func (p python) mixesUp() bool { return p.release < "26.1" }

// upTo260 is added to the names of faults from which these releases do not recover
// by themselves. The client refuses each answer of the worker until that is killed.
const upTo260 = ", gunicorn up to 26.0 (then ErrIDMismatch; back: after kill -9 of the worker)"

// requireMismatch checks the error of a call that got the answer to another call.
func requireMismatch(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, client.ErrIDMismatch)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	requireOp(t, err, client.StageRead, true)
	require.False(t, client.SafeToRetry(err))
}

// TestClientFaultTimeout: dirty_timeout passes in a call. The action runs on and
// holds its worker.
func TestClientFaultTimeout(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		_, err := c.Execute(t.Context(), app, "hold", t.Name(), shortDirtyTimeout+0.5)
		fault := time.Now()
		remote := requireRemote(t, dirty.ErrPeerTimeout, err)
		assert.False(t, client.SafeToRetry(err))
		if limit, ok := remote.DirtyTimeout(); ok {
			assert.Equal(t, shortDirtyTimeout*time.Second, limit)
		}
		var op *client.OpError
		require.ErrorAs(t, err, &op)
		assert.True(t, op.Timeout())
		require.NotErrorIs(t, err, client.ErrTimeout, "that is for the client's own")
		g.events.await(t, "end "+t.Name()) // the action runs to its end
		name := "dirty_timeout passes in a call"
		if g.mixesUp() && remote.Type == "DirtyTimeoutError" { // the worker, if it is first, sends nothing late
			for i := range 10 {
				_, err := client.Call[int](t.Context(), c, app, "identity", i)
				requireMismatch(t, err)
			}
			assert.Equal(t, uint64(10), c.Stats().Mismatches)
			name += upTo260
			fault = g.signal(t, g.workerPIDs(t)[0], syscall.SIGKILL)
		}
		recovered := awaitService(t, c, fault)
		requireServes(t, c)
		report(t, name, describeOutcome(err), recovered)
	})
}

// TestClientFaultStreamTimeout: dirty_timeout passes between two chunks.
func TestClientFaultStreamTimeout(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		chunks, err := collect(c.Stream(t.Context(), app, "stall", shortDirtyTimeout+0.5))
		fault := time.Now()
		assert.Equal(t, []any{"before"}, chunks)
		requireRemote(t, dirty.ErrPeerTimeout, err)
		assert.False(t, client.SafeToRetry(err))
		name := "dirty_timeout passes between chunks"
		if g.mixesUp() { // the next call gets the late chunk; then all may be well, or not
			_, err := c.Execute(t.Context(), app, "identity", 1)
			requireMismatch(t, err)
			name += upTo260
			fault = g.signal(t, g.workerPIDs(t)[0], syscall.SIGKILL)
		}
		recovered := awaitService(t, c, fault)
		requireServes(t, c)
		report(t, name, describeOutcome(err), recovered)
	})
}
