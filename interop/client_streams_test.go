//go:build unix

package interop

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// collect reads a stream to its end.
func collect[T any](seq func(func(T, error) bool)) (chunks []T, err error) {
	for chunk, e := range seq {
		if e != nil {
			err = e
			continue // there must be nothing after it
		}
		chunks = append(chunks, chunk)
	}
	return chunks, err
}

func TestClientStream(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		for _, action := range []string{"count", "count_async"} {
			chunks, err := collect(c.Stream(ctx, app, action, 3))
			require.NoError(t, err, action)
			assert.Equal(t, []any{int64(0), int64(1), int64(2)}, chunks, action)

			chunks, err = collect(c.Stream(ctx, app, action, client.Kwargs{"n": 0}))
			require.NoError(t, err, action)
			assert.Empty(t, chunks, action)

			numbers, err := collect(client.StreamOf[int](ctx, c, app, action, 2000))
			require.NoError(t, err, action)
			assert.Len(t, numbers, 2000, action)
		}
		values := []any{nil, true, int64(-1), 1.5, []byte{0, 255}, "text", []any{}, map[string]any{"k": nil}}
		chunks, err := collect(c.Stream(ctx, app, "chunks", values))
		require.NoError(t, err)
		assert.Equal(t, values, chunks)

		parcels, err := collect(client.StreamOf[parcel](ctx, c, app, "chunks", []parcel{aParcel, aParcel}))
		require.NoError(t, err)
		assert.Equal(t, []parcel{aParcel, aParcel}, parcels)
		assert.Equal(t, uint64(1), c.Stats().Dials, "a stream that was read to its end leaves its connection usable")
	})
}

// TestClientStreamOfOneValue: a stream of an action that does not stream has one
// value. gunicorn's own client loses it.
func TestClientStreamOfOneValue(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		chunks, err := collect(c.Stream(ctx, app, "identity", "one"))
		require.NoError(t, err)
		assert.Equal(t, []any{"one"}, chunks)
		parcels, err := collect(client.StreamOf[parcel](ctx, c, app, "identity", aParcel))
		require.NoError(t, err)
		assert.Equal(t, []parcel{aParcel}, parcels)
		none, err := collect(c.Stream(ctx, app, "identity", nil))
		require.NoError(t, err)
		assert.Equal(t, []any{nil}, none)
		assert.Equal(t, uint64(1), c.Stats().Dials)
	})
}

// TestClientCallOfStream: a call of an action that streams fails. The action stops,
// and the client can still be used.
func TestClientCallOfStream(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		_, err := c.Execute(t.Context(), app, "count", 3)
		require.ErrorIs(t, err, client.ErrStreamingResponse)
		assert.False(t, client.SafeToRetry(err))
		_, err = c.Execute(t.Context(), app, "count", 0) // an END
		require.ErrorIs(t, err, client.ErrStreamingResponse)
		own := token(t)
		_, err = client.Call[int](t.Context(), c, app, "ticks", own, 0.005)
		require.ErrorIs(t, err, client.ErrStreamingResponse)
		g.events.await(t, "left "+own)
		requireServes(t, c)
		assert.Zero(t, c.Stats().Mismatches)
	})
}

func TestClientStreamBreaksOff(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		for _, action := range []string{"break_off", "break_off_async"} {
			chunks, err := collect(c.Stream(t.Context(), app, action, 2))
			remote := requireRemote(t, dirty.ErrApp, err)
			assert.Equal(t, "broke off", remote.Message)
			assert.Equal(t, []any{int64(0), int64(1)}, chunks, action)
		}
		chunks, err := collect(c.Stream(t.Context(), app, "bad_chunk"))
		requireRemote(t, dirty.ErrApp, err)
		assert.Equal(t, []any{"good"}, chunks)
		requireServes(t, c)
		assert.Equal(t, uint64(1), c.Stats().Dials)
	})
}

// TestClientLeavesStreams: in whatever way a stream is left, the peer closes its
// generator, and other calls are served.
func TestClientLeavesStreams(t *testing.T) {
	ways := []struct {
		name  string
		leave func(t *testing.T, c *client.Client, action, token string)
	}{
		{"break", func(t *testing.T, c *client.Client, action, token string) {
			for tick, err := range client.StreamOf[int](t.Context(), c, app, action, token, 0.005) {
				require.NoError(t, err)
				if tick == 3 {
					break
				}
			}
		}},
		{"panic", func(t *testing.T, c *client.Client, action, token string) {
			assert.PanicsWithValue(t, "enough", func() {
				for range c.Stream(t.Context(), app, action, token, 0.005) {
					panic("enough")
				}
			})
		}},
		{"cancel", func(t *testing.T, c *client.Client, action, token string) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			chunks, err := collect(func(yield func(any, error) bool) {
				for chunk, err := range c.Stream(ctx, app, action, token, 0.005) {
					cancel(errImpatient)
					if !yield(chunk, err) {
						return
					}
				}
			})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, errImpatient)
			require.ErrorIs(t, err, client.ErrOutcomeUnknown)
			assert.NotEmpty(t, chunks)
		}},
		{"cancel unread", func(t *testing.T, c *client.Client, action, token string) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s, err := c.OpenStream(ctx, app, action, token, 0.005)
			require.NoError(t, err)
			_, err = s.Recv()
			require.NoError(t, err)
			cancel(errImpatient)
			awaitCalm(t, c) // nobody reads or closes it
			_, err = s.Recv()
			require.ErrorIs(t, err, errImpatient)
		}},
		{"deadline", func(t *testing.T, c *client.Client, action, token string) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := collect(c.Stream(ctx, app, action, token, 0.005))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, client.ErrTimeout)
		}},
		{"close", func(t *testing.T, c *client.Client, action, token string) {
			s, err := c.OpenStream(t.Context(), app, action, token, 0.005)
			require.NoError(t, err)
			_, err = s.Recv()
			require.NoError(t, err)
			require.NoError(t, s.Close())
			_, err = s.Recv()
			require.ErrorIs(t, err, client.ErrStreamClosed)
			require.NoError(t, s.Close())
		}},
		{"chunk of another type", func(t *testing.T, c *client.Client, action, token string) {
			chunks, err := collect(client.StreamOf[string](t.Context(), c, app, action, token, 0.005))
			require.ErrorAs(t, err, new(*dirty.UnmarshalTypeError))
			assert.Empty(t, chunks)
		}},
	}
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		for _, opts := range [][]client.Option{nil, {client.WithReadAhead(1 << 20)}} {
			c := g.client(t, opts...)
			for _, way := range ways {
				for _, action := range []string{"ticks", "ticks_async"} {
					own := token(t)
					way.leave(t, c, action, own)
					g.events.await(t, "left "+own)
					g.events.await(t, "over "+own)
					requireServes(t, c)
				}
			}
			awaitCalm(t, c)
			assert.Zero(t, c.Stats().Mismatches)
		}
	})
}

