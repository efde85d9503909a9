package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errPolicy = errors.New("the policy says no")

// TestInterceptors: the first one given is the outermost; they see which call
// it is, its error, and their context is that of the call.
func TestInterceptors(t *testing.T) {
	type key struct{}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			var order []string
			around := func(name string) client.Option {
				return client.WithInterceptor(func(ctx context.Context, got client.Operation, next func(context.Context) error) error {
					assert.Equal(t, op.name, got.Name)
					assert.Equal(t, op.reads, got.ReadOnly())
					seen, _ := ctx.Value(key{}).(string)
					order = append(order, seen+name+" begins")
					err := next(context.WithValue(ctx, key{}, seen+name+"/"))
					order = append(order, name+" ends")
					return err
				})
			}
			p := newPeer(t, answering(arbiter))
			c := p.client(t, around("a"), around("b"))
			require.NoError(t, op.call(context.Background(), c))
			assert.Equal(t, []string{"a begins", "a/b begins", "b ends", "a ends"}, order)
		})
	}
}

// TestInterceptorContext: what it passes is the context of the call.
func TestInterceptorContext(t *testing.T) {
	p := newPeer(t, mute)
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errLeft)
		return next(ctx)
	}))
	for _, op := range operations {
		err := op.call(context.Background(), c)
		require.ErrorIs(t, err, errLeft, op.name)
		requireOp(t, err, client.StagePrepare, false)
	}
}

// TestInterceptorRefuses: without a call of next nothing is sent.
func TestInterceptorRefuses(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(context.Context, client.Operation, func(context.Context) error) error { return errPolicy }))
	for _, op := range operations {
		assert.ErrorIs(t, op.call(context.Background(), c), errPolicy, op.name)
	}
	assert.Zero(t, p.connections())

	// Nor a result: that of a call is the zero value, a stream cannot be had.
	c = p.client(t, client.WithInterceptor(func(context.Context, client.Operation, func(context.Context) error) error { return nil }))
	n, err := client.Call[int](context.Background(), c, app, "echo", 1)
	require.NoError(t, err)
	assert.Zero(t, n)
	s, err := c.OpenStream(context.Background(), app, "count")
	require.Error(t, err)
	assert.Nil(t, s)
	assert.Zero(t, p.connections())
}

// TestInterceptorErrors: its own error takes the place of a success, of which
// nothing is left.
func TestInterceptorErrors(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithMaxConns(1), client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) error {
		return errors.Join(next(ctx), errPolicy)
	}))
	for range 3 {
		v, err := c.Execute(context.Background(), app, "echo", 1)
		require.ErrorIs(t, err, errPolicy)
		assert.Nil(t, v)
		s, err := c.OpenStream(context.Background(), app, "count")
		require.ErrorIs(t, err, errPolicy)
		assert.Nil(t, s)
		requireQuiet(t, c)
	}
}

// TestInterceptorPanics: what it began does not stay for ever.
func TestInterceptorPanics(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithMaxConns(1), client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) error {
		_ = next(ctx)
		panic("interceptor")
	}))
	for range 3 {
		assert.PanicsWithValue(t, "interceptor", func() { _, _ = c.Execute(context.Background(), app, "echo", 1) })
		assert.PanicsWithValue(t, "interceptor", func() { _, _ = c.OpenStream(context.Background(), app, "count") })
		assert.PanicsWithValue(t, "interceptor", func() { _, _ = collect(c.Stream(context.Background(), app, "count")) })
		requireQuiet(t, c)
	}
}

// TestInterceptorAgain: next may be called again, after a failure or a success;
// the last result counts, and nothing of the earlier ones.
func TestInterceptorAgain(t *testing.T) {
	ctx := context.Background()
	replies := []any{
		map[string]any{"a": 1, "list": []any{1, 2}},
		map[string]any{"b": 2},
	}
	n := 0
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if m.(*dirty.Request).Action == "count" {
			return arbiter(c, m)
		}
		n++
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), replies[(n-1)%2]))
	}))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) error {
		return errors.Join(next(ctx), next(ctx))
	}))
	type both struct {
		A    int   `dirty:"a"`
		B    int   `dirty:"b"`
		List []int `dirty:"list"`
	}
	v, err := c.Execute(ctx, app, "x")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"b": int64(2)}, v)
	m, err := client.Call[map[string]any](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"b": int64(2)}, m)
	s, err := client.Call[both](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, both{B: 2}, s)
	ptr, err := client.Call[*both](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, &both{B: 2}, ptr)

	chunks, err := collect(c.Stream(ctx, app, "count", 1, 2))
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), int64(2)}, chunks)
	requireQuiet(t, c)
	assert.EqualValues(t, 5, c.Stats().Calls, "one call each")
	assert.EqualValues(t, 1, c.Stats().Closed.Cancel, "the first stream")
}

// TestInterceptorTimeout: a context that an interceptor ends when it returns does
// not end a stream that it began; that of the caller does.
func TestInterceptorTimeout(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return next(ctx)
	}))
	for range 100 {
		got, err := collect(c.Stream(context.Background(), app, "count", 1, 2))
		require.NoError(t, err)
		assert.Equal(t, []any{int64(1), int64(2)}, got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := c.OpenStream(ctx, app, "count", 1, 2)
	require.NoError(t, err)
	cancel()
	requireQuiet(t, c)
	_, err = s.Recv()
	assert.ErrorIs(t, err, context.Canceled)
}

// TestInterceptorRetries: more attempts than the client's own.
func TestInterceptorRetries(t *testing.T) {
	n := 0
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if n++; n < 4 {
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), dirty.ErrNoWorkers))
		}
		return arbiter(c, m)
	}))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ client.Operation, next func(context.Context) error) (err error) {
		for range 5 {
			if err = next(ctx); !client.SafeToRetry(err) {
				break
			}
		}
		return err
	}))
	got, err := client.Call[[]int](context.Background(), c, app, "echo", 1)
	require.NoError(t, err)
	assert.Equal(t, []int{1}, got)
	assert.Equal(t, 4, n)
}
