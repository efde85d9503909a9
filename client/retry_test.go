package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// retries are what a tracer is told of attempts.
type retries struct {
	mu       sync.Mutex
	attempts []int
	errs     []error
}

func (r *retries) tracer() client.Tracer {
	return client.Tracer{Retry: func(_ context.Context, _ client.Operation, attempt int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.attempts, r.errs = append(r.attempts, attempt), append(r.errs, err)
	}}
}

// TestRetry is the table of what the client does again by itself: by what
// becomes of the request, on a kept connection and on a new one, and whether the
// call changes anything.
func TestRetry(t *testing.T) {
	const (
		no     = iota
		reads  // only a call that changes nothing
		always // every call
	)
	reply := func(f func(c *dirty.Conn, id uint64) error) func(*dirty.Conn) {
		return func(c *dirty.Conn) {
			if m, err := c.ReadMessage(); err == nil && f(c, m.RequestID()) == nil {
				mute(c.NetConn())
			}
		}
	}
	for _, tt := range []struct {
		name    string
		fault   func(c *dirty.Conn) // once
		kept    int
		unknown bool
		is      error
		stage   client.Stage
	}{
		{"dead before it is written", func(*dirty.Conn) {}, always, false, nil, client.StageWrite},
		{"dead before it is written whole", func(c *dirty.Conn) {
			_, _ = io.ReadFull(c.NetConn(), make([]byte, 5))
		}, always, false, nil, client.StageWrite},
		{"at its end after it was written", func(c *dirty.Conn) { _, _ = c.ReadMessage() }, reads, true, io.ErrUnexpectedEOF, client.StageRead},
		{"at its end in the reply", reply(func(c *dirty.Conn, id uint64) error {
			_, _ = c.NetConn().Write(frames(dirty.NewEnd(id))[:5])
			return io.EOF
		}), no, true, io.ErrUnexpectedEOF, client.StageRead},
		{"at its end in the payload", reply(func(c *dirty.Conn, id uint64) error {
			_, _ = c.NetConn().Write(frames(dirty.NewResponse(id, "text"))[:20])
			return io.EOF
		}), no, true, io.ErrUnexpectedEOF, client.StageRead},
		{"a foreign id", reply(func(c *dirty.Conn, id uint64) error {
			return c.WriteMessage(dirty.NewResponse(id+1, nil))
		}), no, true, client.ErrIDMismatch, client.StageRead},
		{"no frame", reply(func(c *dirty.Conn, _ uint64) error {
			_, err := c.NetConn().Write(make([]byte, 100))
			return err
		}), no, true, dirty.ErrBadMagic, client.StageRead},
		{"an error reply", reply(func(c *dirty.Conn, id uint64) error {
			return c.WriteMessage(dirty.NewErrorReply(id, dirty.ErrNoWorkers))
		}), no, false, dirty.ErrNoWorkers, client.StageRead},
		{"a timeout", func(c *dirty.Conn) { mute(c.NetConn()) }, no, true, client.ErrTimeout, client.StageRead},
	} {
		for _, op := range operations {
			if op.name == "forward" && tt.is == dirty.ErrNoWorkers { // to which it is an answer
				continue
			}
			for answered, kept := range []string{"new", "kept"} {
				t.Run(tt.name+"/"+op.name+"/"+kept, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var once sync.Once
						p := newPipePeer(t, func(nc net.Conn) {
							c, faulty := dirty.NewConn(nc), false
							once.Do(func() { faulty = true })
							for range answered {
								if m, err := c.ReadMessage(); err != nil || arbiter(c, m) != nil {
									return
								}
							}
							if faulty {
								tt.fault(c)
								return
							}
							answering(arbiter)(nc)
						})
						tracer := &retries{}
						c := p.client(t, client.WithTracer(tracer.tracer()))
						for range answered {
							require.NoError(t, c.Ping(context.Background()))
						}
						err := op.call(context.Background(), c)
						s := c.Stats()
						if answered == 1 && (tt.kept == always || tt.kept == reads && op.reads) {
							require.NoError(t, err)
							assert.EqualValues(t, 1, s.Retries)
							assert.Equal(t, []int{2}, tracer.attempts)
							requireOp(t, tracer.errs[0], tt.stage, tt.stage == client.StageRead)
							assert.Equal(t, client.ClosedStats{Failed: 1}, s.Closed)
							return
						}
						if tt.stage == client.StageWrite {
							requireOp(t, err, client.StageWrite, false)
							assert.True(t, client.SafeToRetry(err))
						} else {
							requireOp(t, err, tt.stage, true)
							remote := errors.Is(err, dirty.ErrNoWorkers)
							assert.Equal(t, op.reads || remote, client.SafeToRetry(err), "%v", err)
						}
						requireIs(t, err, orAny(tt.is, err))
						assert.Equal(t, tt.unknown && !op.reads, isUnknown(err), "%v", err)
						assert.Zero(t, s.Retries)
						assert.Empty(t, tracer.attempts)
					})
				})
			}
		}
	}
}

