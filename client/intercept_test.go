package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errPolicy = errors.New("the policy says no")

// intercepted are the kinds of calls that interceptors can tell apart: what an
// echo of the arguments gives.
var intercepted = map[string]func(ctx context.Context, c *client.Client, args ...any) (any, error){
	"call": func(ctx context.Context, c *client.Client, args ...any) (any, error) {
		return c.Execute(ctx, app, "echo", args...)
	},
	"stream": func(ctx context.Context, c *client.Client, args ...any) (any, error) {
		got, err := collect(c.Stream(ctx, app, "count", args...))
		if got == nil || err != nil {
			return nil, err
		}
		return got, nil
	},
}

// TestInterceptors: the first one given is the outermost; they see which call
// it is, its error, and their context is that of the call.
func TestInterceptors(t *testing.T) {
	type key struct{}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			var order []string
			around := func(name string) client.Option {
				return client.WithInterceptor(func(ctx context.Context, got *client.CallInfo, next func(context.Context) error) error {
					assert.Equal(t, op.name, got.Name)
					assert.Equal(t, op.reads, got.ReadOnly())
					assert.NotNil(t, got.Kwargs)
					seen, _ := ctx.Value(key{}).(string)
					order = append(order, seen+name+" begins")
					err := next(context.WithValue(ctx, key{}, seen+name+"/"))
					order = append(order, name+" ends")
					return err
				})
			}
			p := newPeer(t, answering(arbiter))
			c := p.client(t, around("a"), around("b"))
			require.NoError(t, op.call(context.Background(), c))
			assert.Equal(t, []string{"a begins", "a/b begins", "b ends", "a ends"}, order)
		})
	}
}

// TestInterceptorArguments: they can be changed for an attempt, the caller's stay
// as they are, and each interceptor has its own.
func TestInterceptorArguments(t *testing.T) {
	ctx := context.Background()
	c, asked := asking(t, func(dirty.Message) any { return nil },
		client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
			assert.Equal(t, []any{1, "two"}, call.Args)
			call.Args[0] = 10
			call.Kwargs["trace"] = "abc"
			call.App = "another:App"
			err := next(ctx)
			assert.Equal(t, []any{10, "two"}, call.Args, "the inner one has its own")
			assert.NotContains(t, call.Kwargs, "inner")
			return err
		}),
		client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
			assert.Equal(t, []any{10, "two"}, call.Args)
			assert.Equal(t, app, call.App)
			call.Args = append(call.Args[:1], 3)
			call.Kwargs["inner"] = true
			return next(ctx)
		}))
	args, kwargs := []any{1, "two", client.Kwargs{"k": 1}}, client.Kwargs{"k": 1}
	want := &dirty.Request{AppPath: app, Action: "act", Args: []any{int64(10), int64(3)}, Kwargs: map[string]any{"k": int64(1), "trace": "abc", "inner": true}}
	for range 2 {
		_, err := c.Execute(ctx, app, "act", args...)
		require.NoError(t, err)
		requireAsked(t, want, asked)
		_, err = collect(c.Stream(ctx, app, "act", args...))
		require.NoError(t, err)
		requireAsked(t, want, asked)
		assert.Equal(t, []any{1, "two", kwargs}, args)
	}
}

// TestInterceptorMisplacesKwargs: kwargs among the arguments would become a dict.
func TestInterceptorMisplacesKwargs(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, call *client.CallInfo, next func(context.Context) error) error {
		call.Args = append(call.Args, client.Kwargs{"a": 1})
		return next(ctx)
	}))
	for name, call := range intercepted {
		_, err := call(context.Background(), c, 1)
		require.ErrorIs(t, err, client.ErrInvalidArgument, name)
		requireOp(t, err, client.StagePrepare, false)
	}
	assert.Zero(t, p.connections())
}

