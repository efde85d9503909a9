//go:build unix

package interop

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// An arbiter may be stopped by SIGSTOP, or busy with a large message. Then its
// backlog takes 100 connections. Each further dial gets EAGAIN at once. Go calls that
// a timeout; the client must not.

// parallelCalls starts n calls at the same time, each with a value of its own. The
// function that it returns waits for all and returns their errors.
func parallelCalls(t *testing.T, c *client.Client, n int) (wait func() []error) {
	t.Helper()
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			got, err := client.Call[int](t.Context(), c, app, "identity", i)
			if err == nil && got != i {
				err = errors.New("the answer of another call")
			}
			errs[i] = err
		})
	}
	return func() []error {
		group.Wait()
		return errs
	}
}

// TestClientFaultArbiterStopped: 150 parallel dials of an arbiter that is
// stopped for a while all succeed when it runs again.
func TestClientFaultArbiterStopped(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithMaxConns(200), client.WithMaxDials(150),
			client.WithDialTimeout(maxWait), client.WithTimeout(maxWait))
		arbiter := g.arbiterPID(t)
		g.signal(t, arbiter, syscall.SIGSTOP)
		wait := parallelCalls(t, c, 150)
		until(t, "the backlog is full", func() bool {
			s := c.Stats()
			return s.InUse > 90 && s.Dialing > 30 && s.InUse+s.Dialing >= 150 && s.BacklogFull > 100
		})
		fault := g.signal(t, arbiter, syscall.SIGCONT)
		for _, err := range wait() {
			require.NoError(t, err)
		}
		recovered := time.Since(fault)
		s := c.Stats()
		assert.Zero(t, s.DialErrors)
		assert.Zero(t, s.Closed.Timeout)
		report(t, "SIGSTOP of the arbiter, 150 parallel dials, SIGCONT", describeOutcome(nil), recovered)
	})
}

// TestClientFaultArbiterStaysStopped: the calls that were sent time out. The others
// found the backlog full, and their error says so and is no timeout. Only the kernel
// answers here, so one release is enough.
func TestClientFaultArbiterStaysStopped(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		g := fresh(t, p, options{})
		c := g.client(t, client.WithMaxConns(200), client.WithMaxDials(150),
			client.WithDialTimeout(2*time.Second), client.WithTimeout(5*time.Second))
		arbiter := g.arbiterPID(t)
		g.signal(t, arbiter, syscall.SIGSTOP)
		var sent, unsent error
		n := 0
		for _, err := range parallelCalls(t, c, 150)() {
			require.Error(t, err)
			if errors.Is(err, client.ErrTimeout) {
				requireTimedOut(t, err)
				sent = err
				n++
				continue
			}
			requireUnavailable(t, err)
			require.ErrorIs(t, err, syscall.EAGAIN)
			unsent = err
		}
		assert.Greater(t, n, 90, "the backlog holds about 100")
		require.Less(t, n, 150)
		fault := g.signal(t, arbiter, syscall.SIGCONT)
		recovered := awaitService(t, c, fault)
		requireServes(t, c)
		report(t, "SIGSTOP of the arbiter, calls with a place in its backlog", describeOutcome(sent), recovered)
		report(t, "SIGSTOP of the arbiter, dials beyond its backlog", describeOutcome(unsent), recovered)
	})
}
