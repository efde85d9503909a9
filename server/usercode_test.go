package server_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// badValue is a value whose encoding does what fail does.
type badValue struct{ fail func() }

func (v badValue) AppendTLV([]byte) ([]byte, error) { v.fail(); return nil, nil }

// badApps is a handler that tells its apps badly.
type badApps struct {
	server.Handler
	fail func()
}

func (h badApps) Apps() []string { h.fail(); return nil }

// badStore is a Store of which Get does what get does.
type badStore struct {
	server.Store
	get func() (dirty.RawValue, error)
}

func (s badStore) Get(context.Context, any, any) (dirty.RawValue, error) { return s.get() }

// badCode is code of a user's that fails, and a message at which it runs.
type badCode struct {
	name   string
	server func(fail func()) *server.Server
	ask    dirty.Message
	chunks int  // that come before the error
	late   bool // the reply is complete by then
}

func handle(h func(w *server.ResponseWriter) error) *server.Server {
	return &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error { return h(w) })}
}

// badCodes are all places where the server calls the user's code on behalf of a
// client's message.
func badCodes() []badCode {
	request := dirty.NewRequest(1, app, "do", nil, nil)
	status := dirty.NewStatusRequest(1)
	manage := dirty.NewManageRequest(1, dirty.ManageAdd, 1)
	get := dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")
	codes := []badCode{
		{"a handler", func(fail func()) *server.Server {
			return handle(func(*server.ResponseWriter) error { fail(); return nil })
		}, request, 0, false},
		{"a handler after a chunk", func(fail func()) *server.Server {
			return handle(func(w *server.ResponseWriter) error { _ = w.Chunk(1); fail(); return nil })
		}, request, 1, false},
		{"a handler after its reply", func(fail func()) *server.Server {
			return handle(func(w *server.ResponseWriter) error { _ = w.Respond(1); fail(); return nil })
		}, request, 0, true},
		{"a sequence of StreamFunc", func(fail func()) *server.Server {
			return &server.Server{Handler: server.StreamFunc(func(context.Context, struct{}) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) { yield(1, nil); fail() }
			})}
		}, request, 1, false},
		{"a result", func(fail func()) *server.Server {
			return handle(func(w *server.ResponseWriter) error { return w.Respond(badValue{fail}) })
		}, request, 0, false},
		{"a chunk", func(fail func()) *server.Server {
			return handle(func(w *server.ResponseWriter) error { return errors.Join(w.Chunk(1), w.Chunk(badValue{fail})) })
		}, request, 1, false},
		{"the details of an error", func(fail func()) *server.Server {
			return handle(func(*server.ResponseWriter) error {
				return &dirty.RemoteError{Type: "MyError", Details: map[string]any{"k": badValue{fail}}}
			})
		}, request, 0, false},
		{"Status", func(fail func()) *server.Server {
			return &server.Server{Status: func(context.Context) (any, error) { fail(); return nil, nil }}
		}, status, 0, false},
		{"a result of Status", func(fail func()) *server.Server {
			return &server.Server{Status: func(context.Context) (any, error) { return badValue{fail}, nil }}
		}, status, 0, false},
		{"an error of Status", func(fail func()) *server.Server {
			return &server.Server{Status: func(context.Context) (any, error) { return nil, usercodetest.BadError{Method: "Error", Fail: fail} }}
		}, status, 0, false},
		{"Apps", func(fail func()) *server.Server {
			return &server.Server{Handler: badApps{nil, fail}}
		}, status, 0, false},
		{"Manage", func(fail func()) *server.Server {
			return &server.Server{Manage: func(context.Context, dirty.ManageOp, int) (any, error) { fail(); return nil, nil }}
		}, manage, 0, false},
		{"a result of Manage", func(fail func()) *server.Server {
			return &server.Server{Manage: func(context.Context, dirty.ManageOp, int) (any, error) { return badValue{fail}, nil }}
		}, manage, 0, false},
		{"an error of Manage", func(fail func()) *server.Server {
			return &server.Server{Manage: func(context.Context, dirty.ManageOp, int) (any, error) {
				return nil, usercodetest.BadError{Method: "Is", Fail: fail}
			}}
		}, manage, 0, false},
		{"a Store", func(fail func()) *server.Server {
			return &server.Server{Stash: badStore{nil, func() (dirty.RawValue, error) { fail(); return nil, nil }}}
		}, get, 0, false},
		{"an error of a Store", func(fail func()) *server.Server {
			return &server.Server{Stash: badStore{nil, func() (dirty.RawValue, error) { return nil, usercodetest.BadError{Method: "Error", Fail: fail} }}}
		}, get, 0, false},
	}
	for _, method := range []string{"Error", "Is", "As", "Unwrap"} {
		codes = append(codes,
			badCode{method + " of an error", func(fail func()) *server.Server {
				return handle(func(*server.ResponseWriter) error { return usercodetest.BadError{Method: method, Fail: fail} })
			}, request, 0, false},
			badCode{method + " of a wrapped error after a chunk", func(fail func()) *server.Server {
				return handle(func(w *server.ResponseWriter) error {
					_ = w.Chunk(1)
					return errors.Join(usercodetest.BadError{Method: method, Fail: fail})
				})
			}, request, 1, false})
	}
	return codes
}

