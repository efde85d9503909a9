package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCallTimeout: what bounds a call whose answer does not come.
func TestCallTimeout(t *testing.T) {
	cause := errors.New("the user has left")
	const never = 2 * time.Hour
	for _, tt := range []struct {
		name    string
		opts    []client.Option
		context time.Duration // the deadline; 0: none
		took    time.Duration
		ours    bool // the client's timeout, not the context's
	}{
		{"by default", nil, 0, 30 * time.Second, true},
		{"the option", []client.Option{client.WithTimeout(time.Minute)}, 0, time.Minute, true},
		{"an earlier context", nil, 10 * time.Second, 10 * time.Second, false},
		{"a later context takes its place", nil, time.Minute, time.Minute, false},
		{"a context alone", []client.Option{client.WithTimeout(0)}, time.Hour, time.Hour, false},
		{"none, until it is cancelled", []client.Option{client.WithTimeout(0)}, 0, never, false},
	} {
		for _, op := range operations {
			if op.name == "stream" {
				continue
			}
			t.Run(tt.name+"/"+op.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newPipePeer(t, mute).client(t, tt.opts...)
					ctx, cancel := context.WithCancelCause(context.Background())
					if tt.context > 0 {
						var stop context.CancelFunc
						ctx, stop = context.WithTimeoutCause(ctx, tt.context, cause)
						defer stop()
					}
					defer time.AfterFunc(never, func() { cancel(cause) }).Stop()
					took := tt.took
					if op.name == "manage add" || op.name == "manage remove" {
						if tt.ours {
							took += 2 * 200 * time.Millisecond // for two workers
						}
					}
					begin := time.Now()
					err := op.call(ctx, c)
					assert.Equal(t, took, time.Since(begin))
					requireOp(t, err, client.StageRead, true)
					assert.Equal(t, tt.ours, errors.Is(err, client.ErrTimeout))
					assert.Equal(t, !tt.ours, errors.Is(err, cause), "%v", err)
					assert.Equal(t, took < never, timesOut(err))
					assert.Equal(t, took < never, errors.Is(err, context.DeadlineExceeded))
					assert.Equal(t, took == never, errors.Is(err, context.Canceled))
					assert.NotErrorIs(t, err, dirty.ErrPeerTimeout, "that is gunicorn's")
					assert.Equal(t, !op.reads, isUnknown(err))
					want := client.ClosedStats{Cancel: 1}
					if tt.ours {
						want = client.ClosedStats{Timeout: 1}
						assert.Contains(t, err.Error(), "the timeout of the call of "+took.String()+" passed")
						assert.True(t, os.IsTimeout(errors.Unwrap(err)), "the reason alone, too")
					}
					assert.Equal(t, want, c.Stats().Closed)
				})
			})
		}
	}
}

// TestCallTimeoutIsOne: it runs from the wait for a connection to the answer,
// over a retry too.
func TestCallTimeoutIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			time.Sleep(20 * time.Second)
			return arbiter(c, m)
		}))
		c := p.client(t, client.WithMaxConns(1))
		begin := time.Now()
		first := async(func() error { return c.Ping(context.Background()) })
		synctest.Wait()
		_, err := c.Execute(context.Background(), app, "echo")
		assert.Equal(t, 30*time.Second, time.Since(begin), "20 of waiting, 10 of reading")
		require.ErrorIs(t, err, client.ErrTimeout)
		requireOp(t, err, client.StageRead, true)
		assert.NoError(t, <-first)
	})
}

// TestWaitTimeout: nothing becomes free in time.
func TestWaitTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPipePeer(t, mute).client(t, client.WithMaxConns(1))
		ctx, cancel := context.WithCancel(context.Background())
		s, err := c.OpenStream(ctx, app, "x")
		require.NoError(t, err)
		defer s.Close()
		defer cancel()
		for _, bounded := range []bool{false, true} {
			ctx := context.Background()
			if bounded {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, 30*time.Second)
				defer stop()
			}
			begin := time.Now()
			_, err = c.Execute(ctx, app, "x")
			assert.Equal(t, 30*time.Second, time.Since(begin))
			require.ErrorIs(t, err, client.ErrPoolTimeout)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, !bounded, errors.Is(err, client.ErrTimeout))
			assert.True(t, timesOut(err))
			requireOp(t, err, client.StageWait, false)
			assert.False(t, isUnknown(err))
			assert.True(t, client.SafeToRetry(err))
			assert.Contains(t, err.Error(), "1 in use")
			assert.Contains(t, err.Error(), "WithMaxConns")
		}
		stats := c.Stats()
		assert.Equal(t, 1, stats.InUse)
		assert.Equal(t, time.Minute, stats.WaitDuration)
		assert.EqualValues(t, 3, stats.Waits)
	})
}

