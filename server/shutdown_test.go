package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func within(tb testing.TB, d time.Duration) context.Context {
	tb.Helper()
	c, cancel := context.WithTimeout(ctx, d)
	tb.Cleanup(cancel)
	return c
}

// Idle connections are closed at once, also those that never sent anything, and
// those in the middle of a frame.
func TestShutdownIdle(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(echo)}
	path := start(t, s)
	used, fresh, half := dial(t, path), dial(t, path), dial(t, path)
	usable(t, used)
	_, err := half.NetConn().Write(message(dirty.NewStatusRequest(1))[:7])
	require.NoError(t, err)
	eventually(t, "all are served", func() bool { return s.Stats().Conns == 3 })
	begin := time.Now()
	require.NoError(t, s.Shutdown(ctx))
	assert.Less(t, time.Since(begin), server.DefaultFrameTimeout*3/4, "it does not wait for the rest of the frame")
	for _, c := range []*dirty.Conn{used, fresh, half} {
		closed(t, c)
	}
	assert.NoFileExists(t, path)
	assert.NoError(t, s.Shutdown(ctx), "again")
	assert.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, s.ListenAndServe(path))
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	assert.Equal(t, server.ErrServerClosed, s.Serve(l))
	_, theirs := net.Pipe()
	assert.Equal(t, server.ErrServerClosed, s.ServeConn(ctx, theirs))
	require.NoError(t, os.Remove(path))
}

// What runs is answered to its end; what was sent behind it is not begun.
func TestShutdownWaits(t *testing.T) {
	var calls atomic.Int64
	release := make(chan struct{})
	s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		calls.Add(1)
		if r.Action == "stream" {
			_ = w.Chunk(1)
		}
		<-release
		if r.Action == "stream" {
			return w.Chunk(2)
		}
		return w.Respond("x")
	})}
	path := start(t, s)
	one, stream := dial(t, path), dial(t, path)
	send(t, one, "do")
	send(t, one, "behind")
	send(t, stream, "stream")
	require.Equal(t, dirty.NewChunk(1, int64(1)), receive(t, stream))
	eventually(t, "both run", func() bool { return calls.Load() == 2 })
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	eventually(t, "nobody can connect", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	require.Empty(t, done, "it waits")
	close(release)
	require.NoError(t, wait(t, "Shutdown", done))
	assert.Equal(t, dirty.NewResponse(1, "x"), receive(t, one))
	closed(t, one)
	assert.Equal(t, dirty.NewChunk(1, int64(2)), receive(t, stream))
	assert.Equal(t, dirty.NewEnd(1), receive(t, stream))
	closed(t, stream)
	assert.EqualValues(t, 2, calls.Load())
}

// When its context ends, Shutdown ends the handlers.
func TestShutdownGivesUp(t *testing.T) {
	h, running, causes := patient()
	s := &server.Server{Handler: h, MaxConcurrent: 2}
	path := start(t, s)
	var conns []*dirty.Conn
	for range 3 {
		c := dial(t, path)
		conns = append(conns, c)
		send(t, c, "wait")
	}
	wait(t, "a handler", running)
	wait(t, "a handler", running)
	eventually(t, "one waits", func() bool { return s.Stats().Queued == 1 })
	reason := errors.New("the reason")
	c, cancel := context.WithTimeoutCause(ctx, 50*time.Millisecond, reason)
	defer cancel()
	err := s.Shutdown(c)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorIs(t, err, reason)
	for range 2 {
		assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
	}
	for _, c := range conns {
		closed(t, c)
	}
	assert.NoError(t, s.Shutdown(ctx), "all have ended")
	assert.Empty(t, running, "the one that waited never ran")
}

func TestShutdownWithEndedContext(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	s := new(server.Server)
	assert.NoError(t, s.Shutdown(ended), "there is nothing to wait for")

	h, running, _ := patient()
	s = &server.Server{Handler: h}
	c := connect(t, s)
	send(t, c, "wait")
	wait(t, "the handler", running)
	err := s.Shutdown(ended)
	assert.ErrorIs(t, err, context.Canceled)
	closed(t, c)
}

func TestClose(t *testing.T) {
	h, running, causes := patient()
	s := &server.Server{Handler: h}
	path := start(t, s)
	busy, idle := dial(t, path), dial(t, path)
	usable(t, idle)
	send(t, busy, "wait")
	wait(t, "the handler", running)
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
	closed(t, busy)
	closed(t, idle)
	assert.NoError(t, s.Shutdown(within(t, time.Minute)))
}

