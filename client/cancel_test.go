package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errLeft is the cause of a cancel.
var errLeft = errors.New("the user has left")

// step is where a call is when something ends it.
type step struct {
	name  string
	stage client.Stage
	sent  bool

	// begin makes a client and starts a call that comes as far as that. It
	// returns when it is there. done gives the error of the call.
	begin func(t *testing.T, ctx context.Context) (c *client.Client, p *links, done <-chan error)
}

// calls are the kinds of calls that go through all steps.
var calls = map[string]func(ctx context.Context, c *client.Client, arg any) error{
	"call": func(ctx context.Context, c *client.Client, arg any) error {
		_, err := c.Execute(ctx, app, "echo", arg)
		return err
	},
	"stream": func(ctx context.Context, c *client.Client, arg any) error {
		_, err := collect(c.Stream(ctx, app, "count", arg))
		return err
	},
}

// steps are all steps of a call.
func steps(call func(ctx context.Context, c *client.Client, arg any) error) []step {
	return []step{
		{"wait", client.StageWait, false, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			// What fills the pool is not that which is ended.
			p := newPeer(t, mute)
			c := p.client(t, client.WithMaxConns(1))
			busy, err := c.OpenStream(context.Background(), app, "x")
			require.NoError(t, err)
			done := async(func() error { return call(ctx, c, 1) })
			await(t, "it waits", func() bool { return c.Stats().Waiting == 1 })
			return c, &p.links, async(func() error {
				err := <-done
				_ = busy.Close()
				return err
			})
		}},
		{"dial", client.StageDial, false, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			// A dial goes on without its caller, so it is ended once the call has ended.
			dialling, end := make(chan bool, 10), make(chan bool)
			c := newClient(t, client.WithSocket("x"), client.WithDialTimeout(time.Hour),
				client.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
					dialling <- true
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-end:
						return nil, errLeft
					}
				}))
			done := async(func() error { return call(ctx, c, 1) })
			receive(t, "a dial", dialling)
			return c, &links{}, async(func() error {
				defer close(end)
				return <-done
			})
		}},
		{"write", client.StageWrite, false, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			return startCall(t, ctx, call, 20<<20, func(nc net.Conn, reached func()) {
				_, _ = io.ReadFull(nc, make([]byte, 1000))
				reached()
				awaitEnd(nc)
			})
		}},
		{"write on a kept connection", client.StageWrite, false, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			reached := make(chan bool, 1)
			p := newPeer(t, func(nc net.Conn) {
				m, err := dirty.ReadMessage(nc)
				assert.NoError(t, err)
				assert.NoError(t, arbiter(dirty.NewConn(nc), m))
				_, _ = io.ReadFull(nc, make([]byte, 1000))
				reached <- true
				awaitEnd(nc)
			})
			c := p.client(t)
			require.NoError(t, c.Ping(context.Background()))
			done := async(func() error { return call(ctx, c, make([]byte, 20<<20)) })
			receive(t, "the step", reached)
			return c, &p.links, done
		}},
		{"read", client.StageRead, true, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			return startCall(t, ctx, call, 200_000, func(nc net.Conn, reached func()) {
				_, err := dirty.ReadMessage(nc)
				assert.NoError(t, err)
				reached()
				mute(nc)
			})
		}},
		{"read in a header", client.StageRead, true, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			return startCall(t, ctx, call, 200_000, func(nc net.Conn, reached func()) {
				m, err := dirty.ReadMessage(nc)
				assert.NoError(t, err)
				_, _ = nc.Write(replyTo(m)[:7])
				reached()
				mute(nc)
			})
		}},
		{"read in a payload", client.StageRead, true, func(t *testing.T, ctx context.Context) (*client.Client, *links, <-chan error) {
			return startCall(t, ctx, call, 200_000, func(nc net.Conn, reached func()) {
				m, err := dirty.ReadMessage(nc)
				assert.NoError(t, err)
				_, _ = nc.Write(replyTo(m)[:100_000])
				reached()
				mute(nc)
			})
		}},
	}
}

// startCall starts a call with an argument of that size, and returns when the peer
// says that it is reached.
func startCall(t *testing.T, ctx context.Context, call func(context.Context, *client.Client, any) error, size int, serve func(nc net.Conn, reached func())) (*client.Client, *links, <-chan error) {
	reached := make(chan bool, 1)
	p := newPeer(t, func(nc net.Conn) { serve(nc, func() { reached <- true }) })
	c := p.client(t)
	done := async(func() error { return call(ctx, c, make([]byte, size)) })
	receive(t, "the step", reached)
	return c, &p.links, done
}

// awaitEnd returns when the other side has closed the connection, without
// reading what it wrote: a write of one byte fails then.
func awaitEnd(nc net.Conn) {
	for range int(within / time.Millisecond) {
		if _, err := nc.Write([]byte("G")); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestCancel: wherever a call is, it ends at once with the error of its context
// and the cause, and lets go of everything; the peer sees the end of its
// connection.
func TestCancel(t *testing.T) {
	for name, call := range calls {
		for _, step := range steps(call) {
			t.Run(name+"/"+step.name, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(context.Background())
				c, p, done := step.begin(t, ctx)
				before := c.Stats()
				cancel(errLeft)
				err := receive(t, "the call", done)
				require.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, errLeft)
				requireOp(t, err, step.stage, step.sent)
				assert.False(t, timesOut(err), "%v", err)
				assert.Equal(t, step.sent, isUnknown(err), "%v", err)
				assert.Equal(t, step.stage == client.StageWait, errors.Is(err, client.ErrPoolTimeout))
				requireQuiet(t, c)
				await(t, "the peer sees it", func() bool { return p.open() == 0 })
				s := c.Stats()
				assert.Zero(t, s.Retries)
				assert.Zero(t, s.Idle)
				if step.stage == client.StageWrite || step.stage == client.StageRead {
					assert.Equal(t, before.Closed.Cancel+1, s.Closed.Cancel)
				}
			})
		}
	}
}

