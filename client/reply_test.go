package client_test

import (
	"context"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCall(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	for range 3 {
		got, err := client.Call[[]int](context.Background(), c, app, "echo", 1, 2)
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2}, got)
	}
	assert.Equal(t, 1, p.connections(), "the connection is kept")
	assert.EqualValues(t, 2, c.Stats().Reused)
}

// TestOperations: each of them is answered, on one connection.
func TestOperations(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	for _, op := range operations {
		assert.NoError(t, op.call(context.Background(), c), op.name)
	}
	assert.Equal(t, 1, p.connections())
	assert.EqualValues(t, len(operations), c.Stats().Calls)
}

// TestForeignID: a reply with the id of another request is never delivered,
// whatever it is, and nothing more is read from its connection.
func TestForeignID(t *testing.T) {
	execute := func(ctx context.Context, c *client.Client) ([]any, error) {
		v, err := c.Execute(ctx, app, "secret")
		return []any{v}, err
	}
	status := func(ctx context.Context, c *client.Client) ([]any, error) {
		s, err := c.Status(ctx)
		return []any{s}, err
	}
	stream := func(ctx context.Context, c *client.Client) ([]any, error) {
		return collect(c.Stream(ctx, app, "secret"))
	}
	none := []any{nil}
	remote := &dirty.RemoteError{Type: "DirtyAppError", Message: "secret"}
	for _, tt := range []struct {
		name  string
		call  func(context.Context, *client.Client) ([]any, error)
		want  []any // what is delivered
		reads bool
		reply func(own, other uint64) []byte
	}{
		{"response", execute, none, false, func(_, other uint64) []byte { return frames(dirty.NewResponse(other, "secret")) }},
		{"error", execute, none, false, func(_, other uint64) []byte { return frames(dirty.NewErrorReply(other, remote)) }},
		{"chunk to a call", execute, none, false, func(_, other uint64) []byte { return frames(dirty.NewChunk(other, "secret")) }},
		{"end to a call", execute, none, false, func(_, other uint64) []byte { return frames(dirty.NewEnd(other)) }},
		{"request", execute, none, false, func(_, other uint64) []byte { return frames(dirty.NewStatusRequest(other)) }},
		{"the own reply behind it", execute, none, false, func(own, other uint64) []byte {
			return frames(dirty.NewResponse(other, "secret"), dirty.NewResponse(own, "mine"))
		}},
		{"response to a status", status, []any{(*client.Status)(nil)}, true, func(_, other uint64) []byte {
			return frames(dirty.NewResponse(other, statusResult))
		}},
		{"first chunk", stream, nil, false, func(_, other uint64) []byte { return frames(dirty.NewChunk(other, "secret")) }},
		{"later chunk", stream, []any{"a", "b"}, false, func(own, other uint64) []byte {
			return frames(dirty.NewChunk(own, "a"), dirty.NewChunk(own, "b"), dirty.NewChunk(other, "secret"), dirty.NewEnd(own))
		}},
		{"end", stream, []any{"a"}, false, func(own, other uint64) []byte {
			return frames(dirty.NewChunk(own, "a"), dirty.NewEnd(other))
		}},
		{"error to a stream", stream, []any{"a"}, false, func(own, other uint64) []byte {
			return frames(dirty.NewChunk(own, "a"), dirty.NewErrorReply(other, remote))
		}},
		{"response to a stream", stream, nil, false, func(_, other uint64) []byte { return frames(dirty.NewResponse(other, "secret")) }},
	} {
		for name, other := range map[string]func(own uint64) uint64{
			"the last": func(own uint64) uint64 { return own - 1 },
			"the next": func(own uint64) uint64 { return own + 1 },
			"0":        func(uint64) uint64 { return 0 },
			"1 bit":    func(own uint64) uint64 { return own ^ 1<<63 },
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				p := newPeer(t, sendingOnce(func(own uint64) []byte { return tt.reply(own, other(own)) }))
				c := p.client(t)
				got, err := tt.call(context.Background(), c)
				require.ErrorIs(t, err, client.ErrIDMismatch)
				requireOp(t, err, client.StageRead, true)
				assert.Equal(t, tt.want, got)
				assert.Equal(t, !tt.reads, isUnknown(err), "%v", err)
				assert.NotErrorIs(t, err, dirty.ErrApp)
				await(t, "the connection is closed", func() bool { return p.open() == 0 })
				s := c.Stats()
				assert.EqualValues(t, 1, s.Mismatches)
				assert.Equal(t, client.ClosedStats{Protocol: 1}, s.Closed)
				assert.Zero(t, s.Retries)

				mine, err := client.Call[[]string](context.Background(), c, app, "echo", "mine")
				require.NoError(t, err)
				assert.Equal(t, []string{"mine"}, mine)
				assert.Equal(t, 2, p.connections(), "on a new connection")
			})
		}
	}
}

