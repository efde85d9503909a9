package proxy_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/proxy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// within bounds what should come at once, but may be slow on a busy machine.
const within = 20 * time.Second

// receive waits for a value.
func receive[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(within):
		require.Fail(tb, "not in time: "+what)
	}
	return v
}

// TestOddConnections: whatever the methods of a connection do, the process lives,
// ServeConn returns, and both connections are closed.
func TestOddConnections(t *testing.T) {
	boom := func() { panic("boom") }
	reads := func(n int, err error) func(*usercodetest.OddConn) {
		return func(c *usercodetest.OddConn) { c.OnRead = func([]byte) (int, error) { return n, err } }
	}
	writes := func(n int, err error) func(*usercodetest.OddConn) {
		return func(c *usercodetest.OddConn) { c.OnWrite = func([]byte) (int, error) { return n, err } }
	}
	for name, tt := range map[string]struct {
		odd  func(*usercodetest.OddConn)
		want string
	}{
		"Read panics": {func(c *usercodetest.OddConn) { c.OnRead = func([]byte) (int, error) { boom(); return 0, nil } }, "panicked"},
		"Read goexits": {func(c *usercodetest.OddConn) {
			c.OnRead = func([]byte) (int, error) { runtime.Goexit(); return 0, nil }
		}, "Goexit"},
		"Read returns -1":       {reads(-1, nil), "-1 bytes"},
		"Read returns too many": {reads(1<<20, nil), "1048576 bytes"},
		"Read returns nothing":  {reads(0, nil), io.ErrNoProgress.Error()},
		"Write panics":          {func(c *usercodetest.OddConn) { c.OnWrite = func([]byte) (int, error) { boom(); return 0, nil } }, "panicked"},
		"Write goexits": {func(c *usercodetest.OddConn) {
			c.OnWrite = func([]byte) (int, error) { runtime.Goexit(); return 0, nil }
		}, "Goexit"},
		"Write is short":   {writes(1, nil), io.ErrShortWrite.Error()},
		"Write returns -1": {writes(-1, nil), io.ErrShortWrite.Error()},
		"Read and Close panic": {func(c *usercodetest.OddConn) {
			c.OnRead = func([]byte) (int, error) { boom(); return 0, nil }
			c.OnClose = func() error { _ = c.Conn.Close(); boom(); return nil }
		}, "panicked"},
		"an error without Error":  {reads(0, (*usercodetest.NilError)(nil)), "panicked"},
		"an error that panics Is": {reads(0, usercodetest.BadError{Method: "Is", Fail: boom}), "panicked"},
	} {
		for _, side := range []string{"client", "arbiter"} {
			t.Run(name+"/"+side, func(t *testing.T) {
				client, clientFar := net.Pipe()
				arbiter, arbiterFar := net.Pipe()
				odd := &usercodetest.OddConn{Conn: client}
				given, other := net.Conn(odd), arbiter
				if side == "arbiter" {
					odd.Conn = arbiter
					given, other = client, odd
				}
				tt.odd(odd)
				p := &proxy.Proxy{Dial: func(context.Context) (net.Conn, error) { return other, nil }}
				for _, far := range []net.Conn{clientFar, arbiterFar} {
					go func() { _, _ = far.Write([]byte("some bytes")) }()
				}
				served := make(chan error, 1)
				go func() { served <- p.ServeConn(given) }()
				err := receive(t, "ServeConn", served)
				require.Error(t, err)
				assert.Contains(t, err.Error(), tt.want)
				for _, far := range []net.Conn{clientFar, arbiterFar} {
					ended := make(chan error, 1)
					go func() { _, err := io.Copy(io.Discard, far); ended <- err }()
					receive(t, "the end of a connection", ended)
				}
				shutdown(t, p)
			})
		}
	}
}