// TestCancelledBefore: a context that has ended already; nothing is dialled.
func TestCancelledBefore(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errLeft)
	for _, op := range operations {
		err := op.call(ctx, c)
		require.ErrorIs(t, err, context.Canceled, op.name)
		assert.ErrorIs(t, err, errLeft)
		requireOp(t, err, client.StagePrepare, false)
		assert.False(t, isUnknown(err))
	}
	assert.Zero(t, p.connections())
	assert.Zero(t, c.Stats().Dials)
}

// TestCancelKeepsOthers: a cancel on a kept connection is no sign that the other
// kept ones are dead.
func TestCancelKeepsOthers(t *testing.T) {
	reached, hold := make(chan bool, 1), make(chan bool)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		switch m.(*dirty.Request).Action {
		case "together":
			reached <- true
			<-hold
		case "read":
			reached <- true
			return nil
		}
		return arbiter(c, m)
	}))
	c := p.client(t)
	var done [3]<-chan error
	for i := range done {
		done[i] = async(func() error {
			_, err := c.Execute(context.Background(), app, "together")
			return err
		})
		receive(t, "a call", reached)
	}
	close(hold)
	for _, d := range done {
		require.NoError(t, receive(t, "the call", d))
	}
	require.Equal(t, 3, c.Stats().Idle)

	ctx, cancel := context.WithCancel(context.Background())
	call := async(func() error {
		_, err := c.Execute(ctx, app, "read")
		return err
	})
	receive(t, "the call", reached)
	cancel()
	require.ErrorIs(t, receive(t, "the call", call), context.Canceled)
	requireQuiet(t, c)
	assert.Equal(t, 2, c.Stats().Idle)
}

// TestCancelAfterReply: a connection whose context ended is not kept, even if
// the reply came; it is delivered.
func TestCancelAfterReply(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	ctx, cancel := context.WithCancel(context.Background())
	onDecode = cancel
	got, err := client.Call[[]hook](ctx, c, app, "echo", 1)
	require.NoError(t, err)
	assert.Len(t, got, 1)
	requireQuiet(t, c)
	s := c.Stats()
	assert.Zero(t, s.Idle)
	assert.Equal(t, client.ClosedStats{Cancel: 1}, s.Closed)
}

// hook calls onDecode when it is decoded.
type hook struct{}

var onDecode func()

func (*hook) UnmarshalTLV([]byte) error {
	onDecode()
	return nil
}

// unreadStream is a stream of which nobody reads more than a chunk.
type unreadStream struct {
	name  string
	ahead int  // of WithReadAhead
	flood bool // the peer sends chunks without end, otherwise one
}

var unreadStreams = []unreadStream{
	{"silent", 0, false},
	{"flood", 0, true},
	{"silent, ahead", 1 << 20, false},
	{"flood, a little ahead", 1, true},
	{"flood, ahead", 1 << 20, true},
}

// open opens the stream, and reads a chunk of it.
func (u unreadStream) open(t *testing.T, ctx context.Context) (*scriptedPeer, *client.Client, *client.Stream) {
	t.Helper()
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		for {
			err := c.WriteMessage(dirty.NewChunk(m.RequestID(), make([]byte, 50_000)))
			if err != nil || !u.flood {
				return err
			}
		}
	}))
	c := p.client(t, client.WithReadAhead(u.ahead))
	s, err := c.OpenStream(ctx, app, "x")
	require.NoError(t, err)
	_, err = s.Recv()
	require.NoError(t, err)
	return p, c, s
}

// TestCancelBetweenChunks: a stream ends with its context although nobody reads
// it, with and without frames that were read ahead.
func TestCancelBetweenChunks(t *testing.T) {
	for _, tt := range unreadStreams {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			p, c, s := tt.open(t, ctx)
			cancel(errLeft)
			requireQuiet(t, c)
			await(t, "the peer sees it", func() bool { return p.open() == 0 })
			assert.Empty(t, goroutinesLeft())
			for range 2 {
				_, err := s.Recv()
				require.ErrorIs(t, err, context.Canceled)
				assert.ErrorIs(t, err, errLeft)
				requireOp(t, err, client.StageRead, true)
				assert.True(t, isUnknown(err))
			}
			assert.Equal(t, client.ClosedStats{Cancel: 1}, c.Stats().Closed)
			assert.NoError(t, s.Close())
		})
	}
}

// TestCancelAfterEnd: the end of a context after that of its stream changes
// nothing.
func TestCancelAfterEnd(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := collect(c.Stream(ctx, app, "count", 1, 2))
		require.NoError(t, err)
		cancel()
	}
	assert.Equal(t, 1, p.connections(), "it was kept")
	assert.Equal(t, 1, c.Stats().Idle)
}