// TestPanicsOfUserCode checks that no panic of the user's code ends the process
// or leaves a client without a reply, wherever it comes from.
func TestPanicsOfUserCode(t *testing.T) {
	var nilPointer error = (*usercodetest.NilError)(nil)
	reasons := map[string]func(){
		"secret":               func() { panic("secret") },
		"nil pointer":          func() { _ = nilPointer.Error() },
		"an error that panics": func() { panic(usercodetest.BadError{Method: "Is", Fail: func() { panic("secret") }}) },
		"PanicNilError":        func() { panic(nil) }, //nolint:govet // this is what is tested
	}
	for _, code := range badCodes() {
		for reason, fail := range reasons {
			t.Run(code.name+", "+reason, func(t *testing.T) {
				var log record
				s := code.server(fail)
				s.Logger, s.MaxConcurrent = log.logger(), 1
				c := connect(t, s)
				require.NoError(t, c.WriteMessage(code.ask))
				for range code.chunks {
					require.Equal(t, dirty.NewChunk(1, int64(1)), receive(t, c))
				}
				got := receive(t, c)
				if code.late {
					assert.Equal(t, dirty.NewResponse(1, int64(1)), got)
				} else {
					assert.Equal(t, "internal error", failed(t, got).Message)
				}
				assert.EqualValues(t, 1, got.RequestID())
				if code.ask.Type() != dirty.TypeStash { // or the Store fails again
					usable(t, c)
				}
				eventually(t, "the panic is logged", func() bool { return strings.Contains(log.String(), "usercode_test.go") })
				assert.Equal(t, 1, strings.Count(log.String(), "a panic in"))
				assert.EqualValues(t, 1, s.Stats().Panics)
				assert.Zero(t, s.Stats().Running)
			})
		}
	}
}

// TestTypedNilError is the usual slip: a pointer that is nil becomes an error
// that is not.
func TestTypedNilError(t *testing.T) {
	var log record
	s := handle(func(*server.ResponseWriter) error { return (*usercodetest.NilError)(nil) })
	s.Logger = log.logger()
	c := connect(t, s)
	assert.Equal(t, "internal error", failed(t, call(t, c, "do")).Message)
	usable(t, c)
	assert.Contains(t, log.String(), "nil pointer dereference")
	assert.Contains(t, log.String(), "NilError")
}

// TestPanicAfterTheReplyInAnErrorMethod checks an error that comes too late, so
// that only the Logger looks at it.
func TestPanicAfterTheReplyInAnErrorMethod(t *testing.T) {
	s := handle(func(w *server.ResponseWriter) error {
		return errors.Join(w.Respond(1), usercodetest.BadError{Method: "Error", Fail: func() { panic("secret") }})
	})
	s.Logger = slog.New(slog.NewJSONHandler(new(record), nil))
	c := connect(t, s)
	assert.Equal(t, dirty.NewResponse(1, int64(1)), call(t, c, "do"))
	usable(t, c)
}

