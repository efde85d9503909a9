package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frameOf encodes a message.
func frameOf(tb testing.TB, m dirty.Message) dirty.Frame {
	tb.Helper()
	b, err := dirty.AppendMessage(nil, m)
	require.NoError(tb, err)
	var f dirty.Frame
	require.NoError(tb, f.UnmarshalBinary(b))
	return f
}

// requestFrame is the frame of a request.
func requestFrame(tb testing.TB, action string, args ...any) dirty.Frame {
	return frameOf(tb, dirty.NewRequest(5, app, action, args, nil))
}

// answers collects the answers of a Forward.
type answers []dirty.Message

func (a *answers) take(f dirty.Frame) error {
	m, err := f.Message()
	*a = append(*a, m)
	return err
}

// requireUnknownOutcome checks that a forward failed, in the way that is says, when its
// answer was read.
func requireUnknownOutcome(t *testing.T, err, is error) {
	t.Helper()
	require.ErrorIs(t, err, is)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	requireOp(t, err, client.StageRead, true)
}

// requireClosed checks that the connection of a forward was closed as a failed one, and
// that its place is free.
func requireClosed(t *testing.T, c *client.Client) {
	t.Helper()
	requireQuiet(t, c)
	assert.Equal(t, client.ClosedStats{Failed: 1}, c.Stats().Closed)
	require.NoError(t, c.Ping(context.Background()))
}

// TestForward checks the answers to a frame of each type, and their id.
func TestForward(t *testing.T) {
	c := newPeer(t, answering(arbiter)).client(t, client.WithMaxConns(1))
	for name, tt := range map[string]struct {
		f    dirty.Frame
		want []dirty.Message
	}{
		"response": {requestFrame(t, "echo", 1), []dirty.Message{dirty.NewResponse(5, []any{int64(1)})}},
		"stream":   {requestFrame(t, "count", 1, 2), []dirty.Message{dirty.NewChunk(5, int64(1)), dirty.NewChunk(5, int64(2)), dirty.NewEnd(5)}},
		"no chunk": {requestFrame(t, "count"), []dirty.Message{dirty.NewEnd(5)}},
		"error": {requestFrame(t, "raise"), []dirty.Message{dirty.NewErrorReply(5,
			&dirty.RemoteError{Type: dirty.ClassApp, Message: "boom", Details: map[string]any{}})}},
		"stash":  {frameOf(t, dirty.NewStashRequest(5, dirty.StashGet, "t", "k", nil, "")), []dirty.Message{dirty.NewResponse(5, "value")}},
		"manage": {frameOf(t, dirty.NewManageRequest(5, dirty.ManageAdd, 1)), nil},
		"status": {frameOf(t, dirty.NewStatusRequest(5)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got answers
			require.NoError(t, c.Forward(context.Background(), tt.f, got.take))
			require.NotEmpty(t, got)
			assert.EqualValues(t, 5, got[0].RequestID())
			if tt.want != nil {
				assert.Equal(t, tt.want, []dirty.Message(got))
			}
			requireQuiet(t, c)
		})
	}
	assert.EqualValues(t, 1, c.Stats().Dials, "the connection is kept")
}

// TestForwardUndecoded checks that payloads go both ways as they are, also those that
// cannot be decoded.
func TestForwardUndecoded(t *testing.T) {
	c := newPeer(t, func(nc net.Conn) {
		peer := dirty.NewConn(nc)
		for {
			f, err := peer.ReadFrame()
			if err != nil {
				return
			}
			f.Type = dirty.TypeChunk
			if peer.WriteFrame(f) != nil {
				return
			}
			f.Type = dirty.TypeResponse
			if peer.WriteFrame(f) != nil {
				return
			}
		}
	}).client(t)
	for _, payload := range []string{"", "garbage", string(make([]byte, 1<<20))} {
		got := ""
		f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: dirty.RawValue(payload)}
		require.NoError(t, c.Forward(context.Background(), f, func(f dirty.Frame) error {
			got += string(f.Payload)
			return nil
		}))
		assert.True(t, got == payload+payload)
	}
}