// TestRequestIDs: they count up, on all connections, and two clients have
// different ones.
func TestRequestIDs(t *testing.T) {
	ids := make(chan uint64, 4)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		ids <- m.RequestID()
		return arbiter(c, m)
	}))
	var first [2]uint64
	for i := range first {
		c := p.client(t, client.WithMaxIdle(0, 0))
		require.NoError(t, c.Ping(context.Background()))
		require.NoError(t, c.Ping(context.Background()))
		first[i] = <-ids
		assert.Equal(t, first[i]+1, <-ids)
	}
	distance := first[1] - first[0]
	assert.Greater(t, min(distance, -distance), uint64(1<<20), "they start anywhere")
}

// TestKindOfReply: what is not the reply that a call can have.
func TestKindOfReply(t *testing.T) {
	request := map[string]func(id uint64) dirty.Message{
		"request": func(id uint64) dirty.Message { return dirty.NewRequest(id, app, "x", nil, nil) },
		"stash":   func(id uint64) dirty.Message { return dirty.NewStashRequest(id, dirty.StashTables, "", nil, nil, "") },
		"status":  func(id uint64) dirty.Message { return dirty.NewStatusRequest(id) },
		"manage":  func(id uint64) dirty.Message { return dirty.NewManageRequest(id, dirty.ManageAdd, 1) },
	}
	chunk := map[string]func(id uint64) dirty.Message{
		"chunk": func(id uint64) dirty.Message { return dirty.NewChunk(id, 1) },
		"end":   func(id uint64) dirty.Message { return dirty.NewEnd(id) },
	}
	for _, op := range operations {
		wrong := map[error]map[string]func(id uint64) dirty.Message{client.ErrUnexpectedReply: request}
		if op.name != "stream" && op.name != "forward" {
			wrong[client.ErrStreamingResponse] = chunk
		}
		for want, replies := range wrong {
			for name, reply := range replies {
				t.Run(op.name+"/"+name, func(t *testing.T) {
					p := newPeer(t, sendingOnce(func(id uint64) []byte { return frames(reply(id)) }))
					c := p.client(t)
					err := op.call(context.Background(), c)
					require.ErrorIs(t, err, want)
					requireOp(t, err, client.StageRead, true)
					assert.Equal(t, !op.reads, isUnknown(err), "%v", err)
					await(t, "the connection is closed", func() bool { return p.open() == 0 })
					assert.Equal(t, client.ClosedStats{Protocol: 1}, c.Stats().Closed)
					assert.NoError(t, op.call(context.Background(), c))
				})
			}
		}
	}
}

// TestResponseToStream: an action that returns a value instead of a generator;
// gunicorn's own client loses it.
func TestResponseToStream(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	got, err := collect(client.StreamOf[[]int](context.Background(), c, app, "echo", 1, 2))
	require.NoError(t, err)
	assert.Equal(t, [][]int{{1, 2}}, got)
	for action, single := range map[string]bool{"echo": true, "count": false} {
		s, err := c.OpenStream(context.Background(), app, action, 1)
		require.NoError(t, err)
		assert.False(t, s.Single(), "it is not known yet")
		_, err = s.Recv()
		require.NoError(t, err)
		assert.Equal(t, single, s.Single(), action)
		_, err = collect(s.All())
		require.NoError(t, err)
		assert.Equal(t, single, s.Single(), action)
	}
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, 1, p.connections(), "the connection is kept")
}

// TestErrorReply: the peer's word reaches the caller, and the connection is
// kept.
func TestErrorReply(t *testing.T) {
	remote := &dirty.RemoteError{Type: "DirtyAppError", Message: "boom", Details: map[string]any{
		"traceback": "Traceback ...\nValueError: boom\n",
	}}
	for _, op := range operations {
		if op.name == "forward" { // to which it is an answer
			continue
		}
		t.Run(op.name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte { return frames(dirty.NewErrorReply(id, remote)) }))
			c := p.client(t)
			err := op.call(context.Background(), c)
			require.ErrorIs(t, err, dirty.ErrApp)
			requireOp(t, err, client.StageRead, true)
			assert.False(t, isUnknown(err))
			assert.False(t, client.SafeToRetry(err))
			var got *dirty.RemoteError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, remote, got)
			assert.NotContains(t, err.Error(), "Traceback")
			assert.NoError(t, op.call(context.Background(), c))
			assert.Equal(t, 1, p.connections())
		})
	}
}