// TestInterceptorContext: what it passes is the context of the call.
func TestInterceptorContext(t *testing.T) {
	p := newPeer(t, mute)
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errLeft)
		return next(ctx)
	}))
	for _, op := range operations {
		err := op.call(context.Background(), c)
		require.ErrorIs(t, err, errLeft, op.name)
		requireOp(t, err, client.StagePrepare, false)
	}
}

// TestInterceptorRefuses: without a call of next nothing is sent.
func TestInterceptorRefuses(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(context.Context, *client.CallInfo, func(context.Context) error) error { return errPolicy }))
	for _, op := range operations {
		assert.ErrorIs(t, op.call(context.Background(), c), errPolicy, op.name)
	}
	assert.Zero(t, p.connections())

	// Nor a result: that of a call is the zero value, a stream cannot be had.
	c = p.client(t, client.WithInterceptor(func(context.Context, *client.CallInfo, func(context.Context) error) error { return nil }))
	n, err := client.Call[int](context.Background(), c, app, "echo", 1)
	require.NoError(t, err)
	assert.Zero(t, n)
	s, err := c.OpenStream(context.Background(), app, "count")
	require.Error(t, err)
	assert.Nil(t, s)
	assert.Zero(t, p.connections())
}

// TestInterceptorErrors: its own error takes the place of a success, of which
// nothing is left; that of a stream comes at its end.
func TestInterceptorErrors(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithMaxConns(1), client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
		return errors.Join(next(ctx), errPolicy)
	}))
	for range 3 {
		v, err := c.Execute(context.Background(), app, "echo", 1)
		require.ErrorIs(t, err, errPolicy)
		assert.Nil(t, v)
		got, err := collect(c.Stream(context.Background(), app, "count", 1, 2))
		require.ErrorIs(t, err, errPolicy)
		assert.Equal(t, []any{int64(1), int64(2)}, got)
		requireQuiet(t, c)
	}
	assert.Equal(t, 1, p.connections())
}

// TestInterceptorSpansStream: an interceptor that limits calls limits streams,
// however they end: its return comes before the end of the loop.
func TestInterceptorSpansStream(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			var inside atomic.Int32
			var seen error
			p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if m.(*dirty.Request).Action == "endless" {
					return endless(c, m)
				}
				return arbiter(c, m)
			}))
			c := p.client(t, client.WithReadAhead(ahead), client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				inside.Add(1)
				defer inside.Add(-1)
				err := next(ctx)
				seen = err
				return err
			}))
			for _, tt := range []struct {
				name   string
				action string
				run    func(ctx context.Context, cancel func(), s *client.Stream) error
				want   error
			}{
				{"to the end", "count", func(_ context.Context, _ func(), s *client.Stream) error {
					_, err := collect(s.All())
					return err
				}, nil},
				{"an error", "raise", func(_ context.Context, _ func(), s *client.Stream) error {
					_, err := collect(s.All())
					return err
				}, dirty.ErrApp},
				{"left", "endless", func(_ context.Context, _ func(), s *client.Stream) error {
					for range s.All() {
						assert.EqualValues(t, 1, inside.Load())
						break
					}
					_, err := s.Recv()
					return err
				}, client.ErrStreamClosed},
				{"cancelled", "endless", func(_ context.Context, cancel func(), s *client.Stream) error {
					cancel()
					var err error
					for err == nil {
						_, err = s.Recv()
					}
					await(t, "the interceptor returns", func() bool { return inside.Load() == 0 })
					return err
				}, context.Canceled},
			} {
				ctx, cancel := context.WithCancel(context.Background())
				s, err := c.OpenStream(ctx, app, tt.action, 1, 2)
				require.NoError(t, err, tt.name)
				requireIs(t, tt.run(ctx, cancel, s), tt.want)
				assert.Zero(t, inside.Load(), tt.name)
				requireIs(t, seen, tt.want)
				cancel()
				require.NoError(t, s.Close())
			}
		})
	}
}