// TestExitsOfUserCode checks runtime.Goexit in the user's code, as of a
// t.FailNow: the client is told if that is possible, its connection is closed,
// and nothing is left.
func TestExitsOfUserCode(t *testing.T) {
	for _, code := range badCodes() {
		t.Run(code.name, func(t *testing.T) {
			var log record
			s := code.server(func() { runtime.Goexit() }) // a frame of this file
			s.Logger, s.MaxConcurrent = log.logger(), 1
			path := start(t, s)
			c := dial(t, path)
			require.NoError(t, c.WriteMessage(code.ask))
			for {
				m, err := c.ReadMessage()
				if err != nil {
					break
				}
				if m.Type() == dirty.TypeError {
					assert.Equal(t, "internal error", failed(t, m).Message)
				}
			}
			eventually(t, "the connection is gone", func() bool { return s.Stats().Conns == 0 })
			assert.Contains(t, log.String(), "runtime.Goexit")
			assert.Contains(t, log.String(), "usercode_test.go", "the stack")
			assert.Zero(t, s.Stats().Running)
			// Its place is free again.
			require.NoError(t, dial(t, path).WriteMessage(code.ask))
			eventually(t, "the next one runs", func() bool { return s.Stats().Panics == 2 })
		})
	}
}

// TestGoexitIsTold checks that the client of a handler that ends its goroutine
// hears of it.
func TestGoexitIsTold(t *testing.T) {
	s := &server.Server{MaxConcurrent: 1, Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			if r.Action == "exit" {
				runtime.Goexit()
			}
			return w.Respond(1)
		})}
	path := start(t, s)
	c := dial(t, path)
	assert.Equal(t, "internal error", failed(t, call(t, c, "exit")).Message)
	closed(t, c)
	assert.Equal(t, dirty.NewResponse(1, int64(1)), call(t, dial(t, path), "do"), "its place is free again")
}

// badLog is a log handler whose methods do what fail does.
type badLog struct{ fail func() }

func (l badLog) Enabled(context.Context, slog.Level) bool  { return true }
func (l badLog) Handle(context.Context, slog.Record) error { l.fail(); return nil }
func (l badLog) WithAttrs([]slog.Attr) slog.Handler        { return l }
func (l badLog) WithGroup(string) slog.Handler             { return l }

// TestPanicsOfTheLogger checks that clients are served although every log line
// panics: lines of panics, of errors, of faults and of refused connections.
func TestPanicsOfTheLogger(t *testing.T) {
	logger := slog.New(badLog{func() { panic("secret") }})
	for _, code := range badCodes() {
		t.Run(code.name, func(t *testing.T) {
			s := code.server(func() { panic("secret") })
			s.Logger = logger
			c := connect(t, s)
			require.NoError(t, c.WriteMessage(code.ask))
			for range code.chunks {
				receive(t, c)
			}
			got := receive(t, c)
			if !code.late {
				assert.Equal(t, "internal error", failed(t, got).Message)
			}
		})
	}
	s := &server.Server{Logger: logger, MaxConns: 1, Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			return errors.Join(w.Respond(1), errBoom)
		})}
	path := start(t, s)
	c := dial(t, path)
	assert.Equal(t, dirty.NewResponse(1, int64(1)), call(t, c, "do"), "and an error after the reply")
	closed(t, dial(t, path)) // refused
	_, err := c.NetConn().Write([]byte("garbage of more than a header"))
	require.NoError(t, err)
	closed(t, c)
	eventually(t, "there is room", func() bool { return s.Stats().Conns == 0 })
	usable(t, dial(t, path))
}

