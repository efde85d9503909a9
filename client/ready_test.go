package client_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// worker is a worker as a status has it.
func worker(age int, heartbeat any, apps ...any) any {
	return map[string]any{"pid": 100 + age, "age": age, "apps": apps, "booted": false, "last_heartbeat": heartbeat}
}

const unborn = -1.795e9 // the heartbeat of a worker that has not booted

// starting is a peer whose status depends on the time since its start; an error
// refuses the connection, nil leaves the question without an answer.
func starting(t *testing.T, at func(since time.Duration) any, opts ...client.Option) *client.Client {
	begin := time.Now()
	p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		switch state := at(time.Since(begin)).(type) {
		case []any:
			return c.WriteMessage(dirty.NewResponse(m.RequestID(), map[string]any{
				"arbiter_pid": 1, "workers": state, "apps": []any{"a:A", "b:B"},
			}))
		case *dirty.RemoteError:
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), state))
		}
		return nil
	}))
	dial := func(ctx context.Context, path string) (net.Conn, error) {
		if err, ok := at(time.Since(begin)).(syscall.Errno); ok {
			return nil, dialError(err)
		}
		return p.dial(ctx, path)
	}
	return newClient(t, append([]client.Option{client.WithSocket("x"), client.WithDialer(dial)}, opts...)...)
}

// TestWaitReady: what it waits for.
func TestWaitReady(t *testing.T) {
	both := []any{worker(1, 0.1, "a:A"), worker(2, 0.1, "b:B")}
	for _, tt := range []struct {
		name string
		at   func(since time.Duration) any
		apps []string
		took time.Duration // within half a second more
	}{
		{"it is", func(time.Duration) any { return both }, []string{"a:A", "b:B"}, 0},
		{"any", func(time.Duration) any { return both[1:] }, nil, 0},
		{"the socket comes later", func(since time.Duration) any {
			switch {
			case since < time.Second:
				return syscall.ENOENT
			case since < 2*time.Second:
				return syscall.ECONNREFUSED
			}
			return both
		}, nil, 2 * time.Second},
		{"the first worker comes later", func(since time.Duration) any {
			if since < 3*time.Second {
				return []any{}
			}
			return both
		}, nil, 3 * time.Second},
		{"it boots for long", func(since time.Duration) any {
			if since < 7*time.Second {
				return []any{worker(1, unborn, "a:A")}
			}
			return both
		}, nil, 7 * time.Second},
		{"of one app it does", func(since time.Duration) any {
			if since < 4*time.Second {
				return []any{both[0], worker(2, unborn, "b:B")}
			}
			return both
		}, []string{"a:A", "b:B"}, 4 * time.Second},
		{"another app does not matter", func(time.Duration) any {
			return []any{both[0], worker(2, unborn, "b:B")}
		}, []string{"a:A"}, 0},
		{"an error passes", func(since time.Duration) any {
			if since < time.Second {
				return &dirty.RemoteError{Type: "DirtyError", Message: "not yet"}
			}
			return both
		}, nil, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := starting(t, tt.at)
				begin := time.Now()
				require.NoError(t, c.WaitReady(context.Background(), tt.apps...))
				took := time.Since(begin)
				assert.GreaterOrEqual(t, took, tt.took)
				assert.LessOrEqual(t, took, tt.took+500*time.Millisecond)
			})
		})
	}
}

// TestNeverReady: when time is up it says what is missing.
func TestNeverReady(t *testing.T) {
	cause := errors.New("the deploy was stopped")
	for _, tt := range []struct {
		name string
		at   func(since time.Duration) any
		apps []string
		text string
		is   error
	}{
		{"no socket", func(time.Duration) any { return syscall.ENOENT }, nil, "no such file", syscall.ENOENT},
		{"no worker", func(time.Duration) any { return []any{} }, nil, "no worker has booted", nil},
		{"none of the app", func(time.Duration) any { return []any{worker(1, 0.1, "a:A")} }, []string{"a:A", "x:X"}, `no worker of "x:X" has booted`, nil},
		{"a crash loop", func(since time.Duration) any {
			age := int(since / (4 * time.Millisecond)) // 250 workers a second
			return []any{worker(age, unborn, "a:A"), worker(age+1, unborn, "a:A")}
		}, []string{"a:A"}, "they crash at boot", nil},
		{"no answer", func(time.Duration) any { return nil }, nil, "status", nil},
		{"an error", func(time.Duration) any { return &dirty.RemoteError{Type: "DirtyError", Message: "never"} }, nil, "never", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, bound := range map[string]struct {
				took time.Duration
				is   []error
				not  []error
				ctx  func() (context.Context, context.CancelFunc)
			}{
				"the timeout": {30 * time.Second, []error{client.ErrTimeout, context.DeadlineExceeded}, nil, func() (context.Context, context.CancelFunc) {
					return context.WithCancel(context.Background())
				}},
				"a deadline": {50 * time.Second, []error{context.DeadlineExceeded, cause}, []error{client.ErrTimeout}, func() (context.Context, context.CancelFunc) {
					return context.WithTimeoutCause(context.Background(), 50*time.Second, cause)
				}},
				"a cancel": {5 * time.Second, []error{context.Canceled, cause}, []error{client.ErrTimeout, context.DeadlineExceeded}, func() (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancelCause(context.Background())
					timer := time.AfterFunc(5*time.Second, func() { cancel(cause) })
					return ctx, func() { timer.Stop(); cancel(nil) }
				}},
			} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := starting(t, tt.at)
						ctx, cancel := bound.ctx()
						defer cancel()
						begin := time.Now()
						err := c.WaitReady(ctx, tt.apps...)
						assert.Equal(t, bound.took, time.Since(begin))
						require.ErrorIs(t, err, client.ErrUnavailable)
						for _, is := range bound.is {
							assert.ErrorIs(t, err, is)
						}
						for _, not := range bound.not {
							assert.NotErrorIs(t, err, not)
						}
						if tt.is != nil {
							assert.ErrorIs(t, err, tt.is)
						}
						assert.Contains(t, err.Error(), tt.text)
						op := requireOp(t, err, client.StageWait, false)
						assert.True(t, op.ReadOnly())
						assert.False(t, isUnknown(err))
						assert.Equal(t, name != "a cancel", timesOut(err))
					})
				})
			}
		})
	}
}

// TestNeverReadyForGood: what waiting does not cure is returned at once.
func TestNeverReadyForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := newPipePeer(t, jsonArbiter)
		err := p.client(t).WaitReady(context.Background())
		require.ErrorIs(t, err, client.ErrUnsupportedPeer)

		t.Setenv(client.EnvSocket, "")
		err = newClient(t).WaitReady(context.Background())
		require.ErrorIs(t, err, client.ErrNoSocket)

		c := newPipePeer(t, answering(arbiter)).client(t)
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.WaitReady(context.Background()), client.ErrClosed)
		assert.Zero(t, time.Since(begin))
	})
}
