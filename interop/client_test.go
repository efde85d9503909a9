//go:build unix

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// client returns a client of this server. When the test ends, the client is closed
// and must not hold any connection.
func (g *gunicorn) client(t testing.TB, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(append([]client.Option{client.WithSocket(g.socket)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		awaitCalm(t, c)
		assert.Zero(t, c.Stats().Idle)
	})
	return c
}

// hold makes a call in the background. Its action takes so many seconds, and tells
// the tests when it begins and ends.
func (g *gunicorn) hold(ctx context.Context, c *client.Client, token string, seconds float64) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Execute(ctx, app, "hold", token, seconds)
		done <- err
	}()
	return done
}

// awaitCalm waits until no call has a connection or waits for one.
func awaitCalm(t testing.TB, c *client.Client) {
	t.Helper()
	until(t, "the client is calm", func() bool {
		s := c.Stats()
		return s.InUse+s.Dialing+s.Closing+s.Waiting == 0
	})
}

// requireServes makes some calls, and checks that each gets its own answer.
func requireServes(t *testing.T, c *client.Client) {
	t.Helper()
	ctx := newLongContext(t)
	for i := range 20 {
		got, err := client.Call[int](ctx, c, app, "identity", i)
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
}

// requireOp checks that err is the failure of a call at a stage.
func requireOp(t *testing.T, err error, stage client.Stage, sent bool) {
	t.Helper()
	var op *client.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, stage, op.Stage, "%v", err)
	require.Equal(t, sent, op.Sent, "%v", err)
}

// requireRemote checks that err is what the peer answered.
func requireRemote(t *testing.T, kind, err error) *dirty.RemoteError {
	t.Helper()
	requireKind(t, kind, err)
	requireOp(t, err, client.StageRead, true)
	require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
	var remote *dirty.RemoteError
	require.ErrorAs(t, err, &remote)
	return remote
}

const (
	// maxWait ends a wait for what never comes. Nothing else takes that long, however
	// busy the machine is.
	maxWait = 2 * time.Minute

	// within bounds what takes no time on a machine that is not busy.
	within = time.Minute
)

// newLongContext returns a context for calls that must succeed. Its deadline takes the
// place of the client's timeout, which may be short.
func newLongContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	t.Cleanup(cancel)
	return ctx
}