// TestWriteTimeout: a peer that does not read.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := newPipePeer(t, func(nc net.Conn) {
			_, _ = io.ReadFull(nc, make([]byte, 10))
			<-hold
		})
		c := p.client(t)
		begin := time.Now()
		_, err := c.Execute(context.Background(), app, "x")
		close(hold)
		assert.Equal(t, 30*time.Second, time.Since(begin))
		require.ErrorIs(t, err, client.ErrTimeout)
		requireOp(t, err, client.StageWrite, false)
		assert.True(t, client.SafeToRetry(err), "a frame cut short is not acted on")
		assert.False(t, isUnknown(err))
		assert.Equal(t, client.ClosedStats{Timeout: 1}, c.Stats().Closed)
	})
}

// TestStreamTimeout: it bounds the time to the first and between two chunks,
// not the whole, and is not the timeout of calls.
func TestStreamTimeout(t *testing.T) {
	const none = time.Duration(-1)
	for _, tt := range []struct {
		name    string
		opts    []client.Option
		context time.Duration
		pauses  []time.Duration // before each chunk; the last one does not come
		took    time.Duration
		ours    bool
	}{
		{"before the first", nil, 0, []time.Duration{none}, 30 * time.Second, true},
		{"between two", nil, 0, []time.Duration{0, 20 * time.Second, none}, 50 * time.Second, true},
		{"as often as one likes", nil, 0, []time.Duration{29 * time.Second, 29 * time.Second, 29 * time.Second, none}, 117 * time.Second, true},
		{"the option", []client.Option{client.WithStreamTimeout(time.Second)}, 0, []time.Duration{0, none}, time.Second, true},
		{"not that of calls", []client.Option{client.WithTimeout(time.Second)}, 0, []time.Duration{0, none}, 30 * time.Second, true},
		{"also with a context", nil, time.Hour, []time.Duration{0, none}, 30 * time.Second, true},
		{"an earlier context", nil, time.Second, []time.Duration{0, none}, time.Second, false},
		{"a context for the whole", nil, time.Minute, []time.Duration{25 * time.Second, 25 * time.Second, none}, time.Minute, false},
		{"a context alone", []client.Option{client.WithStreamTimeout(0)}, time.Hour, []time.Duration{0, none}, time.Hour, false},
	} {
		for name, ahead := range map[string]int{"": 0, "/ahead": 1000} {
			t.Run(tt.name+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
						for i, pause := range tt.pauses {
							if pause == none {
								break
							}
							time.Sleep(pause)
							if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), i)); err != nil {
								return err
							}
						}
						return nil
					}))
					c := p.client(t, append(tt.opts, client.WithReadAhead(ahead))...)
					ctx := context.Background()
					if tt.context > 0 {
						var stop context.CancelFunc
						ctx, stop = context.WithTimeout(ctx, tt.context)
						defer stop()
					}
					begin := time.Now()
					got, err := collect(c.Stream(ctx, app, "x"))
					assert.Equal(t, tt.took, time.Since(begin))
					assert.Len(t, got, len(tt.pauses)-1)
					requireOp(t, err, client.StageRead, true)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					assert.True(t, timesOut(err))
					assert.True(t, isUnknown(err))
					assert.Equal(t, tt.ours, errors.Is(err, client.ErrTimeout))
					want := client.ClosedStats{Cancel: 1}
					if tt.ours {
						want = client.ClosedStats{Timeout: 1}
						assert.Contains(t, err.Error(), "the timeout of the stream of ")
					}
					synctest.Wait() // a stream is closed beside who reads it
					assert.Equal(t, want, c.Stats().Closed)
				})
			})
		}
	}
}