func TestClientStreamIsUsedOnce(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t)
		seq := c.Stream(t.Context(), app, "count", 2)
		chunks, err := collect(seq)
		require.NoError(t, err)
		require.Len(t, chunks, 2)
		chunks, err = collect(seq)
		require.ErrorIs(t, err, client.ErrStreamUsed)
		assert.Empty(t, chunks)

		s, err := c.OpenStream(t.Context(), app, "count", 3)
		require.NoError(t, err)
		first, err := client.RecvOf[int](s)
		require.NoError(t, err)
		assert.Zero(t, first)
		chunks, err = collect(s.All())
		require.NoError(t, err)
		assert.Equal(t, []any{int64(1), int64(2)}, chunks)
		_, err = collect(s.All())
		require.ErrorIs(t, err, client.ErrStreamUsed)
		for range 2 {
			_, err = s.Recv()
			require.Equal(t, io.EOF, err)
		}
	})
}

// TestClientStreamTimeout: the client's own timeout between two chunks.
func TestClientStreamTimeout(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		for _, opts := range [][]client.Option{nil, {client.WithReadAhead(1 << 20)}} {
			c := g.client(t, append(opts, client.WithStreamTimeout(time.Second))...)
			chunks, err := collect(c.Stream(t.Context(), app, "stall", 1.5))
			assert.Equal(t, []any{"before"}, chunks)
			require.ErrorIs(t, err, client.ErrTimeout)
			requireTimedOut(t, err)
			awaitCalm(t, c)
			requireServes(t, g.client(t)) // it waits for the action
		}
	})
}

// TestClientReadAhead: a reader that stops reading blocks the worker for everybody,
// unless its client reads ahead.
func TestClientReadAhead(t *testing.T) {
	const blocks, size = 60, 1 << 16 // much more than the sockets between them hold
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		other := g.client(t)
		begin := func(c *client.Client, token string) *client.Stream {
			s, err := c.OpenStream(t.Context(), app, "blocks", token, blocks, size)
			require.NoError(t, err)
			_, err = s.Recv()
			require.NoError(t, err)
			return s
		}

		s := begin(g.client(t), token(t))
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		_, err := other.Execute(ctx, app, "identity", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded, "the stream is not read")
		require.NoError(t, s.Close())
		requireServes(t, other)

		ahead := g.client(t, client.WithReadAhead(2*blocks*size))
		own := token(t)
		s = begin(ahead, own)
		requireServes(t, other)
		assert.Equal(t, 1, g.events.count("end "+own))
		chunks, err := collect(s.All())
		require.NoError(t, err)
		require.Len(t, chunks, blocks-1)
		for _, chunk := range chunks {
			require.Len(t, chunk, size)
		}
		requireServes(t, ahead)

		// The client reads ahead only so far: a longer stream blocks the worker again.
		little := g.client(t, client.WithReadAhead(size))
		s = begin(little, token(t))
		ctx, cancel = context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		_, err = other.Execute(ctx, app, "identity", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		chunks, err = collect(s.All())
		require.NoError(t, err)
		require.Len(t, chunks, blocks-1)
		requireServes(t, other)
	})
}

// TestClientReadAheadError: an error is returned after the chunks before it.
func TestClientReadAheadError(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c := g.client(t, client.WithReadAhead(1<<20))
		chunks, err := collect(c.Stream(t.Context(), app, "break_off", 100))
		requireRemote(t, dirty.ErrApp, err)
		assert.Len(t, chunks, 100)
		one, err := collect(c.Stream(t.Context(), app, "identity", "one"))
		require.NoError(t, err)
		assert.Equal(t, []any{"one"}, one)

		// Closing the client ends a stream with an error too.
		s, err := c.OpenStream(t.Context(), app, "stall", 0.3)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		for err == nil {
			_, err = s.Recv()
		}
		require.True(t, errors.Is(err, client.ErrClosed) || errors.Is(err, client.ErrStreamClosed), "%v", err)
		requireServes(t, g.client(t))
	})
}