// orAny is want, or err itself if anything will do.
func orAny(want, err error) error {
	if want == nil {
		return err
	}
	return want
}

// TestRetryReset: a reset is an end like EOF.
func TestRetryReset(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			var once sync.Once
			p := newPeer(t, func(nc net.Conn) {
				faulty := false
				once.Do(func() { faulty = true })
				if !faulty {
					answering(arbiter)(nc)
					return
				}
				m, err := dirty.ReadMessage(nc)
				if err == nil && arbiter(dirty.NewConn(nc), m) == nil {
					_, _ = io.ReadFull(nc, make([]byte, 5)) // the rest is lost
				}
			})
			c := p.client(t)
			require.NoError(t, c.Ping(context.Background()))
			err := op.call(context.Background(), c)
			if op.reads {
				require.NoError(t, err)
				assert.EqualValues(t, 1, c.Stats().Retries)
				return
			}
			require.ErrorIs(t, err, syscall.ECONNRESET)
			requireOp(t, err, client.StageRead, true)
			assert.True(t, isUnknown(err))
			assert.Zero(t, c.Stats().Retries)
		})
	}
}

// TestRetryOnce: there is no third attempt, and the kept connections are not
// tried one after the other.
func TestRetryOnce(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			var dying atomic.Bool
			p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if dying.Load() {
					return io.EOF
				}
				return arbiter(c, m)
			}))
			tracer := &retries{}
			c := p.client(t, client.WithTracer(tracer.tracer()))
			idleConns(t, c, 5)
			dying.Store(true)
			p.cut()
			err := op.call(context.Background(), c)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			requireOp(t, err, client.StageRead, true)
			assert.Equal(t, []int{2}, tracer.attempts)
			s := c.Stats()
			assert.EqualValues(t, 1, s.Retries)
			assert.EqualValues(t, 4, s.Closed.Dead, "the others are dropped")
		})
	}
}

// TestRetryThatFails: what is returned is the error of the second attempt.
func TestRetryThatFails(t *testing.T) {
	p := newPipePeer(t, answering(arbiter))
	dials := 0
	c := newClient(t, client.WithSocket("x"), client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, dialError(syscall.ENOENT)
		}
		return p.dial(ctx, path)
	}))
	require.NoError(t, c.Ping(context.Background()))
	p.cut()
	err := c.Stash("t").Put(context.Background(), "k", 1)
	require.ErrorIs(t, err, client.ErrUnavailable)
	requireOp(t, err, client.StageDial, false)
	assert.True(t, client.SafeToRetry(err))
	assert.EqualValues(t, 1, c.Stats().Retries)
}

// refusing answers the first n requests with an error, and later ones as an
// arbiter does. It counts the requests.
func refusing(n int, err error, requests *int) func(net.Conn) {
	return answering(func(c *dirty.Conn, m dirty.Message) error {
		if *requests++; *requests <= n {
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), err))
		}
		return arbiter(c, m)
	})
}

