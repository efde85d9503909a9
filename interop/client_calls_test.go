//go:build unix

package interop

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

func TestClientExecute(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		for _, value := range []any{nil, true, int64(-1), 1.5, []byte{0, 255}, "水", []any{[]any{}}, map[string]any{"": nil}} {
			got, err := c.Execute(t.Context(), app, "identity", value)
			require.NoError(t, err)
			assert.Equal(t, value, got)
		}
		got, err := c.Execute(t.Context(), app, "echo")
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"args": []any{}, "kwargs": map[string]any{}}, got)

		got, err = c.Execute(t.Context(), app, "echo", 1, "two", client.Kwargs{"a": nil, "class": []int{3}, "": 1.5})
		require.NoError(t, err)
		assert.Equal(t, map[string]any{
			"args":   []any{int64(1), "two"},
			"kwargs": map[string]any{"a": nil, "class": []any{int64(3)}, "": 1.5},
		}, got)

		got, err = c.Execute(t.Context(), app, "echo", client.Kwargs{})
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"args": []any{}, "kwargs": map[string]any{}}, got)

		_, err = c.Execute(t.Context(), app, "echo", client.Kwargs{"a": 1}, 2)
		require.ErrorIs(t, err, client.ErrInvalidArgument)
		requireOp(t, err, client.StagePrepare, false)

		assert.Equal(t, uint64(1), c.Stats().Dials, "one connection does for calls one after the other")
	})
}

func TestClientKeepsOrder(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		got, err := g.client(t, client.WithDict()).Execute(t.Context(), app, "value", "dict")
		require.NoError(t, err)
		assert.Equal(t, dirty.Dict{{Key: "b", Value: int64(1)}, {Key: "a", Value: dirty.Dict{{Key: "", Value: nil}}}}, got)
	})
}

// parcel has a field of each kind that a struct can have.
type parcel struct {
	Name    string            `dirty:"name"`
	Count   int32             `dirty:"count"`
	Weights []float64         `dirty:"weights"`
	Image   []byte            `dirty:"image"`
	Notes   map[string]string `dirty:"notes"`
	Next    *parcel           `dirty:"next"`
	Empty   string            `dirty:"empty,omitempty"`
}

var aParcel = parcel{
	Name: "水", Count: -3, Weights: []float64{0.5, 1}, Image: []byte{0, 255}, Notes: map[string]string{"a": "b"},
	Next: &parcel{Name: "inner", Weights: []float64{}, Image: []byte{}, Notes: map[string]string{}},
}

func TestClientCallsAreTyped(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		got, err := client.Call[parcel](ctx, c, app, "identity", aParcel)
		require.NoError(t, err)
		assert.Equal(t, aParcel, got)

		echo, err := client.Call[struct {
			Args   []parcel          `dirty:"args"`
			Kwargs map[string]parcel `dirty:"kwargs"`
		}](ctx, c, app, "echo", aParcel, &aParcel, client.Kwargs{"key word": aParcel})
		require.NoError(t, err)
		assert.Equal(t, []parcel{aParcel, aParcel}, echo.Args)
		assert.Equal(t, map[string]parcel{"key word": aParcel}, echo.Kwargs)

		none, err := client.Call[*string](ctx, c, app, "identity", nil)
		require.NoError(t, err)
		assert.Nil(t, none)

		raw, err := client.Call[dirty.RawValue](ctx, c, app, "identity", true)
		require.NoError(t, err)
		assert.Equal(t, dirty.RawValue{0x01, 0x01}, raw)
	})
}

// TestClientLocalErrors: after an error on our side the connection can still be
// used.
func TestClientLocalErrors(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		_, err := client.Call[int](ctx, c, app, "identity", "no number")
		require.ErrorAs(t, err, new(*dirty.UnmarshalTypeError))
		requireOp(t, err, client.StageDecode, true)
		require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
		assert.False(t, client.SafeToRetry(err))

		for kind, argument := range map[error]any{
			dirty.ErrUnsupportedType: make(chan int),
			dirty.ErrInvalidUTF8:     "\xff",
			dirty.ErrOverflow:        uint64(1 << 63),
			dirty.ErrTooDeep:         nested(1000),
			dirty.ErrTooLarge:        make([]struct{}, dirty.MaxElements+1),
		} {
			_, err := c.Execute(ctx, app, "identity", argument)
			require.ErrorIs(t, err, kind)
			requireOp(t, err, client.StagePrepare, false)
			assert.False(t, client.SafeToRetry(err), "%v", kind)
		}
		requireServes(t, c)
		assert.Equal(t, uint64(1), c.Stats().Dials)
	})
}