// Close does not wait for a handler that does not heed its context; Shutdown can.
func TestCloseWithStubbornHandler(t *testing.T) {
	release, running := make(chan struct{}), make(chan struct{}, 1)
	s := &server.Server{Handler: server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error {
		running <- struct{}{}
		<-release
		return nil
	})}
	c := connect(t, s)
	send(t, c, "do")
	wait(t, "the handler", running)
	require.NoError(t, s.Close())
	closed(t, c)
	assert.ErrorIs(t, s.Shutdown(within(t, 20*time.Millisecond)), context.DeadlineExceeded)
	close(release)
	assert.NoError(t, s.Shutdown(ctx))
}

// A handler may close its server.
func TestCloseFromHandler(t *testing.T) {
	s := new(server.Server)
	s.Handler = server.HandlerFunc(func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
		err := s.Close()
		<-ctx.Done()
		return err
	})
	c := connect(t, s)
	send(t, c, "do")
	closed(t, c)
}

// A request whose handler has begun gets its reply, whenever Shutdown comes.
func TestShutdownUnderLoad(t *testing.T) {
	for round := range 8 {
		var begun, answered atomic.Int64
		s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			begun.Add(1)
			if round%2 == 0 { // some take longer
				for range r.ID % 3 * 100 {
					runtime.Gosched()
				}
			}
			if r.Action == "stream" {
				return errors.Join(w.Chunk(1), w.Chunk(2))
			}
			return w.Respond(r.Args)
		})}
		path := start(t, s)
		var clients sync.WaitGroup
		for i := range 16 {
			c := dial(t, path)
			clients.Go(func() {
				for id := uint64(i); ; id++ {
					action := "do"
					if id%2 == 0 {
						action = "stream"
					}
					if c.WriteMessage(dirty.NewRequest(id, app, action, []any{1}, nil)) != nil {
						return
					}
					for {
						m, err := c.ReadMessage()
						if err != nil {
							return
						}
						if m.Type() != dirty.TypeChunk {
							answered.Add(1)
							break
						}
					}
				}
			})
		}
		eventually(t, "there is load", func() bool { return begun.Load() > int64(100+50*round) })
		require.NoError(t, s.Shutdown(ctx))
		clients.Wait()
		require.Equal(t, begun.Load(), answered.Load())
	}
}

// Connections that come and go while the server is closed leave nothing.
func TestCloseWhileDialling(t *testing.T) {
	for range 10 {
		s := &server.Server{Handler: server.HandlerFunc(echo)}
		path := start(t, s)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					nc, err := net.Dial("unix", path)
					if err != nil {
						return
					}
					_ = dirty.WriteMessage(nc, dirty.NewStatusRequest(1))
					_ = nc.Close()
				}
			})
		}
		eventually(t, "connections come", func() bool { return s.Stats().Accepted > 8 })
		closeServer(t, s)
		wg.Wait()
		require.NoError(t, s.Shutdown(within(t, time.Minute)))
	}
}

// ServeConn serves without a listener, and ends with its context.
func TestServeConn(t *testing.T) {
	h, running, causes := patient()
	s := &server.Server{Handler: h}
	reason := errors.New("the reason")
	c, cancel := context.WithCancelCause(context.WithValue(ctx, userKey{}, "value"))
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.ServeConn(c, theirs) }()
	conn := dirty.NewConn(ours)
	assert.Equal(t, dirty.NewResponse(1, []any{int64(1)}), call(t, conn, "do", 1))
	send(t, conn, "wait")
	wait(t, "the handler", running)
	cancel(reason)
	assert.Equal(t, reason, wait(t, "the cause", causes))
	assert.Equal(t, reason, wait(t, "the end", served))

	_, theirs = net.Pipe()
	assert.Equal(t, reason, s.ServeConn(c, theirs), "it has ended before")

	ours, theirs = net.Pipe()
	go func() { served <- s.ServeConn(ctx, theirs) }()
	require.NoError(t, ours.Close())
	assert.NoError(t, wait(t, "the end", served), "the client has left")

	ours, theirs = net.Pipe()
	go func() { served <- s.ServeConn(ctx, theirs) }()
	_, _ = ours.Write([]byte("garbage of more than a header"))
	assert.ErrorIs(t, wait(t, "the end", served), dirty.ErrBadMagic)

	_, theirs = net.Pipe()
	go func() { served <- s.ServeConn(ctx, theirs) }()
	eventually(t, "it is served", func() bool { return s.Stats().Conns == 1 })
	require.NoError(t, s.Shutdown(ctx))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end", served))
	noGoroutines(t)
}
