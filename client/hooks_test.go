package client_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
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

// hookOptions are all hooks by name. Each returns the options that call do in
// that hook, and else do what is needed for a call to succeed.
var hookOptions = map[string]func(dial client.Dialer, do func()) client.Option{
	"the Resolver": func(_ client.Dialer, do func()) client.Option {
		return client.WithResolver(func(context.Context) (string, error) { do(); return "x", nil })
	},
	"the Dialer": func(dial client.Dialer, do func()) client.Option {
		return client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
			do()
			return dial(ctx, path)
		})
	},
	"the connection of the Dialer": func(dial client.Dialer, do func()) client.Option {
		return dialing(dial, func(nc net.Conn) net.Conn { return &hookedConn{Conn: nc, write: do} })
	},
	"the Interceptor": func(_ client.Dialer, do func()) client.Option {
		return client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
			do()
			return next(ctx)
		})
	},
	"Tracer.CallStart": tracing(func(t *client.Tracer, do func()) {
		t.CallStart = func(ctx context.Context, _ client.Operation) context.Context { do(); return ctx }
	}),
	"Tracer.CallDone": tracing(func(t *client.Tracer, do func()) {
		t.CallDone = func(context.Context, client.Operation, client.CallResult) { do() }
	}),
	"Tracer.AcquireStart": tracing(func(t *client.Tracer, do func()) {
		t.AcquireStart = func(context.Context, client.Operation) { do() }
	}),
	"Tracer.AcquireDone": tracing(func(t *client.Tracer, do func()) {
		t.AcquireDone = func(context.Context, client.Operation, client.AcquireResult) { do() }
	}),
	"Tracer.Dialed": tracing(func(t *client.Tracer, do func()) {
		t.Dialed = func(context.Context, client.DialResult) { do() }
	}),
}

func tracing(set func(t *client.Tracer, do func())) func(client.Dialer, func()) client.Option {
	return func(_ client.Dialer, do func()) client.Option {
		var tracer client.Tracer
		set(&tracer, do)
		return client.WithTracer(tracer)
	}
}

// dialing returns a Dialer whose connections are wrapped.
func dialing(dial client.Dialer, wrap func(net.Conn) net.Conn) client.Option {
	return client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
		nc, err := dial(ctx, path)
		if err != nil {
			return nil, err
		}
		return wrap(nc), nil
	})
}

// dialSocket is the client's own way to dial.
func dialSocket(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) }

// hookedConn calls functions in its methods.
type hookedConn struct {
	net.Conn
	read, write, close func()
}

func run(f func()) {
	if f != nil {
		f()
	}
}

func (c *hookedConn) Read(p []byte) (int, error)  { run(c.read); return c.Conn.Read(p) }
func (c *hookedConn) Write(p []byte) (int, error) { run(c.write); return c.Conn.Write(p) }
func (c *hookedConn) Close() error {
	_ = c.Conn.Close() // also if the hook does not return
	run(c.close)
	return nil
}

// callAside makes a call in a goroutine of its own, which a Goexit may end.
func callAside(call func() error) (err error, returned bool) {
	done := make(chan bool)
	go func() {
		defer close(done)
		err = call()
		returned = true
	}()
	<-done
	return err, returned
}