// TestConnContextThatFails checks that a ConnContext which panics or ends its
// goroutine ends only its own connection.
func TestConnContextThatFails(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panic("the reason") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			var log record
			var first sync.Once
			s := &server.Server{Logger: log.logger(), MaxConns: 1, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				first.Do(fail)
				return ctx
			}}
			path := start(t, s)
			closed(t, dial(t, path))
			eventually(t, "there is room", func() bool { return s.Stats().Conns == 0 })
			assert.Contains(t, log.String(), "usercode_test.go", "the stack")
			assert.EqualValues(t, 1, s.Stats().Panics)
			usable(t, dial(t, path))
		})
	}
}

// TestConnContextThatBlocks checks that a ConnContext holds only its own
// connection, which counts, and that it can see the end of the server.
func TestConnContextThatBlocks(t *testing.T) {
	for _, shutdown := range []bool{true, false} {
		causes, entered := make(chan error, 1), make(chan struct{})
		var calls atomic.Int64
		s := &server.Server{MaxConns: 2, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			if calls.Add(1) == 1 {
				close(entered)
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}
			return ctx
		}}
		path := start(t, s)
		held := dial(t, path)
		wait(t, "ConnContext", entered)
		usable(t, dial(t, path))
		assert.Equal(t, 2, s.Stats().Conns)
		closed(t, dial(t, path)) // one too many
		if shutdown {
			require.NoError(t, s.Shutdown(ctx))
		} else {
			require.NoError(t, s.Close())
		}
		assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
		closed(t, held)
	}
}

// TestConnContextOfAnotherLife checks that handlers end with their connection
// although ConnContext returned a context that is no child of the given one.
func TestConnContextOfAnotherLife(t *testing.T) {
	h, running, causes := patient()
	s := &server.Server{Handler: h, ConnContext: func(context.Context, net.Conn) context.Context { return context.Background() }}
	c := connect(t, s)
	send(t, c, "wait")
	wait(t, "the handler", running)
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
	closed(t, c)
}

// TestConnectionsThatFail checks connections whose methods panic or end their
// goroutine, while the server reads, writes, waits for the client to leave, sets
// a deadline, or closes.
func TestConnectionsThatFail(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panic("the reason") }, "Goexit": runtime.Goexit} {
		for where, odd := range map[string]func(c *usercodetest.OddConn){
			"Read":        func(c *usercodetest.OddConn) { c.OnRead = func([]byte) (int, error) { fail(); return 0, nil } },
			"Write":       func(c *usercodetest.OddConn) { c.OnWrite = func([]byte) (int, error) { fail(); return 0, nil } },
			"SetDeadline": func(c *usercodetest.OddConn) { c.OnSetDeadline = func(time.Time) error { fail(); return nil } },
			"Read, while a handler runs": func(c *usercodetest.OddConn) {
				n := 0
				c.OnRead = func(p []byte) (int, error) {
					if n++; n > 1 {
						fail()
					}
					return c.Conn.Read(p)
				}
			},
			"Close": func(c *usercodetest.OddConn) {
				inner := c.Conn
				c.OnRead = func([]byte) (int, error) { return 0, errBoom }
				c.OnClose = func() error { _ = inner.Close(); fail(); return nil }
			},
		} {
			t.Run(where+", "+name, func(t *testing.T) {
				h, _, _ := patient()
				s := &server.Server{Handler: h}
				ours, theirs := net.Pipe()
				c := &usercodetest.OddConn{Conn: theirs}
				odd(c)
				var served sync.WaitGroup
				served.Go(func() { _ = s.ServeConn(ctx, c) })
				action := "do"
				if strings.Contains(where, "runs") {
					action = "wait"
				}
				_ = dirty.WriteMessage(ours, dirty.NewRequest(1, app, action, nil, nil))
				_, _ = dirty.ReadMessage(ours)
				_ = ours.Close()
				served.Wait()
				assert.Zero(t, s.Stats().Conns)
				assert.NotZero(t, s.Stats().Panics)
				assert.NoError(t, s.Shutdown(within(t, time.Minute)))
				noGoroutines(t)
			})
		}
	}
}