// TestNoConnection: a nil connection is refused, whoever gives it.
func TestNoConnection(t *testing.T) {
	for name, none := range map[string]net.Conn{"nil": nil, "typed nil": (*net.UnixConn)(nil), "typed nil of others": (*usercodetest.OddConn)(nil)} {
		t.Run(name, func(t *testing.T) {
			p := &proxy.Proxy{Dial: func(context.Context) (net.Conn, error) { return none, nil }}
			require.ErrorContains(t, p.ServeConn(none), "no connection")
			near, _ := net.Pipe()
			require.ErrorContains(t, p.ServeConn(near), "no connection")
			l := &usercodetest.OddListener{OnAccept: func() (net.Conn, error) { return none, nil }}
			served := make(chan error, 1)
			go func() { served <- p.Serve(l) }()
			require.ErrorContains(t, receive(t, "Serve", served), "no connection")
			shutdown(t, p)
		})
	}
}

// TestOddListeners: a listener that panics ends Serve with an error.
func TestOddListeners(t *testing.T) {
	for name, l := range map[string]*usercodetest.OddListener{
		"Accept":    {OnAccept: func() (net.Conn, error) { panic("boom") }},
		"Temporary": {OnAccept: func() (net.Conn, error) { return nil, usercodetest.TemporaryError(func() bool { panic("boom") }) }},
		"Close":     {OnAccept: func() (net.Conn, error) { panic("boom") }, OnClose: func() { panic("boom") }},
	} {
		t.Run(name, func(t *testing.T) {
			p := &proxy.Proxy{Dial: echoServer(t)}
			require.ErrorContains(t, p.Serve(l), "panicked")
			shutdown(t, p)
		})
	}
}

// TestCloseDespiteOthers: a listener or a connection whose Close panics or blocks
// keeps Close from nothing.
func TestCloseDespiteOthers(t *testing.T) {
	release := make(chan struct{})
	for name, odd := range map[string]func(){"panics": func() { panic("boom") }, "blocks": func() { <-release }} {
		t.Run(name, func(t *testing.T) {
			if name == "blocks" {
				defer close(release) // or the test's own Shutdown would wait for it
			}
			p := &proxy.Proxy{Dial: echoServer(t)}
			accepting, ended := make(chan struct{}, 1), make(chan struct{})
			var once sync.Once
			l := &usercodetest.OddListener{
				OnAccept: func() (net.Conn, error) { accepting <- struct{}{}; <-ended; return nil, net.ErrClosed },
				OnClose:  func() { once.Do(func() { close(ended) }); odd() },
			}
			go func() { _ = p.Serve(l) }()
			receive(t, "the begin of Serve", accepting)
			near, far := net.Pipe()
			onClose := func() error { err := near.Close(); odd(); return err }
			go func() { _ = p.ServeConn(&usercodetest.OddConn{Conn: near, OnClose: onClose}) }()
			_, err := far.Write([]byte("x")) // it is being forwarded
			require.NoError(t, err)
			second, served := serve(t, p)
			t.Cleanup(func() { shutdown(t, p) })
			echo(t, second) // it is being served
			closed := make(chan error, 1)
			go func() { closed <- p.Close() }()
			require.NoError(t, receive(t, "Close", closed))
			_, err = io.Copy(io.Discard, far)
			require.NoError(t, err)
			require.ErrorIs(t, receive(t, "the end of Serve", served), proxy.ErrClosed)
			_, err = net.Dial("unix", second)
			require.Error(t, err)
			receive(t, "the end of the listener", ended)
			if name == "blocks" {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = p.Shutdown(ctx) // it does not wait for what blocks
			}
		})
	}
}

// echo sends a byte through a proxy to an echoServer and back.
func echo(t *testing.T, path string) {
	t.Helper()
	c := dialRaw(t, path)
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
}

