//go:build unix

package interop

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// TestClientAppErrors: an action raises an exception, or returns a value that cannot
// be sent.
func TestClientAppErrors(t *testing.T) {
	tests := []struct {
		name, action, argument string
		message, traceback     string
		python                 bool // the message is Python's own
	}{
		{"exception", "fail", "boom", "boom", "ValueError: boom", false},
		{"no message", "fail", "", "", "ValueError", false},
		{"own exception", "fail_own", "tray", "tray", "dirtyapp.OutOfPaper: tray", false},
		{"gunicorn exception", "fail_dirty", "ink", "ink: {'tray': 2}", "dirtyapp.OutOfInk: ink", false},
		{"unknown action", "no_such", "x", "Unknown action: no_such", "ValueError", false},
		{"private action", "_private", "x", "Unknown action: _private", "ValueError", false},
		{"wrong arguments", "die", "x", "takes 1 positional argument", "TypeError", true},
		{"no encoding", "unencodable", "set", "set", "DirtyProtocolError", true},
	}
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		for _, test := range tests {
			_, err := c.Execute(t.Context(), app, test.action, test.argument)
			remote := requireRemote(t, dirty.ErrApp, err)
			if !test.python || !g.differs(t, "Python's messages") {
				assert.Contains(t, remote.Message, test.message, test.name)
			}
			if !g.differs(t, "traceback") {
				assert.Contains(t, remote.Traceback(), test.traceback, test.name)
			}
			assert.NotContains(t, err.Error(), "Traceback", test.name)
			assert.Contains(t, err.Error(), app+"."+test.action, test.name)
			assert.False(t, client.SafeToRetry(err), test.name)

			_, err = client.Call[int](t.Context(), c, app, test.action, test.argument)
			requireRemote(t, dirty.ErrApp, err)
		}
		s := c.Stats()
		assert.Equal(t, uint64(1), s.Dials, "an error leaves the connection usable")
		assert.Zero(t, s.Retries)
	})
}

func TestClientUnknownApp(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		_, err := c.Execute(t.Context(), "nowhere:App", "echo")
		remote := requireRemote(t, dirty.ErrNoWorkers, err)
		assert.Equal(t, "nowhere:App", remote.AppPath())
		assert.True(t, client.SafeToRetry(err))

		for _, err := range c.Stream(t.Context(), "nowhere:App", "echo") {
			requireRemote(t, dirty.ErrNoWorkers, err)
		}

		_, err = c.Execute(t.Context(), "", "echo")
		if g.differs(t, "app without a name") {
			requireRemote(t, dirty.ErrNoWorkers, err)
			return
		}
		require.ErrorIs(t, err, dirty.ErrAppNotFound) // any worker gets it, and does not know it
	})
}

// TestClientWorkerDies: gunicorn may lose the request of a worker that dies, on
// Python 3.12 and later up to half of them. Then only the client's own timeout ends
// the call. Otherwise its error is a dirty.ErrWorker.
func TestClientWorkerDies(t *testing.T) {
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(lostAfter))
		worker := g.awaitWorkers(t, 1)[0]
		var told error
		for range 10 {
			_, err := c.Execute(t.Context(), app, "die")
			require.Error(t, err)
			assert.False(t, client.SafeToRetry(err), "%v", err)
			if !errors.Is(err, client.ErrTimeout) {
				told = err
				break
			}
			requireTimedOut(t, err)
			worker = g.awaitWorkers(t, 1, worker)[0] // a call before that may meet the dying one
		}
		if told != nil {
			remote := requireRemote(t, dirty.ErrWorker, told)
			_, ok := remote.WorkerID()
			assert.True(t, ok)
		}
		awaitService(t, c, time.Now())
		requireServes(t, c)
	})
}