// TestHookExits: a hook that panics or ends its goroutine fails the call with an
// error that names it, and nothing is lost: the next call is good.
func TestHookExits(t *testing.T) {
	for name, options := range hookOptions {
		for how, exit := range exits {
			for _, op := range operations {
				t.Run(name+"/"+how+"/"+op.name, func(t *testing.T) {
					var faulty atomic.Bool
					var log syncBuffer
					p := newPipePeer(t, answering(arbiter))
					faults := options(p.dial, func() {
						if faulty.Load() {
							exit()
						}
					})
					c := p.client(t, faults, client.WithMaxConns(1), client.WithMaxDials(1), client.WithMaxIdle(0, 0),
						client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
					for _, faults := range []bool{true, true, false} {
						faulty.Store(faults)
						err, returned := callAside(func() error { return op.call(context.Background(), c) })
						require.True(t, returned)
						if faults {
							require.ErrorIs(t, err, client.ErrHookFailed)
							assert.Contains(t, err.Error(), name+" "+how)
							var failed *client.OpError
							require.ErrorAs(t, err, &failed)
							assert.False(t, client.SafeToRetry(err))
						} else {
							require.NoError(t, err)
						}
						requireQuiet(t, c)
					}
					assert.NotZero(t, c.Stats().HookFailures)
					assert.Contains(t, log.String(), "level=ERROR")
					assert.Contains(t, log.String(), name+" "+how)
					assert.Contains(t, log.String(), "hooks_test.go", "its stack")
					require.NoError(t, c.Shutdown(context.Background()))
				})
			}
		}
	}
}

// TestHookExitsLater: the hooks that are called while a stream goes on, or when a
// call is made again.
func TestHookExitsLater(t *testing.T) {
	for how, exit := range exits {
		for name, ahead := range aheads {
			t.Run("Tracer.Chunk/"+how+"/"+name, func(t *testing.T) {
				n := 0
				p := newPeer(t, answering(arbiter))
				c := p.client(t, client.WithReadAhead(ahead), client.WithTracer(client.Tracer{
					Chunk: func(context.Context, client.Operation, int) {
						if n++; n == 2 {
							exit()
						}
					},
				}))
				got, err := collect(c.Stream(context.Background(), app, "count", 1, 2, 3))
				requireHook(t, err, client.StageRead, true, "Tracer.Chunk "+how)
				assert.Equal(t, []any{int64(1)}, got)
				requireQuiet(t, c)
			})
		}
		t.Run("Tracer.Retry/"+how, func(t *testing.T) {
			p := newPipePeer(t, answering(arbiter))
			c := p.client(t, client.WithTracer(client.Tracer{
				Retry: func(context.Context, client.Operation, int, error) { exit() },
			}))
			require.NoError(t, c.Ping(context.Background()))
			p.cut()
			requireHook(t, c.Stash("t").Put(context.Background(), "k", 1), client.StageWrite, false, "Tracer.Retry "+how)
			requireQuiet(t, c)
		})
	}
}

// TestConnExits: whichever method of a Dialer's connection panics, at its end
// too.
func TestConnExits(t *testing.T) {
	boom := func() { panic("boom") }
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"Read":        func(nc net.Conn) net.Conn { return &hookedConn{Conn: nc, read: boom} },
		"Write":       func(nc net.Conn) net.Conn { return &hookedConn{Conn: nc, write: boom} },
		"Close":       func(nc net.Conn) net.Conn { return &hookedConn{Conn: nc, close: boom} },
		"all":         func(nc net.Conn) net.Conn { return &hookedConn{nc, boom, boom, boom} },
		"SyscallConn": func(nc net.Conn) net.Conn { return &badSocket{nc} },
	} {
		for _, op := range operations {
			t.Run(name+"/"+op.name, func(t *testing.T) {
				p := newPeer(t, answering(arbiter))
				c := p.client(t, dialing(dialSocket, wrap), client.WithMaxConns(1), client.WithMaxIdle(0, 0))
				for range 2 {
					if err := op.call(context.Background(), c); err != nil {
						require.ErrorIs(t, err, client.ErrHookFailed)
						assert.Contains(t, err.Error(), "the connection of the Dialer panicked: boom")
					}
					requireQuiet(t, c)
				}
				assert.NotZero(t, c.Stats().HookFailures)
			})
		}
	}
}

// TestConnEndsReader: a connection that ends the goroutine which reads ahead ends
// the stream.
func TestConnEndsReader(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	for name, opts := range map[string][]client.Option{"": nil, "intercepted": {client.WithInterceptor(passOn)}} {
		c := p.client(t, append(opts, client.WithReadAhead(1000), dialing(dialSocket, func(nc net.Conn) net.Conn {
			return &hookedConn{Conn: nc, read: runtime.Goexit}
		}))...)
		_, err := collect(c.Stream(context.Background(), app, "count", 1, 2))
		require.ErrorIs(t, err, client.ErrHookFailed, name)
		requireQuiet(t, c)
	}
}

// badSocket is a connection that cannot be asked for its socket.
type badSocket struct{ net.Conn }

func (*badSocket) SyscallConn() (syscall.RawConn, error) { panic("boom") }