// TestInterceptorMapsEnd: the reader of a stream gets what the interceptor makes
// of its end, again and again.
func TestInterceptorMapsEnd(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
		if err := next(ctx); errors.Is(err, dirty.ErrApp) {
			return errPolicy
		}
		return nil
	}))
	s, err := c.OpenStream(context.Background(), app, "raise")
	require.NoError(t, err)
	for range 2 {
		_, err = s.Recv()
		require.ErrorIs(t, err, errPolicy)
	}
	s, err = c.OpenStream(context.Background(), app, "count")
	require.NoError(t, err)
	for range 2 {
		_, err = s.Recv()
		require.Equal(t, io.EOF, err)
	}
}

// TestInterceptorAgain: the first success is the result; next sends no more
// after that.
func TestInterceptorAgain(t *testing.T) {
	ctx := context.Background()
	var sent atomic.Int32
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if sent.Add(1); m.(*dirty.Request).Action == "count" {
			return arbiter(c, m)
		}
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), sent.Load()))
	}))
	c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
		return errors.Join(next(ctx), next(ctx))
	}))
	n, err := client.Call[int](ctx, c, app, "x")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	chunks, err := collect(c.Stream(ctx, app, "count", 1, 2))
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), int64(2)}, chunks)
	assert.EqualValues(t, 2, sent.Load())
	assert.EqualValues(t, 2, c.Stats().Calls, "one call each")
}

// TestInterceptorTimeout: a context that an interceptor ends bounds a stream as a
// whole, and so does that of the caller.
func TestInterceptorTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			return c.WriteMessage(dirty.NewChunk(m.RequestID(), 1))
		})).client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
			ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errPolicy)
			defer cancel()
			return next(ctx)
		}))
		begin := time.Now()
		got, err := collect(c.Stream(context.Background(), app, "x"))
		require.ErrorIs(t, err, errPolicy)
		requireOp(t, err, client.StageRead, true)
		assert.Len(t, got, 1)
		assert.Equal(t, 10*time.Second, time.Since(begin))

		ctx, cancel := context.WithCancel(context.Background())
		s, err := c.OpenStream(ctx, app, "x")
		require.NoError(t, err)
		_, err = s.Recv()
		require.NoError(t, err)
		cancel()
		synctest.Wait()
		assert.Zero(t, c.Stats().InUse, "nobody need read it")
		_, err = s.Recv()
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// TestInterceptorRetries: more attempts than the client's own; of a stream until
// its first chunk, and its reader does not notice.
func TestInterceptorRetries(t *testing.T) {
	for name, call := range intercepted {
		t.Run(name, func(t *testing.T) {
			n := 0
			p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if n++; n < 4 {
					return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), dirty.ErrNoWorkers))
				}
				return arbiter(c, m)
			}))
			c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) (err error) {
				for range 5 {
					if err = next(ctx); !client.SafeToRetry(err) {
						break
					}
				}
				return err
			}))
			got, err := call(context.Background(), c, 1)
			require.NoError(t, err)
			assert.Equal(t, []any{int64(1)}, got)
			assert.Equal(t, 4, n)
		})
	}
}

// hedge makes n attempts at once, and takes the first that ends.
func hedge(n int) client.Interceptor {
	return func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan error, n)
		for range n {
			go func() { results <- next(ctx) }()
		}
		return <-results
	}
}

// TestHedging: attempts at one time do not mix their results, one of them is
// the result whole, and nothing of the others is left.
func TestHedging(t *testing.T) {
	for name, call := range intercepted {
		for layers, opts := range map[string][]client.Option{
			"one":    {client.WithInterceptor(hedge(3))},
			"two":    {client.WithInterceptor(hedge(2)), client.WithInterceptor(passOn), client.WithInterceptor(hedge(2))},
			"behind": {client.WithInterceptor(passOn), client.WithInterceptor(hedge(2))},
		} {
			for _, ahead := range []int{0, 1000} {
				t.Run(fmt.Sprint(name, "/", layers, "/", ahead), func(t *testing.T) {
					var n atomic.Int64
					p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
						k := n.Add(1)
						list := []any{k, k, k, k}
						if m.(*dirty.Request).Action == "echo" {
							return c.WriteMessage(dirty.NewResponse(m.RequestID(), list))
						}
						for range list {
							if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), k)); err != nil {
								return err
							}
						}
						return c.WriteMessage(dirty.NewEnd(m.RequestID()))
					}))
					c := p.client(t, append(opts, client.WithReadAhead(ahead))...)
					for range 50 {
						v, err := call(context.Background(), c)
						require.NoError(t, err)
						list := v.([]any)
						require.Len(t, list, 4)
						for _, k := range list {
							require.Equal(t, list[0], k, "of one attempt")
						}
					}
					requireQuiet(t, c)
				})
			}
		}
	}
}

