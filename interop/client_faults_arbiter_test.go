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

// lostByArbiterAfter bounds calls that are made one after the other until a new
// arbiter answers. One that is lost must not hold up the next for long.
const lostByArbiterAfter = 2 * time.Second

// endsOfArbiter are the ways by which an arbiter ends.
var endsOfArbiter = map[string]syscall.Signal{"kill -9": syscall.SIGKILL, "SIGTERM": syscall.SIGTERM}

// TestClientFaultArbiterCalls: the arbiter ends while two calls run, one on a
// connection that is older than a worker and one on a younger connection.
func TestClientFaultArbiterCalls(t *testing.T) {
	onLinux(t)
	t.Parallel()
	for name, signal := range endsOfArbiter {
		t.Run(name, func(t *testing.T) {
			eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
				// On Python 3.12 and later a graceful stop waits for calls that run.
				p := newPooled(t, g, client.WithTimeout(maxWait))
				type outcome struct {
					err error
					at  time.Time
				}
				call := func(action, token string) chan outcome {
					done := make(chan outcome, 1)
					go func() {
						_, err := p.Execute(t.Context(), app, action, token, 3)
						done <- outcome{err, time.Now()}
					}()
					g.events.await(t, "begin "+token)
					return done
				}
				older := call("hold", t.Name()+"/older")
				younger := call("hold_too", t.Name()+"/younger")
				require.True(t, p.reused.of("hold"), "on the connection that was there")
				require.False(t, p.reused.of("hold_too"), "on a new connection")

				fault := g.signal(t, g.arbiterPID(t), signal)
				recovered := awaitService(t, g.client(t), fault)
				for age, done := range map[string]chan outcome{"older": older, "younger": younger} {
					o := <-done
					if o.err == nil {
						require.Equal(t, syscall.SIGTERM, signal)
					} else {
						requireOutcomeUnknown(t, o.err)
						require.NotErrorIs(t, o.err, client.ErrTimeout, "it is noticed: %s", age)
					}
					report(t, name+" of the arbiter, a running call on a connection "+age+" than a worker",
						describeOutcome(o.err)+" "+describeDelay(o.at.Sub(fault)), recovered)
				}
				g.requireRecovered(t, p.Client)
			})
		})
	}
}

// TestClientFaultArbiterKilled: kill -9 of the arbiter, while a caller with several
// connections in the pool makes one call after the other.
func TestClientFaultArbiterKilled(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
		p := newPooled(t, g, client.WithTimeout(lostByArbiterAfter))
		p.fill(t, 3)
		arbiter := g.arbiterPID(t)
		fault := g.signal(t, arbiter, syscall.SIGKILL)
		sees, recovered, ok := callUntilAnswered(t, p.Client, arbiter, fault, maxWait)
		require.True(t, ok, "no arbiter came: %s", sees)
		g.requireRecovered(t, p.Client)
		report(t, "kill -9 of the arbiter, the next calls", sees, recovered)
	})
}

// TestClientFaultArbiterTerminated: SIGTERM of the arbiter while nobody calls. On
// Python 3.12 and later it waits until the connections in the pool are closed. The
// client closes them after their idle time; otherwise it would wait for ever.
func TestClientFaultArbiterTerminated(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
		p := newPooled(t, g, client.WithWaitForServer(maxWait))
		p.fill(t, 3)
		fault := g.terminate(t, g.arbiterPID(t))
		recovered, err := callOnce(t, p.Client, fault)
		g.requireRecovered(t, p.Client)
		report(t, "SIGTERM of the arbiter while nobody calls", describeOutcome(err), recovered)
	})
}

