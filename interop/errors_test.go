//go:build unix

package interop

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

var kinds = []error{
	dirty.ErrPeerTimeout, dirty.ErrPeerConnection, dirty.ErrWorker, dirty.ErrApp, dirty.ErrAppNotFound,
	dirty.ErrNoWorkers, dirty.ErrPeerProtocol, dirty.ErrKeyNotFound, dirty.ErrTableNotFound,
}

// requireKind checks that err is of this kind and of no other.
func requireKind(t *testing.T, want, err error) {
	t.Helper()
	require.Error(t, err)
	for _, kind := range kinds {
		require.Equal(t, kind == want, errors.Is(err, kind), "%v is %v", err, kind)
	}
}

func TestAppErrors(t *testing.T) {
	tests := []struct {
		name, action, argument string
		message, traceback     string
	}{
		{"exception", "fail", "boom", "boom", "ValueError: boom"},
		{"no message", "fail", "", "", "ValueError"},
		{"wide message", "fail", "水\n2", "水\n2", "ValueError: 水\n2"},
		{"own exception", "fail_own", "tray", "tray", "dirtyapp.OutOfPaper: tray"},
		{"gunicorn exception", "fail_dirty", "ink", "ink: {'tray': 2}", "dirtyapp.OutOfInk: ink"},
		{"unknown action", "no_such", "x", "Unknown action: no_such", "ValueError"},
		{"private action", "_private", "x", "Unknown action: _private", "ValueError"},
		{"wrong arguments", "die", "x", "takes 1 positional argument", "TypeError"},
		{"no encoding", "unencodable", "set", "set", "DirtyProtocolError"},
		{"no encoding of the class", "unencodable", "object", "object", "DirtyProtocolError"},
		{"int overflow", "unencodable", "int_overflow", "", "struct.error"},
		{"lone surrogate", "unencodable", "surrogate", "surrogates not allowed", "UnicodeEncodeError"},
		{"list too large", "unencodable", "long_list", "1048577", "DirtyProtocolError"},
	}
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t) // one connection: an error leaves it usable
		for _, test := range tests {
			remote := p.fail(test.action, test.argument)
			requireKind(t, dirty.ErrApp, remote)
			assert.Contains(t, remote.Message, test.message, test.name)
			assert.Contains(t, remote.Traceback(), test.traceback, test.name)
			assert.Equal(t, app, remote.AppPath(), test.name)
			assert.Equal(t, test.action, remote.Action(), test.name)
		}
	})
}

func TestUnknownApp(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		_, err := p.send(dirty.NewRequest(p.nextID(), "nowhere:App", "echo", nil, nil))
		requireKind(t, dirty.ErrNoWorkers, err)
		var remote *dirty.RemoteError
		require.ErrorAs(t, err, &remote)
		assert.Equal(t, "nowhere:App", remote.AppPath())

		// Without an app the arbiter asks any worker, which knows no app of that name.
		_, err = p.send(dirty.NewRequest(p.nextID(), "", "echo", nil, nil))
		require.ErrorIs(t, err, dirty.ErrAppNotFound)
		require.ErrorIs(t, err, dirty.ErrApp)
	})
}

// TestWrongMessageType: the arbiter passes messages that only an arbiter sends to a
// worker, which complains.
func TestWrongMessageType(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for _, m := range []dirty.Message{
			dirty.NewResponse(p.nextID(), 1), dirty.NewErrorReply(p.nextID(), dirty.ErrApp),
			dirty.NewChunk(p.nextID(), 1), dirty.NewEnd(p.nextID()),
		} {
			_, err := p.send(m)
			requireKind(t, dirty.ErrWorker, err)
			assert.ErrorContains(t, err, "Unknown message type: "+m.Type().String())
		}
	})
}

// The tests of timeouts have servers of their own, because with gunicorn up to 26.0
// the next requests get the late answers.

// TestTimeout: the arbiter and the worker each measure dirty_timeout. Either may be
// the first to report it.
func TestTimeout(t *testing.T) {
	eachFresh(t, options{Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		remote := g.dial(t).fail("sleep", shortDirtyTimeout+0.5)
		requireKind(t, dirty.ErrPeerTimeout, remote)
		assert.True(t, remote.Timeout())
		if limit, ok := remote.DirtyTimeout(); ok {
			assert.Equal(t, shortDirtyTimeout*time.Second, limit)
		} else {
			assert.Contains(t, remote.Message, "timed out: {'timeout': 2}")
		}
	})
}

// TestStreamTimeout: between chunks only the arbiter measures dirty_timeout.
func TestStreamTimeout(t *testing.T) {
	eachFresh(t, options{Timeout: shortDirtyTimeout}, func(t *testing.T, g *gunicorn) {
		chunks, err := g.dial(t).stream("stall", shortDirtyTimeout+0.5)
		requireKind(t, dirty.ErrPeerTimeout, err)
		assert.Equal(t, []any{"before"}, chunks)
		var remote *dirty.RemoteError
		require.ErrorAs(t, err, &remote)
		limit, ok := remote.DirtyTimeout()
		assert.True(t, ok)
		assert.Equal(t, shortDirtyTimeout*time.Second, limit)
	})
}

// TestWorkerDeath: the arbiter may lose the request of a worker that dies, so that no
// answer ever comes. Then the test asks again.
func TestWorkerDeath(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		before := g.dial(t).call("pid")
		var err error
		for range 20 {
			p := g.dial(t)
			require.NoError(t, p.SetReadDeadline(time.Now().Add(3*time.Second)))
			if _, err = p.try("die"); !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
		}
		requireKind(t, dirty.ErrWorker, err)
		var remote *dirty.RemoteError
		require.ErrorAs(t, err, &remote)
		_, ok := remote.WorkerID()
		assert.True(t, ok)
		assert.NotEqual(t, before, g.pidOfLivingWorker(t))
	})
}

// pidOfLivingWorker waits until a worker answers. Requests to a dying one fail or are
// lost.
func (g *gunicorn) pidOfLivingWorker(t *testing.T) any {
	t.Helper()
	for range 20 {
		p := g.dial(t)
		require.NoError(t, p.SetReadDeadline(time.Now().Add(3*time.Second)))
		if pid, err := p.try("pid"); err == nil {
			return pid
		}
	}
	require.Fail(t, "no worker answers")
	return nil
}