// TestClientsMix makes calls in parallel. Each gets its own answer.
func TestClientsMix(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithMaxConns(8))
		var group sync.WaitGroup
		for i := range 32 {
			group.Go(func() {
				for j := range 10 {
					got, err := client.Call[[]int](t.Context(), c, app, "identity", []int{i, j})
					assert.NoError(t, err)
					assert.Equal(t, []int{i, j}, got)
				}
			})
		}
		group.Wait()
		s := c.Stats()
		assert.LessOrEqual(t, s.Dials, uint64(8))
		assert.Equal(t, uint64(320), s.Calls)
		assert.Zero(t, s.Mismatches)
	})
}

var errImpatient = errors.New("the user has left")

// TestClientCancel: the caller does not have to wait, and the action runs to its end.
func TestClientCancel(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, own := g.client(t), token(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		done := g.hold(ctx, c, own, 0.5)
		g.events.await(t, "begin "+own)
		cancel(errImpatient)
		err := <-done
		assert.Zero(t, g.events.count("end "+own), "the caller was free before")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errImpatient)
		require.ErrorIs(t, err, client.ErrOutcomeUnknown)
		requireOp(t, err, client.StageRead, true)
		assert.False(t, client.SafeToRetry(err))

		requireServes(t, c)
		assert.Equal(t, 1, g.events.count("end "+own), "the next call waited for it")
		assert.Equal(t, uint64(1), c.Stats().Closed.Cancel)

		_, err = c.Execute(ctx, app, "identity", 1)
		require.ErrorIs(t, err, errImpatient)
		requireOp(t, err, client.StagePrepare, false)
		require.NotErrorIs(t, err, client.ErrOutcomeUnknown)
	})
}

// TestClientTimeouts: the client's own timeout and the context's deadline.
func TestClientTimeouts(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithTimeout(time.Second))
		_, err := c.Execute(t.Context(), app, "sleep", 1.5)
		require.ErrorIs(t, err, client.ErrTimeout)
		requireTimedOut(t, err)
		assert.Equal(t, uint64(1), c.Stats().Closed.Timeout)

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errImpatient)
		defer cancel()
		_, err = c.Execute(ctx, app, "sleep", 1.5)
		require.ErrorIs(t, err, errImpatient)
		require.NotErrorIs(t, err, client.ErrTimeout)
		requireTimedOut(t, err)

		requireServes(t, g.client(t)) // it waits for both
	})
}

// requireTimedOut checks what all timeouts on our side have in common.
func requireTimedOut(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	requireOp(t, err, client.StageRead, true)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.False(t, client.SafeToRetry(err))
}

// TestClientClose: Close ends the calls that run, and Shutdown waits for them.
func TestClientClose(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		call := func(c *client.Client) chan error {
			own := token(t)
			done := g.hold(t.Context(), c, own, 0.3)
			g.events.await(t, "begin "+own)
			return done
		}
		c := g.client(t)
		done := call(c)
		require.NoError(t, c.Close())
		err := <-done
		require.ErrorIs(t, err, client.ErrClosed)
		require.ErrorIs(t, err, client.ErrOutcomeUnknown)
		_, err = c.Execute(t.Context(), app, "identity", 1)
		require.ErrorIs(t, err, client.ErrClosed)

		c = g.client(t)
		done = call(c)
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-done)
		_, err = c.Execute(t.Context(), app, "identity", 1)
		require.ErrorIs(t, err, client.ErrClosed)

		c = g.client(t)
		done = call(c)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errImpatient)
		require.ErrorIs(t, c.Shutdown(ctx), errImpatient)
		require.ErrorIs(t, <-done, client.ErrClosed)
	})
}
