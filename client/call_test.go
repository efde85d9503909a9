package client_test

import (
	"context"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestArguments: what a call and a stream send.
func TestArguments(t *testing.T) {
	type point struct {
		X int `dirty:"x"`
	}
	for _, tt := range []struct {
		name   string
		args   []any
		sent   []any
		kwargs map[string]any
	}{
		{"none", nil, []any{}, map[string]any{}},
		{"nil", []any{nil}, []any{nil}, map[string]any{}},
		{"some", []any{1, "two", point{3}}, []any{int64(1), "two", map[string]any{"x": int64(3)}}, map[string]any{}},
		{"kwargs", []any{client.Kwargs{"a": 1, "b": point{2}}}, []any{}, map[string]any{"a": int64(1), "b": map[string]any{"x": int64(2)}}},
		{"both", []any{1, client.Kwargs{"a": nil}}, []any{int64(1)}, map[string]any{"a": nil}},
		{"no kwargs", []any{1, client.Kwargs(nil)}, []any{int64(1)}, map[string]any{}},
		{"a map is an argument", []any{map[string]any{"a": 1}}, []any{map[string]any{"a": int64(1)}}, map[string]any{}},
		{"kwargs inside an argument", []any{[]any{client.Kwargs{"a": 1}}}, []any{[]any{map[string]any{"a": int64(1)}}}, map[string]any{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := asking(t, func(dirty.Message) any { return nil })
			before := append([]any(nil), tt.args...)
			want := &dirty.Request{AppPath: app, Action: "act", Args: tt.sent, Kwargs: tt.kwargs}
			_, err := c.Execute(context.Background(), app, "act", tt.args...)
			require.NoError(t, err)
			requireAsked(t, want, asked)
			_, err = collect(c.Stream(context.Background(), app, "act", tt.args...))
			require.NoError(t, err)
			requireAsked(t, want, asked)
			assert.Equal(t, before, tt.args, "they are the caller's")
		})
	}
}

// TestMisplacedKwargs: kwargs that are not last would become a dict among the
// arguments.
func TestMisplacedKwargs(t *testing.T) {
	c, asked := asking(t, func(dirty.Message) any { return nil })
	for _, args := range [][]any{{client.Kwargs{}, 1}, {1, client.Kwargs{"a": 1}, client.Kwargs{"b": 1}}} {
		_, err := c.Execute(context.Background(), app, "act", args...)
		require.ErrorIs(t, err, client.ErrInvalidArgument)
		requireOp(t, err, client.StagePrepare, false)
		_, err = collect(c.Stream(context.Background(), app, "act", args...))
		require.ErrorIs(t, err, client.ErrInvalidArgument)
	}
	assert.Empty(t, asked)
}

// TestResult: into what a result can be decoded.
func TestResult(t *testing.T) {
	ctx := context.Background()
	type point struct {
		X int `dirty:"x"`
	}
	reply := any(nil)
	c, _ := asking(t, func(dirty.Message) any { return reply })
	reply = map[string]any{"x": 1, "y": 2}
	p, err := client.Call[point](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, point{1}, p)
	pp, err := client.Call[*point](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, &point{1}, pp)
	v, err := c.Execute(ctx, app, "x")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"x": int64(1), "y": int64(2)}, v)
	d, err := client.Call[dirty.Dict](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, dirty.Dict{{Key: "x", Value: int64(1)}, {Key: "y", Value: int64(2)}}, d)
	raw, err := client.Call[dirty.RawValue](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, encoded(reply), []byte(raw))

	reply = nil
	p, err = client.Call[point](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Zero(t, p)
	pp, err = client.Call[*point](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Nil(t, pp)
}

// TestWithDict: dicts keep their order wherever the destination is an any.
func TestWithDict(t *testing.T) {
	ctx := context.Background()
	value := dirty.Dict{{Key: "z", Value: int64(1)}, {Key: "a", Value: dirty.Dict{{Key: "b", Value: int64(2)}}}}
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if r, ok := m.(*dirty.Request); ok && r.Action == "count" {
			if err := c.WriteMessage(dirty.NewChunk(r.ID, value)); err != nil {
				return err
			}
			return c.WriteMessage(dirty.NewEnd(r.ID))
		}
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), value))
	}))
	c := p.client(t, client.WithDict())
	v, err := c.Execute(ctx, app, "x")
	require.NoError(t, err)
	assert.Equal(t, value, v)
	chunks, err := collect(c.Stream(ctx, app, "count"))
	require.NoError(t, err)
	assert.Equal(t, []any{value}, chunks)
	v, err = c.Stash("t").Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, value, v)
}
