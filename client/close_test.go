package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestClose: wherever a call is, Close ends it at once, and says so; afterwards
// nothing is left.
func TestClose(t *testing.T) {
	for name, call := range calls {
		for _, step := range steps(call) {
			t.Run(name+"/"+step.name, func(t *testing.T) {
				c, p, done := step.begin(t, context.Background())
				begin := time.Now()
				require.NoError(t, c.Close())
				err := receive(t, "the call", done)
				assert.Less(t, time.Since(begin), within)
				require.ErrorIs(t, err, client.ErrClosed)
				requireOp(t, err, step.stage, step.sent)
				assert.NotErrorIs(t, err, context.Canceled)
				assert.False(t, client.SafeToRetry(err))
				assert.Equal(t, step.sent, isUnknown(err), "%v", err)
				assert.False(t, timesOut(err))
				requireQuiet(t, c)
				await(t, "the peer sees it", func() bool { return p.open() == 0 })
				s := c.Stats()
				assert.Zero(t, s.Idle+int(s.Retries))
				if step.stage == client.StageWrite || step.stage == client.StageRead {
					assert.Equal(t, client.ClosedStats{Shutdown: 1}, s.Closed)
				}
			})
		}
	}
}

// TestCloseStreams: streams that nobody reads end as well.
func TestCloseStreams(t *testing.T) {
	for _, tt := range unreadStreams {
		t.Run(tt.name, func(t *testing.T) {
			p, c, s := tt.open(t, context.Background())
			require.NoError(t, c.Close())
			assert.Empty(t, goroutinesLeft())
			await(t, "the peer sees it", func() bool { return p.open() == 0 })
			var err error
			for err == nil { // what was read ahead may come first
				_, err = s.Recv()
			}
			require.ErrorIs(t, err, client.ErrClosed)
			requireOp(t, err, client.StageRead, true)
			assert.NoError(t, s.Close())
			requireQuiet(t, c)
		})
	}
}

// TestCloseTwice: it is idempotent, also concurrently.
func TestCloseTwice(t *testing.T) {
	p := newPeer(t, mute)
	c := p.client(t)
	done := async(func() error { return c.Ping(context.Background()) })
	await(t, "it is sent", func() bool { return c.Stats().InUse == 1 })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { assert.NoError(t, c.Close()) })
	}
	wg.Wait()
	assert.ErrorIs(t, receive(t, "the call", done), client.ErrClosed)
	assert.NoError(t, c.Close())
}

// TestClosed: a closed client refuses everything, before anything is done.
func TestClosed(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	for name, end := range map[string]func(c *client.Client) error{
		"close":    (*client.Client).Close,
		"shutdown": func(c *client.Client) error { return c.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			c := p.client(t)
			require.NoError(t, c.Ping(context.Background()))
			require.NoError(t, end(c))
			for _, op := range operations {
				err := op.call(context.Background(), c)
				require.ErrorIs(t, err, client.ErrClosed, op.name)
				requireOp(t, err, client.StagePrepare, false)
				assert.False(t, client.SafeToRetry(err))
				assert.False(t, isUnknown(err))
			}
			await(t, "the idle connection is closed", func() bool { return p.open() == 0 })
			s := c.Stats()
			assert.Equal(t, client.ClosedStats{Shutdown: 1}, s.Closed)
			assert.EqualValues(t, 1, s.Calls)
			assert.NoError(t, end(c))
			assert.Equal(t, client.DefaultMaxConns, c.Config().MaxConns, "it can still be asked")
		})
	}
}

// TestShutdown: it waits for calls that go on, those that wait for a connection
// included, and for streams; meanwhile it refuses new ones.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			if r, ok := m.(*dirty.Request); ok && r.Action == "slow" {
				time.Sleep(9 * time.Second)
			}
			return arbiter(c, m)
		}))
		c := p.client(t, client.WithMaxConns(3))
		idleConns(t, c, 2)
		s, err := c.OpenStream(context.Background(), app, "count", 1, 2)
		require.NoError(t, err)
		begin := time.Now()
		var slow [5]<-chan error
		for i := range slow {
			slow[i] = async(func() error {
				_, err := c.Execute(context.Background(), app, "slow")
				return err
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)

		ended := async(func() error { return c.Shutdown(context.Background()) })
		synctest.Wait()
		assert.ErrorIs(t, c.Ping(context.Background()), client.ErrClosed)
		_, err = c.OpenStream(context.Background(), app, "count")
		assert.ErrorIs(t, err, client.ErrClosed)
		second := async(func() error { return c.Shutdown(context.Background()) })

		for i, done := range slow {
			assert.NoError(t, <-done, "call %d", i)
		}
		assert.Equal(t, 27*time.Second, time.Since(begin), "2 at a time")
		synctest.Wait()
		assert.Empty(t, ended, "the stream is open")
		time.Sleep(5 * time.Second)
		got, err := collect(s.All())
		require.NoError(t, err)
		assert.Equal(t, []any{int64(1), int64(2)}, got)
		assert.NoError(t, <-ended)
		assert.NoError(t, <-second)
		assert.Equal(t, 32*time.Second, time.Since(begin))
		stats := c.Stats()
		assert.Zero(t, stats.Idle+stats.InUse)
	})
}