// TestHedgingSlow: the faster attempt wins, and the slower is cancelled at once.
func TestHedgingSlow(t *testing.T) {
	for name, call := range intercepted {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					if n.Add(1) == 1 {
						return nil // never
					}
					return arbiter(c, m)
				}))
				var first error
				c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
					slow := async(func() error { return next(ctx) })
					time.Sleep(time.Second)
					err := next(ctx)
					first = <-slow
					return err
				}))
				begin := time.Now()
				got, err := call(context.Background(), c, 7)
				require.NoError(t, err)
				assert.Equal(t, []any{int64(7)}, got)
				assert.NoError(t, first, "the call has its result")
				assert.Equal(t, time.Second, time.Since(begin))
				synctest.Wait()
				assert.Zero(t, c.Stats().InUse)
				assert.EqualValues(t, 1, c.Stats().Closed.Cancel)
			})
		})
	}
}

// TestHedgingFails: if all attempts fail the interceptor has all errors.
func TestHedgingFails(t *testing.T) {
	for name, call := range intercepted {
		p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), dirty.ErrNoWorkers))
		}))
		c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
			var errs [3]error
			var group sync.WaitGroup
			for i := range errs {
				group.Go(func() { errs[i] = next(ctx) })
			}
			group.Wait()
			for _, err := range errs {
				assert.ErrorIs(t, err, dirty.ErrNoWorkers, name)
			}
			return errors.Join(errs[:]...)
		}))
		_, err := call(context.Background(), c)
		require.ErrorIs(t, err, dirty.ErrNoWorkers)
		requireQuiet(t, c)
		assert.Zero(t, c.Stats().Closed, "errors end no connection")
	}
}

// TestInterceptorGivesUp: when it returns while next still runs, the attempt is
// cancelled, wherever it is; nothing is left, Shutdown sees the end, and a later
// next is refused.
func TestInterceptorGivesUp(t *testing.T) {
	for name, call := range intercepted {
		for _, detached := range []bool{false, true} {
			for _, layers := range []int{1, 2} {
				t.Run(fmt.Sprint(name, "/detached ", detached, "/", layers), func(t *testing.T) {
					reached := make(chan bool, 10)
					p := newPeer(t, answering(func(_ *dirty.Conn, m dirty.Message) error {
						reached <- true
						return nil
					}))
					var next func(context.Context) error
					late := make(chan error, 10)
					opts := []client.Option{client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, n func(context.Context) error) error {
						next = n
						if detached {
							ctx = context.WithoutCancel(ctx)
						}
						go func() { late <- n(ctx) }()
						<-reached
						return errPolicy
					})}
					for range layers - 1 {
						opts = append(opts, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
							if detached {
								ctx = context.WithoutCancel(ctx)
							}
							return next(ctx)
						}))
					}
					c := p.client(t, opts...)
					// A context that can be cancelled, and one that cannot.
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					_, err := call(ctx, c, 1)
					require.ErrorIs(t, err, errPolicy)
					assert.Zero(t, c.Stats().InUse, "the call has waited for its attempt")
					err = receive(t, "the attempt", late)
					require.Error(t, err)
					assert.Contains(t, err.Error(), "interceptor has returned")
					err = next(context.Background())
					require.Error(t, err)
					assert.Contains(t, err.Error(), "interceptor has returned")
					require.NoError(t, c.Shutdown(ctx))
				})
			}
		}
	}
}