// TestWithRetry: how often calls and streams are repeated, and for which errors.
func TestWithRetry(t *testing.T) {
	died := &dirty.RemoteError{Type: dirty.ClassWorker, Message: "Worker communication failed: [Errno 111] Connection refused"}
	for _, tt := range []struct {
		name     string
		retry    client.Retry
		fails    int
		err      error
		requests int
		ok       bool
		longest  time.Duration // all pauses
	}{
		{"by default", client.Retry{}, 2, dirty.ErrNoWorkers, 3, true, 300 * time.Millisecond},
		{"not more often", client.Retry{}, 3, dirty.ErrNoWorkers, 3, false, 300 * time.Millisecond},
		{"a worker that died", client.Retry{}, 2, died, 3, true, 300 * time.Millisecond},
		{"a misspelt app", client.Retry{Attempts: 5}, math.MaxInt, dirty.ErrNoWorkers, 5, false, 1500 * time.Millisecond},
		{"as often as possible", client.Retry{Attempts: client.MaxAttempts, Pause: time.Millisecond, MaxPause: time.Millisecond}, 99, dirty.ErrNoWorkers, 100, true, 100 * time.Millisecond},
		{"within the bound of the call", client.Retry{Attempts: client.MaxAttempts}, math.MaxInt, dirty.ErrNoWorkers, -1, false, 30 * time.Second},
		{"not if it is off", client.Retry{Attempts: 1}, 1, dirty.ErrNoWorkers, 1, false, 0},
		{"not what an app raised", client.Retry{}, 1, errors.New("boom"), 1, false, 0},
		{"not a timeout of the peer", client.Retry{}, 1, dirty.ErrPeerTimeout, 1, false, 0},
		{"the longest pauses", client.Retry{Pause: math.MaxInt64, MaxPause: math.MaxInt64}, 1, dirty.ErrNoWorkers, 1, false, 0},
	} {
		for name, call := range intercepted {
			for _, opts := range [][]client.Option{nil, {client.WithInterceptor(passOn)}} {
				t.Run(fmt.Sprint(tt.name, "/", name, "/", len(opts)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						requests := 0
						tracer := &retries{}
						c := newPipePeer(t, refusing(tt.fails, tt.err, &requests)).client(t,
							append(opts, client.WithRetry(tt.retry), client.WithTracer(tracer.tracer()))...)
						begin := time.Now()
						got, err := call(context.Background(), c, 1)
						assert.LessOrEqual(t, time.Since(begin), tt.longest)
						if tt.requests > 0 {
							assert.Equal(t, tt.requests, requests)
						}
						assert.Len(t, tracer.attempts, requests-1)
						assert.EqualValues(t, requests-1, c.Stats().Retries)
						if tt.ok {
							require.NoError(t, err)
							assert.Equal(t, []any{int64(1)}, got)
							return
						}
						var remote *dirty.RemoteError
						require.ErrorAs(t, err, &remote)
					})
				})
			}
		}
	}
}

// TestWithRetryOfDials: an arbiter that restarts.
func TestWithRetryOfDials(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipePeer(t, answering(arbiter))
				begin := time.Now()
				c := newClient(t, client.WithSocket("x"), client.WithRetry(client.Retry{Attempts: 50}),
					client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
						if time.Since(begin) < 5*time.Second {
							return nil, dialError(syscall.ENOENT)
						}
						return p.dial(ctx, path)
					}))
				require.NoError(t, op.call(context.Background(), c))
				assert.LessOrEqual(t, time.Since(begin), 7*time.Second)
			})
		})
	}
}

// TestWithRetryAfterChunk: a stream is not repeated once it has begun.
func TestWithRetryAfterChunk(t *testing.T) {
	requests := 0
	p := newPeer(t, sending(func(id uint64) []byte {
		requests++
		return frames(dirty.NewChunk(id, 1), dirty.NewErrorReply(id, dirty.ErrNoWorkers))
	}))
	got, err := collect(p.client(t, client.WithRetry(client.Retry{})).Stream(context.Background(), app, "x"))
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	assert.Equal(t, []any{int64(1)}, got)
	assert.Equal(t, 1, requests)
}

// TestWithRetryEnds: a pause ends with the context and with the client.
func TestWithRetryEnds(t *testing.T) {
	for how, end := range map[string]func(c *client.Client, cancel func()){
		"cancel": func(_ *client.Client, cancel func()) { cancel() },
		"close":  func(c *client.Client, _ func()) { _ = c.Close() },
	} {
		for name, call := range intercepted {
			t.Run(how+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					requests := 0
					c := newPipePeer(t, refusing(math.MaxInt, dirty.ErrNoWorkers, &requests)).client(t, client.WithTimeout(0),
						client.WithRetry(client.Retry{Attempts: 100, Pause: 1000 * time.Hour, MaxPause: 1000 * time.Hour}))
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					done := async(func() error { _, err := call(ctx, c, 1); return err })
					synctest.Wait()
					begin := time.Now()
					end(c, cancel)
					require.Error(t, <-done)
					assert.Zero(t, time.Since(begin))
				})
			})
		}
	}
}