// TestShutdownKeepsNothing: a connection that comes back while nobody waits is
// closed at once: gunicorn may be waiting for that.
func TestShutdownKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipePeer(t, answering(arbiter))
		c := p.client(t)
		idleConns(t, c, 3)
		s, err := c.OpenStream(context.Background(), app, "count")
		require.NoError(t, err)
		other, err := c.OpenStream(context.Background(), app, "count")
		require.NoError(t, err)
		ended := async(func() error { return c.Shutdown(context.Background()) })
		synctest.Wait()
		assert.Equal(t, 2, p.open(), "the idle one is gone")
		_, err = collect(s.All())
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, 1, p.open())
		require.NoError(t, other.Close())
		require.NoError(t, <-ended)
		synctest.Wait()
		assert.Zero(t, p.open())
	})
}

// TestShutdownInTime: when its context ends what goes on is cut off.
func TestShutdownInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPipePeer(t, mute).client(t)
		call := async(func() error { return c.Ping(context.Background()) })
		s, err := c.OpenStream(context.Background(), app, "x")
		require.NoError(t, err)
		synctest.Wait()
		begin := time.Now()
		ctx, stop := context.WithTimeoutCause(context.Background(), 5*time.Second, errLeft)
		defer stop()
		err = c.Shutdown(ctx)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, errLeft)
		assert.ErrorIs(t, <-call, client.ErrClosed)
		_, err = s.Recv()
		assert.ErrorIs(t, err, client.ErrClosed)
		assert.NoError(t, c.Close())
		assert.NoError(t, c.Shutdown(context.Background()), "nothing goes on")
	})
}

// TestCloseDuringShutdown: Close does not wait for what Shutdown waits for.
func TestCloseDuringShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPipePeer(t, mute).client(t)
		call := async(func() error { return c.Ping(context.Background()) })
		synctest.Wait()
		ended := async(func() error { return c.Shutdown(context.Background()) })
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, c.Close())
		assert.ErrorIs(t, <-call, client.ErrClosed)
		assert.NoError(t, <-ended)
		assert.Zero(t, time.Since(begin))
	})
}

// TestCloseEndsPauses: those between the attempts of a dial, and of WaitReady.
func TestCloseEndsPauses(t *testing.T) {
	for name, call := range map[string]func(c *client.Client) error{
		"call":  func(c *client.Client) error { return c.Ping(context.Background()) },
		"ready": func(c *client.Client) error { return c.WaitReady(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, client.WithSocket(shortTempDir(t)+"/s"), client.WithWaitForServer(time.Hour), client.WithTimeout(0))
			done := async(func() error { return call(c) })
			await(t, "it pauses", func() bool { return c.Stats().BacklogFull > 3 })
			begin := time.Now()
			require.NoError(t, c.Close())
			err := receive(t, "the call", done)
			assert.Less(t, time.Since(begin), within)
			assert.ErrorIs(t, err, client.ErrClosed)
			assert.False(t, errors.Is(err, client.ErrUnavailable), "%v", err)
		})
	}
}

// TestCloseInside: from code of the caller's that a call runs.
func TestCloseInside(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	t.Run("a loop", func(t *testing.T) {
		for name, ahead := range aheads {
			c := p.client(t, client.WithReadAhead(ahead))
			n := 0
			for _, err := range c.Stream(context.Background(), app, "count", 1, 2, 3) {
				if n++; n == 1 {
					require.NoError(t, err)
					require.NoError(t, c.Close())
					continue
				}
				require.ErrorIs(t, err, client.ErrClosed, name)
			}
			assert.Equal(t, 2, n)
		}
	})
	for _, op := range operations {
		t.Run("before "+op.name, func(t *testing.T) {
			var c *client.Client
			c = p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				assert.NoError(t, c.Close())
				return next(ctx)
			}))
			err := op.call(context.Background(), c)
			require.ErrorIs(t, err, client.ErrClosed)
			requireOp(t, err, client.StageWait, false)
		})
		t.Run("after "+op.name, func(t *testing.T) {
			var c *client.Client
			c = p.client(t, client.WithReadAhead(1000), client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				err := next(ctx)
				assert.NoError(t, c.Close())
				return err
			}))
			err := op.call(context.Background(), c)
			require.NoError(t, err, "it was answered")
		})
	}
}