// TestInterceptorLeavesStream: the reader of a stream whose interceptor returns
// early does not take that for its end.
func TestInterceptorLeavesStream(t *testing.T) {
	for _, result := range []error{nil, errPolicy} {
		p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			return c.WriteMessage(dirty.NewChunk(m.RequestID(), 1))
		}))
		leave := make(chan bool)
		c := p.client(t, client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
			go next(ctx)
			<-leave
			return result
		}))
		s, err := c.OpenStream(context.Background(), app, "x")
		require.NoError(t, err)
		_, err = s.Recv()
		require.NoError(t, err)
		close(leave)
		_, err = s.Recv()
		require.Error(t, err)
		assert.NotErrorIs(t, err, io.EOF)
		if result != nil {
			require.ErrorIs(t, err, result)
		}
		requireQuiet(t, c)
	}
}

// TestInterceptorNilContext: a context that is nil is refused, wherever it comes
// from.
func TestInterceptorNilContext(t *testing.T) {
	var none context.Context
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithInterceptor(func(_ context.Context, _ *client.CallInfo, next func(context.Context) error) error { return next(none) }))
	direct := p.client(t)
	for _, op := range operations {
		for _, err := range []error{op.call(context.Background(), c), op.call(none, direct)} {
			require.ErrorIs(t, err, client.ErrInvalidArgument, op.name)
			requireOp(t, err, client.StagePrepare, false)
		}
	}
	require.ErrorIs(t, direct.WaitReady(none), client.ErrInvalidArgument)
	require.ErrorIs(t, direct.Shutdown(none), client.ErrInvalidArgument)
	assert.Zero(t, p.connections())
}

// TestInterceptorExits: one that panics or ends its goroutine fails the call, as
// the outer one and as an inner one, before and after its next; in a goroutine
// of another interceptor too.
func TestInterceptorExits(t *testing.T) {
	for how, exit := range exits {
		for when, after := range map[string]bool{"before": false, "after": true} {
			faulty := client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				if after {
					_ = next(ctx)
				}
				exit()
				return nil
			})
			for where, opts := range map[string][]client.Option{
				"alone": {faulty}, "inner": {client.WithInterceptor(passOn), faulty},
				"outer": {faulty, client.WithInterceptor(passOn)}, "hedged": {client.WithInterceptor(hedge(2)), faulty},
			} {
				for name, call := range intercepted {
					t.Run(how+"/"+when+"/"+where+"/"+name, func(t *testing.T) {
						p := newPeer(t, answering(arbiter))
						c := p.client(t, append(opts, client.WithMaxConns(2))...)
						for range 3 {
							_, err := call(context.Background(), c, 1)
							require.ErrorIs(t, err, client.ErrHookFailed)
							assert.Contains(t, err.Error(), "the Interceptor "+how)
							requireQuiet(t, c)
						}
						require.NoError(t, c.Shutdown(context.Background()))
					})
				}
			}
		}
	}
}

// exits are the ways of code not to return.
var exits = map[string]func(){
	"panicked: boom":        func() { panic("boom") },
	"called runtime.Goexit": runtime.Goexit,
}

// TestInterceptorCancelledEarly: a stream that is cancelled before its first chunk
// says so, also before its end is settled.
func TestInterceptorCancelledEarly(t *testing.T) {
	p := newPeer(t, mute)
	settle := make(chan bool)
	c := p.client(t, client.WithInterceptor(passOn), client.WithTracer(client.Tracer{
		CallDone: func(context.Context, client.Operation, client.CallResult) { <-settle },
	}))
	ctx, cancel := context.WithCancelCause(context.Background())
	s, err := c.OpenStream(ctx, app, "x")
	require.NoError(t, err)
	done := async(func() error { _, err := s.Recv(); return err })
	cancel(errLeft)
	require.ErrorIs(t, receive(t, "Recv", done), errLeft)
	close(settle)
	_, err = s.Recv()
	require.ErrorIs(t, err, errLeft)
}