// TestClientFaultArbiterTerminatedBusy: SIGTERM of the arbiter while a caller makes
// one call after the other. On Python 3.12 and later the arbiter may lose a call that
// comes while it ends. Then it waits for ever, and only kill -9 helps.
func TestClientFaultArbiterTerminatedBusy(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
		p := newPooled(t, g, client.WithTimeout(lostByArbiterAfter))
		p.fill(t, 3)
		arbiter := g.arbiterPID(t)
		fault := g.signal(t, arbiter, syscall.SIGTERM)
		longest := maxWait
		if g.drains() {
			longest = 6 * time.Second // more than it takes without a lost call
		}
		sees, recovered, ok := callUntilAnswered(t, p.Client, arbiter, fault, longest)
		name := "SIGTERM of the arbiter, the next calls"
		if !ok {
			require.True(t, g.drains(), "no arbiter came: %s", sees)
			if !isDead(arbiter) { // else the machine is slow
				name += ", if it never ends (back: after kill -9)"
				fault = g.signal(t, arbiter, syscall.SIGKILL)
			}
			_, recovered, ok = callUntilAnswered(t, p.Client, arbiter, fault, maxWait)
			require.True(t, ok)
		}
		g.requireRecovered(t, p.Client)
		report(t, name, sees, recovered)
	})
}

// TestClientFaultArbiterPIDFile is TestClientFaultArbiterKilled without the hook:
// each arbiter has another socket, and the client finds it by the pid file.
func TestClientFaultArbiterPIDFile(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2, OwnPath: true}, func(t *testing.T, g *gunicorn) {
		p := newPooled(t, g, client.WithTimeout(lostByArbiterAfter), client.WithResolver(client.FromPIDFile(g.pidFile())))
		p.fill(t, 3)
		old, arbiter := g.address(), g.arbiterPID(t)
		fault := g.signal(t, arbiter, syscall.SIGKILL)
		sees, recovered, ok := callUntilAnswered(t, p.Client, arbiter, fault, maxWait)
		require.True(t, ok, "no arbiter came: %s", sees)
		g.requireRecovered(t, p.Client)
		report(t, "kill -9 of the arbiter, found by its pid file", sees, recovered)

		// The old path still accepts, but is known to be stale.
		_, err := g.client(t, client.WithSocket(old)).Execute(t.Context(), app, "pid")
		requireUnavailable(t, err)
		assert.ErrorContains(t, err, "is dead")

		arbiter = g.arbiterPID(t)
		g.terminate(t, arbiter)
		_, _, ok = callUntilAnswered(t, p.Client, arbiter, fault, maxWait)
		require.True(t, ok)
	})
}

// TestClientFaultArbiterWaits: with WithWaitForServer, a call that begins when the
// arbiter is dead waits for the next one and succeeds.
func TestClientFaultArbiterWaits(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
		// A busy machine may take longer than the usual idle time until the arbiter is dead.
		p := newPooled(t, g, client.WithWaitForServer(maxWait), client.WithMaxIdle(client.DefaultMaxIdle, maxWait))
		p.fill(t, 3)
		arbiter := g.arbiterPID(t)
		fault := g.signal(t, arbiter, syscall.SIGKILL)
		until(t, "the arbiter is dead", func() bool { return isDead(arbiter) })
		recovered, err := callOnce(t, p.Client, fault)
		report(t, "kill -9 of the arbiter, the next call, WithWaitForServer", describeOutcome(err), recovered)
		g.requireRecovered(t, p.Client)
		assert.NotZero(t, p.Stats().Closed.Dead)
	})
}

// TestClientFaultStashIsLost: the arbiter holds the stash. A new arbiter has an empty
// one, so the tables have to be made again.
func TestClientFaultStashIsLost(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachFresh(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) {
		p := newPooled(t, g, client.WithWaitForServer(maxWait))
		s := p.Stash("table")
		require.NoError(t, s.Put(t.Context(), "key", 1))
		fault := g.signal(t, g.arbiterPID(t), syscall.SIGKILL)
		awaitService(t, p.Client, fault)
		_, err := s.Get(t.Context(), "key")
		requireRemote(t, dirty.ErrKeyNotFound, err)
		require.NoError(t, s.Put(t.Context(), "key", 2))
		got, err := client.StashGet[int](t.Context(), s, "key")
		require.NoError(t, err)
		assert.Equal(t, 2, got)
	})
}
