//go:build unix

package interop

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// requireOutcomeUnknown checks the error of a call whose arbiter died.
func requireOutcomeUnknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	requireOp(t, err, client.StageRead, true)
	require.False(t, client.SafeToRetry(err))
}

// requireRecovered checks that calls are answered again when all workers have
// booted. Before that, the arbiter sends some calls to workers that do not listen yet.
func (g *gunicorn) requireRecovered(t *testing.T, c *client.Client) {
	t.Helper()
	g.awaitWorkers(t, g.Workers)
	requireServes(t, c)
}

// terminate stops an arbiter and waits until it has ended.
func (g *gunicorn) terminate(t *testing.T, arbiter int) (fault time.Time) {
	t.Helper()
	fault = g.signal(t, arbiter, syscall.SIGTERM)
	until(t, "the arbiter has ended", func() bool { return isDead(arbiter) })
	return fault
}

// drains reports whether an arbiter on this Python waits for open connections before
// it ends.
func (p python) drains() bool { return p.version >= "3.12" }

// callUntilAnswered makes calls, one after the other, until the successor of
// this arbiter answers or the longest time has passed. It returns what was seen, each
// once, and how long after the fault the answer came.
func callUntilAnswered(t *testing.T, c *client.Client, arbiter int, fault time.Time, longest time.Duration) (sees string, recovered time.Duration, ok bool) {
	t.Helper()
	var seens []string
	for begin := time.Now(); time.Since(begin) < longest; {
		answered, err := client.Call[int](t.Context(), c, app, "parent")
		if err == nil {
			if answered == arbiter {
				continue
			}
			recovered, ok = time.Since(fault), true
			break
		}
		requireMayHappen(t, err)
		if text := describeOutcome(err); !slices.Contains(seens, text) {
			seens = append(seens, text)
		}
		time.Sleep(2 * time.Millisecond) // callers should wait longer
	}
	if seens == nil {
		seens = []string{describeOutcome(nil)}
	}
	return strings.Join(seens, ", "), recovered, ok
}

// requireMayHappen checks the error of a call that is made while an arbiter is being
// replaced.
func requireMayHappen(t *testing.T, err error) {
	t.Helper()
	var remote *dirty.RemoteError
	switch {
	case errors.Is(err, client.ErrUnavailable):
		requireUnavailable(t, err)
	case errors.Is(err, client.ErrPoolTimeout): // its time passed on a busy machine before it was sent
		require.True(t, client.SafeToRetry(err), "nothing ran: %v", err)
	case errors.As(err, &remote): // the new one has no workers yet, or they do not listen
		require.True(t, client.SafeToRetry(err), "nothing ran: %v", err)
	default: // the call was sent before the old one died
		requireOutcomeUnknown(t, err)
	}
}

// requireUnavailable checks the error of a call that found no arbiter.
func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, client.ErrUnavailable)
	require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
	requireOp(t, err, client.StageDial, false)
	require.True(t, client.SafeToRetry(err))
	var op *client.OpError
	require.ErrorAs(t, err, &op)
	require.False(t, op.Timeout(), "%v", err)
}

// callOnce makes one call while an arbiter is being replaced. The new arbiter may
// have a worker that does not listen yet; then it waits for service.
func callOnce(t *testing.T, c *client.Client, fault time.Time) (recovered time.Duration, err error) {
	t.Helper()
	got, err := client.Call[int](newLongContext(t), c, app, "identity", 1)
	recovered = time.Since(fault)
	if err != nil {
		requireMayHappen(t, err)
		require.NotErrorIs(t, err, client.ErrUnavailable)
		return awaitService(t, c, fault), err
	}
	require.Equal(t, 1, got)
	return recovered, nil
}

// describeDelay says roughly how long after a fault something was seen.
func describeDelay(d time.Duration) string {
	switch {
	case d < 200*time.Millisecond:
		return "at once"
	case d < 1500*time.Millisecond:
		return "within 1.5 s"
	}
	return "after more than 1.5 s"
}