// TestLoggerExits: a logger that does not return loses its records, and nothing
// else.
func TestLoggerExits(t *testing.T) {
	for how, exit := range exits {
		for where, handler := range map[string]slog.Handler{
			"Handle":  &badHandler{handle: exit},
			"Enabled": &badHandler{enabled: exit},
		} {
			t.Run(where+"/"+how, func(t *testing.T) {
				var faults atomic.Int32
				p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					switch faults.Add(1) {
					case 1:
						return c.WriteMessage(dirty.NewResponse(m.RequestID()+1, nil))
					case 2:
						_, err := c.NetConn().Write(append(replyTo(m), replyTo(m)...))
						return err
					}
					return arbiter(c, m)
				}))
				c := p.client(t, client.WithLogger(slog.New(handler)), client.WithMaxConns(1))
				require.ErrorIs(t, c.Ping(context.Background()), client.ErrIDMismatch)
				_, err := c.Execute(context.Background(), app, "echo")
				require.NoError(t, err)
				require.NoError(t, c.Ping(context.Background()))
				require.NoError(t, c.Close())
				assert.GreaterOrEqual(t, c.Stats().HookFailures, uint64(4))
			})
		}
	}
}

// badHandler is a handler of a logger that does not return.
type badHandler struct{ enabled, handle func() }

func (h *badHandler) Enabled(context.Context, slog.Level) bool  { run(h.enabled); return true }
func (h *badHandler) Handle(context.Context, slog.Record) error { run(h.handle); return nil }
func (h *badHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h *badHandler) WithGroup(string) slog.Handler             { return h }

// faultyError is an error whose methods panic, as those of a nil pointer do.
type faultyError struct{ err error }

func (e *faultyError) Error() string        { return e.err.Error() }
func (e *faultyError) Is(target error) bool { return e.err == target }
func (e *faultyError) Unwrap() error        { return e.err }

// TestFaultyErrors: an error of a hook's whose methods panic is like a panic of
// the hook.
func TestFaultyErrors(t *testing.T) {
	faulty := (*faultyError)(nil)
	p := newPeer(t, answering(arbiter))
	for name, opts := range map[string][]client.Option{
		"the Resolver": {client.WithResolver(func(context.Context) (string, error) { return "", faulty })},
		"the Dialer":   {client.WithDialer(func(context.Context, string) (net.Conn, error) { return nil, faulty })},
		"the Interceptor": {client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
			_ = next(ctx)
			return faulty
		})},
		"the connection of the Dialer": {dialing(dialSocket, func(nc net.Conn) net.Conn { return &faultyConn{nc} })},
	} {
		for kind, call := range intercepted {
			t.Run(name+"/"+kind, func(t *testing.T) {
				c := p.client(t, opts...)
				_, err := call(context.Background(), c, 1)
				require.ErrorIs(t, err, client.ErrHookFailed)
				assert.Contains(t, err.Error(), name+" panicked")
				requireQuiet(t, c)
			})
		}
	}
	c := p.client(t)
	_, err := c.Execute(context.Background(), app, "echo", marshaler{err: faulty})
	requireHook(t, err, client.StagePrepare, false, "of a value panicked")
	requireServes(t, c)
	for _, opts := range [][]client.Option{nil, {client.WithInterceptor(passOn)}} {
		c := p.client(t, opts...)
		ctx, cancel := context.WithCancelCause(context.Background())
		s, err := c.OpenStream(ctx, app, "count", 1)
		require.NoError(t, err)
		cancel(faulty)
		requireQuiet(t, c)
		require.NoError(t, s.Close())
	}
}

// faultyConn is a connection whose errors are faulty.
type faultyConn struct{ net.Conn }

func (c *faultyConn) Read(p []byte) (int, error) { return 0, (*faultyError)(nil) }

// TestDialerReturnsNothing: neither a connection nor an error is a slip of the
// Dialer's, which the error names.
func TestDialerReturnsNothing(t *testing.T) {
	for name, dial := range map[string]client.Dialer{
		"nil":         func(context.Context, string) (net.Conn, error) { return nil, nil },
		"a typed nil": func(context.Context, string) (net.Conn, error) { return (*net.UnixConn)(nil), nil },
	} {
		c := newClient(t, client.WithSocket("x"), client.WithDialer(dial), client.WithMaxConns(2), client.WithWaitForServer(time.Minute))
		for range 3 {
			requireHook(t, c.Ping(context.Background()), client.StageDial, false, "the Dialer returned no connection and no error")
		}
		assert.EqualValues(t, 3, c.Stats().DialErrors, name)
		requireQuiet(t, c)
	}
}