// TestForwardRefuses checks what is refused before anything is sent.
func TestForwardRefuses(t *testing.T) {
	c := newClient(t, client.WithSocket("/no such socket"))
	take := func(dirty.Frame) error { return nil }
	huge := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest}, Payload: make([]byte, dirty.MaxPayloadSize+1)}
	var none context.Context
	for name, tt := range map[string]struct {
		ctx  context.Context
		f    dirty.Frame
		take func(dirty.Frame) error
	}{
		"a response":  {context.Background(), frameOf(t, dirty.NewResponse(1, nil)), take},
		"an error":    {context.Background(), frameOf(t, dirty.NewErrorReply(1, io.EOF)), take},
		"a chunk":     {context.Background(), frameOf(t, dirty.NewChunk(1, nil)), take},
		"an end":      {context.Background(), frameOf(t, dirty.NewEnd(1)), take},
		"no type":     {context.Background(), dirty.Frame{}, take},
		"no function": {context.Background(), requestFrame(t, "echo"), nil},
		"no context":  {none, requestFrame(t, "echo"), take},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Forward(tt.ctx, tt.f, tt.take)
			require.ErrorIs(t, err, client.ErrInvalidArgument)
			requireOp(t, err, client.StagePrepare, false)
		})
	}
	t.Run("too large", func(t *testing.T) {
		c := newPeer(t, answering(arbiter)).client(t)
		err := c.Forward(context.Background(), huge, take)
		require.ErrorIs(t, err, dirty.ErrTooLarge)
		requireOp(t, err, client.StagePrepare, false)
		require.NoError(t, c.Forward(context.Background(), requestFrame(t, "echo"), take), "the connection is kept")
	})
}

// TestForwardNotTaken checks that an error, a panic and a Goexit of the function that
// takes the answers close the connection and free its place, and that an error is
// returned as it is: also one that would be repeated if it were the peer's.
func TestForwardNotTaken(t *testing.T) {
	retryable := &dirty.RemoteError{Type: dirty.ClassNoWorkersAvailable}
	for name, tt := range map[string]struct {
		take func(dirty.Frame) error
		is   error
	}{
		"an error":         {func(dirty.Frame) error { return io.EOF }, io.EOF},
		"one of no worker": {func(dirty.Frame) error { return retryable }, retryable},
		"a panic":          {func(dirty.Frame) error { panic("the reason") }, client.ErrHookFailed},
		"a Goexit":         {func(dirty.Frame) error { runtime.Goexit(); return nil }, nil},
	} {
		for _, intercepted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				opts := []client.Option{client.WithMaxConns(1), client.WithRetry(client.Retry{})}
				if intercepted {
					opts = append(opts, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
						_ = next(ctx)
						return next(ctx)
					}))
				}
				c := newPeer(t, answering(arbiter)).client(t, opts...)
				taken := 0
				err, returned := callAside(func() error {
					return c.Forward(context.Background(), requestFrame(t, "count", 1, 2, 3), func(f dirty.Frame) error {
						if taken++; taken == 2 {
							return tt.take(f)
						}
						return nil
					})
				})
				assert.Equal(t, 2, taken, "it is not repeated")
				switch {
				case tt.is == client.ErrHookFailed:
					require.ErrorIs(t, err, tt.is)
					assert.ErrorContains(t, err, "the reason")
				case tt.is != nil:
					assert.Equal(t, tt.is, err)
				case !intercepted:
					assert.False(t, returned)
				default:
					require.ErrorIs(t, err, client.ErrHookFailed)
				}
				requireClosed(t, c)
			})
		}
	}
}

// TestForwardTimeouts checks the bounds of the first answer and of those after it.
func TestForwardTimeouts(t *testing.T) {
	for name, tt := range map[string]struct {
		chunks int
		took   time.Duration
	}{
		"no answer":     {0, time.Second},
		"after a chunk": {2, 10*time.Second + time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					for i := range tt.chunks {
						time.Sleep(time.Duration(10*i) * time.Second)
						if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), i)); err != nil {
							return err
						}
					}
					mute(c.NetConn())
					return io.EOF
				})).client(t, client.WithTimeout(time.Second), client.WithStreamTimeout(time.Minute))
				var got answers
				begin := time.Now()
				err := c.Forward(context.Background(), requestFrame(t, "echo"), got.take)
				requireUnknownOutcome(t, err, client.ErrTimeout)
				assert.Equal(t, tt.took, time.Since(begin))
				assert.Len(t, got, tt.chunks)
			})
		})
	}
}

