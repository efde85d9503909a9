//go:build unix

package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// tally counts how calls end. It keeps the wrong answers.
type tally struct {
	calls, right, mixedUp, lost, remote atomic.Uint64

	mu    sync.Mutex
	wrong []string
}

// add judges what a call with a value of its own got.
func (n *tally) add(want, got any, err error) {
	n.calls.Add(1)
	var remote *dirty.RemoteError
	switch {
	case err == nil && got == want:
		n.right.Add(1)
	case err == nil:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.wrong = append(n.wrong, fmt.Sprintf("%v got %v", want, got))
	case errors.Is(err, client.ErrIDMismatch):
		n.mixedUp.Add(1)
	case errors.As(err, &remote):
		n.remote.Add(1)
	default:
		n.lost.Add(1)
	}
}

// call makes one call or stream with a value of its own and judges it.
func (n *tally) call(ctx context.Context, c *client.Client, own string, i int) {
	if i%10 != 0 {
		got, err := client.Call[string](ctx, c, app, "late", own, 0)
		n.add(own, got, err)
		return
	}
	chunks := 0
	for chunk, err := range client.StreamOf[[]any](ctx, c, app, "numbered", own, 3) {
		if err != nil {
			n.add(own, nil, err)
			return
		}
		if !slices.Equal(chunk, []any{own, int64(chunks)}) {
			n.add(own, chunk, nil)
			return
		}
		chunks++
	}
	if chunks == 3 {
		n.add(own, own, nil)
	} else {
		n.add(own, chunks, nil)
	}
}

// TestClientFaultCrossTalk makes thousands of calls and streams beside some that
// exceed dirty_timeout. gunicorn up to 26.0 sends the late answers of those to other
// calls. No call may get the value of another. Some callers leave early: that makes
// gunicorn recover for a while.
func TestClientFaultCrossTalk(t *testing.T) {
	onLinux(t)
	t.Parallel()
	const rounds, callers, calls = 3, 12, 150
	const late = shortDirtyTimeout + 0.2 // seconds
	eachFresh(t, options{Workers: 3, Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(10*time.Second))
		g.awaitWorkers(t, 3)
		var n tally
		for round := range rounds {
			var group sync.WaitGroup
			group.Go(func() {
				own := fmt.Sprintf("late call %d", round)
				got, err := client.Call[string](t.Context(), c, app, "late", own, late)
				n.add(own, got, err)
			})
			group.Go(func() {
				own := fmt.Sprintf("late stream %d", round)
				for chunk, err := range c.Stream(t.Context(), app, "late_chunk", own, late) {
					n.add(own, chunk, err)
				}
			})
			for i := range callers {
				group.Go(func() {
					for j := range calls {
						ctx, leave := t.Context(), func() {}
						if j%25 == 24 {
							ctx, leave = context.WithTimeout(ctx, rand.N(2*time.Millisecond))
						}
						n.call(ctx, c, fmt.Sprintf("%d/%d/%d", round, i, j), j)
						leave()
					}
				})
			}
			group.Wait()
		}
		t.Logf("%d calls: %d right, %d mixed up, %d with gunicorn's error, %d left or lost",
			n.calls.Load(), n.right.Load(), n.mixedUp.Load(), n.remote.Load(), n.lost.Load())
		assert.Empty(t, n.wrong)
		assert.GreaterOrEqual(t, n.calls.Load(), uint64(rounds*callers*calls))
		assert.NotZero(t, n.right.Load())
		assert.NotZero(t, n.remote.Load(), "dirty_timeout passed")
		awaitCalm(t, c)
		mismatches := c.Stats().Mismatches
		if g.mixesUp() {
			assert.NotZero(t, mismatches)
			assert.GreaterOrEqual(t, mismatches, n.mixedUp.Load())
			report(t, "calls beside some that exceed dirty_timeout, gunicorn up to 26.0 (back: after kill -9 of the workers)",
				describeOutcome(&client.OpError{Stage: client.StageRead, Sent: true, Err: client.ErrIDMismatch}), g.killWorkers(t, c))
		} else {
			assert.Zero(t, mismatches)
			assert.Zero(t, n.mixedUp.Load())
		}
		requireServes(t, c)
	})
}

// killWorkers replaces all workers, and returns how long that took.
func (g *gunicorn) killWorkers(t *testing.T, c *client.Client) time.Duration {
	t.Helper()
	pids := g.workerPIDs(t)
	fault := time.Now()
	for _, pid := range pids {
		g.signal(t, pid, syscall.SIGKILL)
	}
	g.awaitWorkers(t, len(pids), pids...)
	return awaitService(t, c, fault)
}

// TestClientFaultTwoErrors: a generator yields a value that cannot be encoded, and
// then its cleanup raises. Every release sends two errors for that request. It takes
// the second one for the answer to the next request, and so on, until the connection
// to the worker ends.
func TestClientFaultTwoErrors(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		_, err := collect(c.Stream(t.Context(), app, "two_errors"))
		requireRemote(t, dirty.ErrApp, err)
		for i := range 20 {
			_, err := client.Call[int](t.Context(), c, app, "identity", i)
			requireMismatch(t, err)
		}
		assert.Equal(t, uint64(20), c.Stats().Mismatches)
		require.NoError(t, c.Ping(t.Context()), "the arbiter's own answers are right")
		recovered := g.killWorkers(t, c)
		requireServes(t, c)
		report(t, "an action that makes gunicorn send two errors (back: after kill -9 of the worker)", describeOutcome(err), recovered)
	})
}