// TestConnectionsWithoutDeadlines checks that FrameTimeout and WriteTimeout hold
// where SetDeadline fails, or does nothing without saying so.
func TestConnectionsWithoutDeadlines(t *testing.T) {
	half := message(dirty.NewRequest(1, app, "do", nil, nil))[:20]
	for name, setDeadline := range map[string]func(time.Time) error{
		"they fail":       func(time.Time) error { return errBoom },
		"they do nothing": func(time.Time) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			odd := func(s *server.Server) (net.Conn, <-chan error) {
				ours, theirs := net.Pipe()
				served := make(chan error, 1)
				go func() { served <- s.ServeConn(ctx, &usercodetest.OddConn{Conn: theirs, OnSetDeadline: setDeadline}) }()
				return ours, served
			}
			synctest.Test(t, func(t *testing.T) { // a frame that does not end
				nc, served := odd(new(server.Server))
				usable(t, dirty.NewConn(nc))
				time.Sleep(time.Hour)
				begin := time.Now()
				_, err := nc.Write(half)
				require.NoError(t, err)
				require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
				require.Equal(t, server.DefaultFrameTimeout+time.Second, time.Since(begin))
			})
			synctest.Test(t, func(t *testing.T) { // a reply that is not read
				told := make(chan error, 2)
				nc, served := odd(&server.Server{Handler: server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
					told <- w.Chunk(1)
					told <- context.Cause(ctx)
					return nil
				})})
				begin := time.Now()
				require.NoError(t, dirty.WriteMessage(nc, dirty.NewRequest(1, app, "do", nil, nil)))
				require.ErrorIs(t, <-told, os.ErrDeadlineExceeded)
				require.ErrorIs(t, <-told, os.ErrDeadlineExceeded)
				require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
				require.Equal(t, server.DefaultWriteTimeout*5/4+time.Second, time.Since(begin))
			})
			synctest.Test(t, func(t *testing.T) { // a handler that takes longer than both
				nc, served := odd(&server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
					time.Sleep(time.Hour)
					_ = w.Chunk(1)
					time.Sleep(time.Hour)
					return w.Chunk(2)
				})})
				c := dirty.NewConn(nc)
				for range 2 {
					send(t, c, "do")
					require.Equal(t, dirty.NewChunk(1, int64(1)), receive(t, c))
					require.Equal(t, dirty.NewChunk(1, int64(2)), receive(t, c))
					require.Equal(t, dirty.NewEnd(1), receive(t, c))
					time.Sleep(time.Hour)
				}
				require.NoError(t, nc.Close())
				require.NoError(t, <-served)
			})
		})
	}
}

// TestDeadlineErrorsOfOthers checks that an error which is a timeout by its
// method alone is taken for one.
func TestDeadlineErrorsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		odd := &usercodetest.OddConn{Conn: theirs}
		odd.OnRead = func(p []byte) (int, error) {
			n, err := theirs.Read(p)
			if err != nil {
				err = timeoutError{}
			}
			return n, err
		}
		served := make(chan error, 1)
		go func() { served <- new(server.Server).ServeConn(ctx, odd) }()
		_, err := ours.Write([]byte("GD"))
		require.NoError(t, err)
		require.ErrorIs(t, <-served, os.ErrDeadlineExceeded)
	})
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o deadline reached" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// TestSlowClose checks that connections whose Close takes long hold neither
// Shutdown nor Close nor other connections.
func TestSlowClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = time.Minute
		connect := func(s *server.Server) (ours net.Conn, served chan error) {
			ours, theirs := net.Pipe()
			served = make(chan error, 1)
			go func() {
				served <- s.ServeConn(ctx, &usercodetest.OddConn{Conn: theirs, OnClose: func() error { time.Sleep(slow); return theirs.Close() }})
			}()
			usable(t, dirty.NewConn(ours))
			return ours, served
		}
		for _, idle := range []bool{true, false} {
			h, running, causes := patient()
			s := &server.Server{Handler: h}
			_, first := connect(s)
			nc, second := connect(s)
			if !idle {
				send(t, dirty.NewConn(nc), "wait")
				<-running
			}
			begin := time.Now()
			soon, cancel := context.WithTimeout(ctx, time.Second)
			require.ErrorIs(t, s.Shutdown(soon), context.DeadlineExceeded)
			cancel()
			require.Equal(t, time.Second, time.Since(begin))
			if !idle {
				require.Equal(t, server.ErrServerClosed, <-causes)
				require.Equal(t, time.Second, time.Since(begin), "the handler does not wait for Close")
			}
			require.NoError(t, s.Close())
			require.Equal(t, time.Second, time.Since(begin))
			require.NoError(t, s.Shutdown(ctx), "they are closed in the end")
			require.LessOrEqual(t, time.Since(begin), time.Second+slow, "at one time")
			require.Equal(t, server.ErrServerClosed, <-first)
			require.Equal(t, server.ErrServerClosed, <-second)
		}
	})
}