// TestForwardFaults checks answers that are none, and that a connection which ends in
// the middle is an outcome that is not known.
func TestForwardFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(c *dirty.Conn, id uint64)
		is     error
		taken  int
	}{
		"end of the connection": {func(*dirty.Conn, uint64) {}, io.ErrUnexpectedEOF, 0},
		"end after a chunk":     {func(c *dirty.Conn, id uint64) { _ = c.WriteMessage(dirty.NewChunk(id, 1)) }, io.ErrUnexpectedEOF, 1},
		"another id":            {func(c *dirty.Conn, id uint64) { _ = c.WriteMessage(dirty.NewEnd(id + 1)) }, client.ErrIDMismatch, 0},
		"no answer":             {func(c *dirty.Conn, id uint64) { _ = c.WriteMessage(dirty.NewStatusRequest(id)) }, client.ErrUnexpectedReply, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if m.Type() == dirty.TypeStatus {
					return arbiter(c, m)
				}
				tt.answer(c, m.RequestID())
				return io.EOF
			})).client(t, client.WithRetry(client.Retry{}))
			require.NoError(t, c.Ping(context.Background()))
			var got answers
			err := c.Forward(context.Background(), requestFrame(t, "echo"), got.take)
			requireUnknownOutcome(t, err, tt.is)
			assert.Len(t, got, tt.taken)
			assert.Zero(t, c.Stats().Retries)
		})
	}
}

// TestForwardSeen checks what interceptors and tracers see.
func TestForwardSeen(t *testing.T) {
	var seen []client.Operation
	var done client.CallResult
	sizes := 0
	c := newPeer(t, answering(arbiter)).client(t,
		client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
			seen = append(seen, call.Operation)
			assert.Empty(t, call.Args)
			return next(ctx)
		}),
		client.WithTracer(client.Tracer{
			CallStart: func(ctx context.Context, op client.Operation) context.Context { seen = append(seen, op); return ctx },
			CallDone:  func(_ context.Context, _ client.Operation, r client.CallResult) { done = r },
			Chunk:     func(_ context.Context, _ client.Operation, size int) { sizes += size },
		}))
	require.NoError(t, c.Forward(context.Background(), requestFrame(t, "count", 1, 2), func(dirty.Frame) error { return nil }))
	want := client.Operation{Name: "forward", App: app, Action: "count"}
	assert.Equal(t, []client.Operation{want, want}, seen)
	assert.Equal(t, 2, done.Chunks)
	assert.NoError(t, done.Err)
	assert.Equal(t, 2*len(frameOf(t, dirty.NewChunk(1, 1)).Payload), sizes)
}

// TestForwardHedged checks that of two attempts at one time only one delivers, and
// that both end alike.
func TestForwardHedged(t *testing.T) {
	for name, end := range map[string]error{"to the end": nil, "not taken": errors.New("enough")} {
		t.Run(name, func(t *testing.T) {
			var both sync.WaitGroup
			both.Add(2)
			ends := make(chan error, 2)
			c := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				both.Done()
				both.Wait()
				return arbiter(c, m)
			})).client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				go func() { ends <- next(ctx) }()
				go func() { ends <- next(ctx) }()
				return errors.Join(<-ends, <-ends)
			}))
			var got answers
			err := c.Forward(context.Background(), requestFrame(t, "count", 1, 2), func(f dirty.Frame) error {
				if f.Type == dirty.TypeEnd && end != nil {
					return end
				}
				return got.take(f)
			})
			want := answers{dirty.NewChunk(5, int64(1)), dirty.NewChunk(5, int64(2)), dirty.NewEnd(5)}
			if end != nil {
				require.ErrorIs(t, err, end)
				want = want[:2]
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, want, got)
		})
	}
}