// TestLoggerPanics: a logger that panics ends nothing.
func TestLoggerPanics(t *testing.T) {
	for where, h := range map[string]slog.Handler{
		"Handle":  &oddHandler{handle: func() { panic("logger") }},
		"Enabled": &oddHandler{enabled: func() { panic("logger") }},
	} {
		t.Run(where, func(t *testing.T) {
			p := &proxy.Proxy{
				Dial:   func(context.Context) (net.Conn, error) { panic("dial") },
				Tap:    func(proxy.Event) { panic("tap") },
				Logger: slog.New(h),
			}
			near, _ := net.Pipe()
			require.ErrorContains(t, p.ServeConn(near), "panicked: dial")
			var again atomic.Int32
			l := &usercodetest.OddListener{OnAccept: func() (net.Conn, error) {
				if again.Add(1) == 1 {
					return nil, usercodetest.TemporaryError(func() bool { return true })
				}
				return nil, io.EOF
			}}
			require.ErrorIs(t, p.Serve(l), io.EOF)
			shutdown(t, p)
		})
	}
}

type oddHandler struct{ enabled, handle func() }

func (h *oddHandler) Enabled(context.Context, slog.Level) bool {
	if h.enabled != nil {
		h.enabled()
	}
	return true
}

func (h *oddHandler) Handle(context.Context, slog.Record) error {
	if h.handle != nil {
		h.handle()
	}
	return nil
}
func (h *oddHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *oddHandler) WithGroup(string) slog.Handler      { return h }

// TestCloseEndsTheTap: after Close nothing of the proxy runs any more.
func TestCloseEndsTheTap(t *testing.T) {
	p := &proxy.Proxy{Dial: echoServer(t), Tap: func(proxy.Event) {}}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- p.ServeConn(near) }()
	_, err := far.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	receive(t, "ServeConn", served)
	stacks := func() string {
		b := make([]byte, 1<<20)
		return string(b[:runtime.Stack(b, true)])
	}
	require.Eventually(t, func() bool { return !strings.Contains(stacks(), "proxy.(*tapQueue)") }, within, time.Millisecond)
}

// TestRoomForPayloads: frames that never come to their end, or that nobody takes,
// use up no room for the payloads of others.
func TestRoomForPayloads(t *testing.T) {
	frame, err := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest, RequestID: 1}, Payload: make([]byte, 600_000)}.MarshalBinary()
	require.NoError(t, err)
	for name, odd := range map[string]func(t *testing.T, path string){
		"cut": func(t *testing.T, path string) {
			c, err := net.Dial("unix", path)
			require.NoError(t, err)
			_, err = c.Write(frame[:300_000])
			require.NoError(t, err)
			require.NoError(t, c.Close())
		},
		"only begun": func(t *testing.T, path string) {
			c, err := net.Dial("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			_, err = c.Write(frame[:100])
			require.NoError(t, err)
		},
		"not taken": func(t *testing.T, path string) { // the echo's Write fails in the middle of the frame
			c, err := net.Dial("unix", path)
			require.NoError(t, err)
			go func() { _, _ = c.Write(frame) }()
			_, err = io.ReadFull(c, make([]byte, 1000))
			require.NoError(t, err)
			require.NoError(t, c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen events
			p := &proxy.Proxy{Dial: echoServer(t), Tap: seen.tap, Payloads: true, MaxPending: 1 << 20}
			path := start(t, p)
			for range 5 {
				odd(t, path)
			}
			require.Eventually(t, func() bool {
				c, err := net.Dial("unix", path)
				require.NoError(t, err)
				defer c.Close()
				before := len(seen.all())
				go func() { _, _ = c.Write(frame) }()
				got, err := io.ReadAll(io.LimitReader(c, int64(len(frame))))
				require.NoError(t, err)
				require.True(t, bytes.Equal(frame, got))
				for _, e := range seen.all()[before:] {
					if e.Kind == proxy.Frame && len(e.Payload) == 600_000 {
						return true
					}
				}
				return false
			}, within, time.Millisecond)
		})
	}
}
