package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBacklogFull: a full backlog is EAGAIN at once, which package net calls a
// timeout. It is tried again within the dial timeout, and is none.
func TestBacklogFull(t *testing.T) {
	for _, n := range []int{0, 1, 5, 10} {
		t.Run(fmt.Sprint(n, " times"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipePeer(t, answering(arbiter))
				left, begin := n, time.Now()
				c := newClient(t, client.WithSocket("x"), client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
					if left--; left >= 0 {
						return nil, dialError(syscall.EAGAIN)
					}
					return p.dial(ctx, path)
				}))
				require.NoError(t, c.Ping(context.Background()))
				assert.Less(t, time.Since(begin), 5*time.Second)
				s := c.Stats()
				assert.EqualValues(t, n, s.BacklogFull)
				assert.EqualValues(t, 1, s.Dials)
				assert.Zero(t, s.DialErrors+s.Retries)
			})
		})
	}
	for _, tt := range []struct {
		name  string
		opts  []client.Option
		ctx   time.Duration
		took  time.Duration
		fails bool // the dial, not the call
	}{
		{"for ever", nil, 0, 5 * time.Second, true},
		{"longer than the dial timeout", []client.Option{client.WithDialTimeout(time.Second)}, 0, time.Second, true},
		{"longer than the call's timeout", []client.Option{client.WithTimeout(2 * time.Second)}, 0, 2 * time.Second, false},
		{"longer than the context", nil, 3 * time.Second, 3 * time.Second, false},
	} {
		for _, op := range operations {
			if strings.HasPrefix(op.name, "manage") {
				continue // these have more time
			}
			t.Run(tt.name+"/"+op.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newClient(t, append(tt.opts, client.WithSocket("x"), client.WithDialer(func(context.Context, string) (net.Conn, error) {
						return nil, dialError(syscall.EAGAIN)
					}))...)
					ctx := context.Background()
					if tt.ctx > 0 {
						var stop context.CancelFunc
						ctx, stop = context.WithTimeout(ctx, tt.ctx)
						defer stop()
					}
					begin := time.Now()
					err := op.call(ctx, c)
					assert.Equal(t, tt.took, time.Since(begin))
					requireOp(t, err, client.StageDial, false)
					assert.ErrorIs(t, err, syscall.EAGAIN, "it says why")
					assert.True(t, client.SafeToRetry(err))
					assert.Equal(t, !tt.fails, timesOut(err), "%v", err)
					assert.Equal(t, tt.fails, errors.Is(err, client.ErrUnavailable), "%v", err)
					assert.Contains(t, err.Error(), "backlog")
					s := c.Stats()
					if tt.fails {
						assert.EqualValues(t, 1, s.DialErrors)
					}
					assert.GreaterOrEqual(t, s.BacklogFull, uint64(4))
					assert.LessOrEqual(t, s.BacklogFull, uint64(1000), "it does not spin")
				})
			})
		}
	}
}

// TestDialTimeout: it bounds a dial as a whole.
func TestDialTimeout(t *testing.T) {
	blocks := func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	full := func(d time.Duration) client.Dialer {
		var once sync.Once
		var begin time.Time
		return func(ctx context.Context, path string) (net.Conn, error) {
			once.Do(func() { begin = time.Now() })
			if time.Since(begin) < d {
				return nil, dialError(syscall.EAGAIN)
			}
			return blocks(ctx, path)
		}
	}
	for _, tt := range []struct {
		name string
		opts []client.Option
		took time.Duration
	}{
		{"by default", []client.Option{client.WithDialer(blocks)}, 5 * time.Second},
		{"the option", []client.Option{client.WithDialer(blocks), client.WithDialTimeout(time.Minute), client.WithTimeout(0)}, time.Minute},
		{"the resolver", []client.Option{client.WithResolver(func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})}, 5 * time.Second},
		{"a backlog that was full before", []client.Option{client.WithDialer(full(4 * time.Second))}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, append([]client.Option{client.WithSocket("x")}, tt.opts...)...)
				begin := time.Now()
				err := c.Ping(context.Background())
				assert.Equal(t, tt.took, time.Since(begin))
				requireOp(t, err, client.StageDial, false)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorIs(t, err, client.ErrTimeout)
				assert.True(t, timesOut(err))
				assert.True(t, client.SafeToRetry(err))
				assert.Contains(t, err.Error(), "dial timeout")
				assert.EqualValues(t, 1, c.Stats().DialErrors)
			})
		})
	}
}

// TestDialFails: what is neither a full backlog nor an absent arbiter is told
// at once, as it is.
func TestDialFails(t *testing.T) {
	long := "/tmp/" + strings.Repeat("x", 200)
	for name, tt := range map[string]struct {
		opts []client.Option
		want error
		text string
	}{
		"no permission": {[]client.Option{client.WithSocket("x"), client.WithDialer(func(context.Context, string) (net.Conn, error) {
			return nil, dialError(syscall.EACCES)
		})}, syscall.EACCES, "permission denied"},
		"no address":     {[]client.Option{client.WithResolver(func(context.Context) (string, error) { return "", errLeft })}, errLeft, ""},
		"no variable":    {nil, client.ErrNoSocket, "GUNICORN_DIRTY_SOCKET"},
		"an empty path":  {[]client.Option{client.WithSocket("")}, client.ErrNoSocket, "empty"},
		"a path so long": {[]client.Option{client.WithSocket(long)}, nil, "205 bytes, at most 107"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(client.EnvSocket, "")
			c := newClient(t, append(tt.opts, client.WithWaitForServer(time.Minute))...)
			begin := time.Now()
			err := c.Ping(context.Background())
			assert.Less(t, time.Since(begin), within)
			requireOp(t, err, client.StageDial, false)
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
			}
			assert.Contains(t, err.Error(), tt.text)
			assert.NotErrorIs(t, err, client.ErrUnavailable)
			assert.False(t, timesOut(err))
			s := c.Stats()
			assert.EqualValues(t, 1, s.DialErrors)
			assert.Zero(t, s.BacklogFull)
		})
	}
}