// TestCallsBackIntoTheReply checks values and errors whose methods call the
// ResponseWriter by which they are written: none of them waits for ever.
func TestCallsBackIntoTheReply(t *testing.T) {
	for name, h := range map[string]func(w *server.ResponseWriter, call func()) error{
		"an error": func(_ *server.ResponseWriter, call func()) error {
			return usercodetest.BadError{Method: "Error", Fail: call}
		},
		"the details of an error": func(_ *server.ResponseWriter, call func()) error {
			return &dirty.RemoteError{Details: map[string]any{"k": badValue{call}}}
		},
		"an error after chunks": func(w *server.ResponseWriter, call func()) error {
			_ = w.Chunk(1)
			return usercodetest.BadError{Method: "Is", Fail: call}
		},
	} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan error, 100)
			c := connect(t, handle(func(w *server.ResponseWriter) error {
				return h(w, func() {
					errs <- w.Respond(1)
					errs <- w.Chunk(1)
					w.Stream()
				})
			}))
			send(t, c, "do")
			for receive(t, c).Type() == dirty.TypeChunk {
			}
			usable(t, c)
			assert.Equal(t, server.ErrReplied, <-errs)
			assert.Equal(t, server.ErrReplied, <-errs)
		})
	}
	t.Run("a value", func(t *testing.T) {
		errs, entered := make(chan error, 1), make(chan struct{})
		s := handle(func(w *server.ResponseWriter) error {
			return w.Respond(badValue{func() {
				close(entered)
				errs <- w.Respond(1)
			}})
		})
		c := connect(t, s)
		send(t, c, "do")
		wait(t, "the value", entered)
		require.NoError(t, c.Close())
		assert.Equal(t, server.ErrClientGone, wait(t, "the error", errs))
		eventually(t, "the connection is gone", func() bool { return s.Stats().Conns == 0 })
	})
}

// TestCallsBackIntoTheServer checks code that calls the server which calls it.
func TestCallsBackIntoTheServer(t *testing.T) {
	for name, configure := range map[string]func(s *server.Server, call func()){
		"ConnContext": func(s *server.Server, call func()) {
			s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { call(); return ctx }
		},
		"Status": func(s *server.Server, call func()) {
			s.Status = func(context.Context) (any, error) { call(); return nil, nil }
		},
		"Logger": func(s *server.Server, call func()) { s.Logger = slog.New(badLog{call}); s.MaxConns = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := new(server.Server)
			var calls atomic.Int64
			configure(s, func() {
				_ = s.Stats()
				assert.NoError(t, s.Close())
				_, theirs := net.Pipe()
				if calls.Add(1) == 1 {
					assert.Error(t, s.ServeConn(ctx, theirs))
				}
			})
			path := start(t, s)
			c := dial(t, path)
			_ = c.WriteMessage(dirty.NewStatusRequest(1))
			_, _ = c.ReadMessage()
			if name == "Logger" {
				if nc, err := net.Dial("unix", path); err == nil { // refused, which is logged
					_ = nc.Close()
				}
			}
			eventually(t, "it has called back", func() bool { return calls.Load() > 0 })
			eventually(t, "all is over", func() bool { return s.Stats().Conns == 0 })
		})
	}
}