// TestStreamTimeoutOfBuffered: frames that have come are delivered however late
// they are asked for; for one of which a part has come the time runs from then,
// and it runs for no other call.
func TestStreamTimeoutOfBuffered(t *testing.T) {
	const pause = 2 * time.Minute
	for _, tt := range []struct {
		name   string
		stream func(id uint64) []byte // in one piece
		chunks int
		took   time.Duration // from the last chunk
	}{
		{"half a header", func(id uint64) []byte {
			return frames(dirty.NewChunk(id, 1), dirty.NewChunk(id, 2), dirty.NewEnd(id))[:80]
		}, 2, time.Minute},
		{"half a payload", func(id uint64) []byte {
			b := frames(dirty.NewChunk(id, 1), dirty.NewChunk(id, 2))
			return b[:len(b)-1]
		}, 1, time.Minute},
		{"all", func(id uint64) []byte { return frames(dirty.NewChunk(id, 1), dirty.NewChunk(id, 2), dirty.NewEnd(id)) }, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipePeer(t, func(nc net.Conn) {
					if m, err := dirty.ReadMessage(nc); err == nil {
						_, _ = nc.Write(tt.stream(m.RequestID()))
						mute(nc)
					}
				})
				c := p.client(t, client.WithStreamTimeout(time.Minute), client.WithMaxIdle(1, time.Hour))
				s, err := c.OpenStream(context.Background(), app, "x")
				require.NoError(t, err)
				for range tt.chunks {
					_, err := s.Recv()
					require.NoError(t, err)
					time.Sleep(pause)
				}
				begin := time.Now()
				_, err = s.Recv()
				assert.Equal(t, tt.took, time.Since(begin))
				if tt.took > 0 {
					require.ErrorIs(t, err, client.ErrTimeout)
					return
				}
				require.Equal(t, io.EOF, err)
				_, err = c.Execute(context.Background(), app, "x")
				require.ErrorIs(t, err, client.ErrTimeout)
				assert.Equal(t, 30*time.Second, time.Since(begin), "the time of calls")
				assert.Equal(t, 1, p.connections())
			})
		})
	}
}

// TestStreamTimeoutOff: with it a silent stream lasts as long as its context.
func TestStreamTimeoutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPipePeer(t, mute).client(t, client.WithStreamTimeout(0))
		ctx, cancel := context.WithCancel(context.Background())
		defer time.AfterFunc(2*time.Hour, cancel).Stop()
		begin := time.Now()
		_, err := collect(c.Stream(ctx, app, "x"))
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 2*time.Hour, time.Since(begin))
	})
}

// TestSlowReader: the timeout of a stream is of the peer, not of who reads.
func TestSlowReader(t *testing.T) {
	for name, ahead := range map[string]int{"": 0, "a little ahead": 1, "far ahead": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPipePeer(t, answering(arbiter)).client(t, client.WithReadAhead(ahead))
				n := 0
				for v, err := range c.Stream(context.Background(), app, "count", 1, 2, 3, 4, 5) {
					require.NoError(t, err)
					n++
					assert.EqualValues(t, n, v)
					time.Sleep(2 * time.Minute)
				}
				assert.Equal(t, 5, n)
				assert.Zero(t, c.Stats().Closed.Timeout)
			})
		})
	}
}

// TestScaleTimeout: the client's timeout grows with the number of workers; the
// deadline of a context does not.
func TestScaleTimeout(t *testing.T) {
	for _, tt := range []struct {
		n       int
		timeout time.Duration
		context time.Duration
		took    time.Duration
	}{
		{1, 30 * time.Second, 0, 30*time.Second + 200*time.Millisecond},
		{256, 30 * time.Second, 0, 30*time.Second + 256*200*time.Millisecond},
		{50, time.Second, 0, 11 * time.Second},
		{100, time.Second, 2 * time.Second, 2 * time.Second},
		{100, 0, 2 * time.Minute, 2 * time.Minute},
	} {
		for name, call := range map[string]func(*client.Client, context.Context, int) (*client.ScaleResult, error){
			"add": (*client.Client).AddWorkers, "remove": (*client.Client).RemoveWorkers,
		} {
			t.Run(name+"/"+tt.took.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newPipePeer(t, mute).client(t, client.WithTimeout(tt.timeout))
					ctx := context.Background()
					if tt.context > 0 {
						var stop context.CancelFunc
						ctx, stop = context.WithTimeout(ctx, tt.context)
						defer stop()
					}
					begin := time.Now()
					_, err := call(c, ctx, tt.n)
					assert.Equal(t, tt.took, time.Since(begin))
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				})
			})
		}
	}
}