// TestCloseInHook: Close and Shutdown do not wait for the hook that they are
// called from, nor for another goroutine that the hook waits for.
func TestCloseInHook(t *testing.T) {
	for name, options := range hookOptions {
		for how, end := range map[string]func(c *client.Client){
			"Close":    func(c *client.Client) { assert.NoError(t, c.Close()) },
			"Shutdown": func(c *client.Client) { assert.ErrorIs(t, c.Shutdown(context.Background()), client.ErrInvalidArgument) },
			"Close in another goroutine": func(c *client.Client) {
				done := make(chan bool)
				go func() {
					defer close(done)
					_ = c.Close()
				}()
				<-done
			},
		} {
			for kind, call := range intercepted {
				t.Run(name+"/"+how+"/"+kind, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var c *client.Client
						p := newPipePeer(t, answering(arbiter))
						c = p.client(t, options(p.dial, func() { end(c) }))
						begin := time.Now()
						_, err := call(context.Background(), c, 1)
						if how == "Shutdown" {
							require.NoError(t, err)
						}
						require.NoError(t, c.Close())
						if how == "Close in another goroutine" {
							assert.LessOrEqual(t, time.Since(begin), 5*time.Second, "a second for each hook that waits for it")
							synctest.Wait()
						} else {
							assert.Zero(t, time.Since(begin))
						}
						s := c.Stats()
						assert.Zero(t, s.InUse+s.Idle+s.Dialing+s.Closing+s.Waiting)
						assert.Empty(t, goroutinesLeft())
					})
				})
			}
		}
	}
}

// TestCloseInValue: likewise from a method of a value.
func TestCloseInValue(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	onDecode = func() { require.ErrorIs(t, c.Shutdown(context.Background()), client.ErrInvalidArgument) }
	_, err := client.Call[[]hook](context.Background(), c, app, "echo", 1)
	require.NoError(t, err)
	onDecode = func() { require.NoError(t, c.Close()) }
	_, err = client.Call[[]hook](context.Background(), c, app, "echo", 1)
	require.NoError(t, err, "it was answered")
}

// TestCloseDespiteBlockedHook: Close waits a second for a hook that blocks, and
// all that is ours has ended by then.
func TestCloseDespiteBlockedHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		c, err := client.New(client.WithSocket("x"), client.WithDialer(func(context.Context, string) (net.Conn, error) {
			<-release
			return nil, io.EOF
		}))
		require.NoError(t, err)
		call := async(func() error { return c.Ping(context.Background()) })
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, c.Close())
		assert.Equal(t, time.Second, time.Since(begin))
		require.ErrorIs(t, <-call, client.ErrClosed)
		close(release)
		synctest.Wait()
		assert.Zero(t, c.Stats().Dialing)
		begin = time.Now()
		require.NoError(t, c.Close())
		assert.Zero(t, time.Since(begin))
	})
}

// TestCloseLeavesNothing: when Close returns, all counts are 0 and no goroutine is
// left, that of the janitor included.
func TestCloseLeavesNothing(t *testing.T) {
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if r, ok := m.(*dirty.Request); ok && r.Action == "endless" {
			return endless(c, m)
		}
		return arbiter(c, m)
	}))
	for range 50 {
		c := p.client(t, client.WithMaxIdle(2, time.Millisecond), client.WithReadAhead(1000), client.WithInterceptor(passOn))
		for range 5 {
			go func() { _ = c.Ping(context.Background()) }()
		}
		_, err := c.OpenStream(context.Background(), app, "endless")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		s := c.Stats()
		assert.Zero(t, s.InUse+s.Idle+s.Dialing+s.Closing+s.Waiting, "%+v", s)
	}
}

