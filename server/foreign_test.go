package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOddListeners checks that a listener whose methods panic, or that returns no
// connection, ends Serve with an error.
func TestOddListeners(t *testing.T) {
	boom := func() { panic("the reason") }
	none := func(nc net.Conn) *usercodetest.OddListener {
		return &usercodetest.OddListener{OnAccept: func() (net.Conn, error) { return nc, nil }}
	}
	for name, l := range map[string]*usercodetest.OddListener{
		"Accept panics":        {OnAccept: func() (net.Conn, error) { boom(); return nil, nil }},
		"Close panics":         {OnAccept: func() (net.Conn, error) { return nil, io.EOF }, OnClose: boom},
		"Temporary panics":     {OnAccept: func() (net.Conn, error) { return nil, usercodetest.TemporaryError(func() bool { boom(); return true }) }},
		"an error that panics": {OnAccept: func() (net.Conn, error) { return nil, usercodetest.BadError{Method: "Is", Fail: boom} }},
		"a typed nil error":    {OnAccept: func() (net.Conn, error) { return nil, (*usercodetest.NilError)(nil) }},
		"nothing":              none(nil),
		"a nil Unix socket":    none((*net.UnixConn)(nil)),
		"a nil TCP socket":     none((*net.TCPConn)(nil)),
		"a nil of others":      none((*usercodetest.OddConn)(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			s := new(server.Server)
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			err := wait(t, "Serve", served)
			require.Error(t, err)
			assert.NotEmpty(t, err.Error())
			assert.Zero(t, s.Stats().Conns)
			require.NoError(t, s.Shutdown(within(t, time.Minute)))
			noGoroutines(t)
		})
	}
	for name, nc := range map[string]net.Conn{"nothing": nil, "a nil Unix socket": (*net.UnixConn)(nil), "a nil of others": (*usercodetest.OddConn)(nil)} {
		t.Run("ServeConn, "+name, func(t *testing.T) {
			for _, s := range []*server.Server{{}, {Limits: dirty.Limits{MaxDepth: -1}}} {
				require.Error(t, s.ServeConn(ctx, nc))
				assert.Zero(t, s.Stats().Conns)
			}
		})
	}
}

// TestListenersThatDoNotClose checks that a listener whose Close panics, blocks or
// ends its goroutine keeps Close and Shutdown from nothing.
func TestListenersThatDoNotClose(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for how, odd := range map[string]func(){"panics": func() { panic("the reason") }, "blocks": func() { <-release }, "goexits": runtime.Goexit} {
		for name, end := range map[string]func(s *server.Server) error{
			"Close": (*server.Server).Close,
			"Shutdown": func(s *server.Server) error {
				ended, cancel := context.WithCancel(ctx)
				cancel()
				return s.Shutdown(ended)
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				h, running, causes := patient()
				s := &server.Server{Handler: h}
				stop := make(chan struct{})
				var once sync.Once
				l := &usercodetest.OddListener{
					OnAccept: func() (net.Conn, error) { <-stop; return nil, io.EOF },
					OnClose:  func() { once.Do(func() { close(stop) }); odd() },
				}
				go func() { _ = s.Serve(l) }()
				ours, theirs := net.Pipe()
				go func() { _ = s.ServeConn(ctx, theirs) }()
				send(t, dirty.NewConn(ours), "wait")
				<-running
				ended := make(chan struct{})
				go func() { defer close(ended); _ = end(s) }()
				wait(t, name, ended)
				require.Equal(t, server.ErrServerClosed, wait(t, "the handler", causes))
				wait(t, "the end of the listener", stop)
			})
		}
	}
}

// TestExitsOfTheLogger checks that a logger which ends the goroutine that calls it
// holds up nothing, above all where it is told of other code that does so.
func TestExitsOfTheLogger(t *testing.T) {
	for where, odd := range map[string]func(c *usercodetest.OddConn){
		"Read": func(c *usercodetest.OddConn) { c.OnRead = func([]byte) (int, error) { panic("the reason") } },
		"Write": func(c *usercodetest.OddConn) {
			c.OnWrite = func([]byte) (int, error) { runtime.Goexit(); return 0, nil }
		},
		"Close": func(c *usercodetest.OddConn) { c.OnClose = func() error { _ = c.Conn.Close(); panic("the reason") } },
		"Read, while a handler runs": func(c *usercodetest.OddConn) {
			n := 0
			c.OnRead = func(p []byte) (int, error) {
				if n++; n > 1 {
					panic("the reason")
				}
				return c.Conn.Read(p)
			}
		},
	} {
		t.Run(where, func(t *testing.T) {
			s := &server.Server{Logger: slog.New(badLog{runtime.Goexit}), Handler: server.HandlerFunc(
				func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
					if where == "Read, while a handler runs" {
						<-ctx.Done()
					}
					return errBoom
				})}
			ours, theirs := net.Pipe()
			c := &usercodetest.OddConn{Conn: theirs}
			odd(c)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = s.ServeConn(ctx, c)
			}()
			_ = dirty.WriteMessage(ours, dirty.NewRequest(1, app, "do", nil, nil))
			_, _ = dirty.ReadMessage(ours)
			_ = ours.Close()
			wait(t, "ServeConn", served)
			require.NoError(t, s.Shutdown(within(t, time.Minute)))
			noGoroutines(t)
		})
	}
}