// TestBoundsWithoutDeadlines: a connection that has no deadlines, or whose
// deadlines do nothing, is bounded all the same.
func TestBoundsWithoutDeadlines(t *testing.T) {
	for name, deadline := range map[string]error{"refused": errors.New("no deadlines here"), "ignored": nil} {
		for step, serve := range map[string]func(net.Conn){
			"write":  nil,
			"read":   mute,
			"header": sending(func(uint64) []byte { return []byte("GD") }),
		} {
			for _, op := range operations {
				t.Run(name+"/"+step+"/"+op.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						end := make(chan bool)
						defer close(end)
						p := newPipePeer(t, func(nc net.Conn) {
							if serve == nil {
								_, _ = io.ReadFull(nc, make([]byte, 10))
								<-end
								return
							}
							serve(nc)
						})
						c := p.client(t, client.WithTimeout(time.Second), client.WithStreamTimeout(time.Second),
							client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
								nc, err := p.dial(ctx, path)
								return &tunnel{nc, deadline}, err
							}))
						begin := time.Now()
						err := op.call(context.Background(), c)
						require.ErrorIs(t, err, client.ErrTimeout)
						assert.LessOrEqual(t, time.Since(begin), 2*time.Second)
						synctest.Wait()
						assert.Equal(t, client.ClosedStats{Timeout: 1}, c.Stats().Closed)
					})
				})
			}
		}
	}
}

// tunnel is a connection without deadlines.
type tunnel struct {
	net.Conn
	err error
}

func (c *tunnel) SetDeadline(time.Time) error      { return c.err }
func (c *tunnel) SetReadDeadline(time.Time) error  { return c.err }
func (c *tunnel) SetWriteDeadline(time.Time) error { return c.err }

// TestSlowClose: a connection whose Close takes its time and that has no
// deadlines holds up neither a cancelled call nor Close; it counts as open until
// then.
func TestSlowClose(t *testing.T) {
	for kind, call := range intercepted {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipePeer(t, mute)
				c, err := client.New(client.WithSocket("x"), client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
					nc, err := p.dial(ctx, path)
					return &slowConn{tunnel{nc, nil}}, err
				}))
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				begin := time.Now()
				_, err = call(ctx, c, 1)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, time.Second, time.Since(begin))
				s := c.Stats()
				assert.Equal(t, 0, s.InUse)
				assert.Equal(t, 1, s.Closing)
				assert.Equal(t, client.ClosedStats{Cancel: 1}, s.Closed)
				require.NoError(t, c.Close())
				assert.Equal(t, 2*time.Second, time.Since(begin), "a second for the hook")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				assert.Zero(t, c.Stats().Closing)
			})
		})
	}
}

// slowConn says goodbye to a peer that does not listen.
type slowConn struct{ tunnel }

func (c *slowConn) Close() error {
	time.Sleep(3 * time.Second)
	return c.Conn.Close()
}

// exitingValue ends the goroutine that encodes or decodes it.
type exitingValue struct{}

func (exitingValue) AppendTLV([]byte) ([]byte, error) { runtime.Goexit(); return nil, nil }
func (*exitingValue) UnmarshalTLV([]byte) error       { runtime.Goexit(); return nil }

// TestValueEndsGoroutine: a value may end the caller's goroutine. Then nothing of the
// call is left.
func TestValueEndsGoroutine(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]func(c *client.Client) error{
		"argument": func(c *client.Client) error {
			_, err := c.Execute(ctx, app, "x", exitingValue{})
			return err
		},
		"result": func(c *client.Client) error {
			_, err := client.Call[exitingValue](ctx, c, app, "x", 1)
			return err
		},
		"stored value": func(c *client.Client) error { return c.Stash("table").Put(ctx, "key", exitingValue{}) },
		"argument of a stream": func(c *client.Client) error {
			_, err := c.OpenStream(ctx, app, "count", exitingValue{})
			return err
		},
		"chunk": func(c *client.Client) error {
			_, err := collect(client.StreamOf[exitingValue](ctx, c, app, "count", 1, 2))
			return err
		},
		"chunk that is received": func(c *client.Client) error {
			s, err := c.OpenStream(ctx, app, "count", 1, 2)
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = client.RecvOf[exitingValue](s)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answering(arbiter))
			c := p.client(t, client.WithMaxConns(1))
			_, returned := callAside(func() error { return call(c) })
			require.False(t, returned)
			requireQuiet(t, c)
			require.NoError(t, c.Ping(ctx), "the only place is free")
			require.NoError(t, c.Shutdown(ctx), "no call is counted any more")
		})
	}
}
