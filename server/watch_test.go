package server_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patient returns a handler of which action "wait" runs until its context ends,
// and the causes for which that was.
func patient() (h server.HandlerFunc, running chan struct{}, causes chan error) {
	running, causes = make(chan struct{}, 1000), make(chan error, 1000)
	return func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if r.Action != "wait" {
			return w.Respond(r.Args)
		}
		running <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}, running, causes
}

func send(tb testing.TB, c *dirty.Conn, action string, args ...any) {
	tb.Helper()
	require.NoError(tb, c.WriteMessage(dirty.NewRequest(1, app, action, args, nil)))
}

// awaitWatch waits until a watch has read what the client has sent ahead, or the
// end of it. Only on Linux can that be seen; elsewhere the test goes on without.
func awaitWatch(tb testing.TB) {
	tb.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	eventually(tb, "the watch has read", func() bool {
		return slices.ContainsFunc(goroutines(), func(stack string) bool { return strings.Contains(stack, "(*watch).poll") })
	})
}

func TestHandlerIsToldThatTheClientLeft(t *testing.T) {
	leave := map[string]func(c *dirty.Conn){
		"close": func(c *dirty.Conn) { _ = c.Close() },
		"close in the middle of a frame": func(c *dirty.Conn) {
			_, _ = c.NetConn().Write(message(dirty.NewStatusRequest(1))[:5])
			_ = c.Close()
		},
	}
	if runtime.GOOS == "linux" { // elsewhere the frame that is kept hides it
		leave["close behind another frame"] = func(c *dirty.Conn) {
			_ = c.WriteMessage(dirty.NewStatusRequest(1))
			awaitWatch(t)
			_ = c.Close()
		}
		leave["close behind a lot"] = func(c *dirty.Conn) {
			_, _ = c.NetConn().Write(bytes.Repeat(message(dirty.NewStatusRequest(1)), 1000))
			_ = c.Close()
		}
		leave["half close, then close"] = func(c *dirty.Conn) {
			_ = c.NetConn().(*net.UnixConn).CloseWrite()
			awaitWatch(t)
			_ = c.Close()
		}
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			h, running, causes := patient()
			s := &server.Server{Handler: h}
			c := connect(t, s)
			send(t, c, "wait")
			wait(t, "the handler", running)
			leave(c)
			assert.Equal(t, server.ErrClientGone, wait(t, "the cause", causes))
			eventually(t, "the connection is gone", func() bool { return s.Stats().Conns == 0 })
		})
	}
}

// The write that fails because the client has left tells the handler as well.
func TestWriteFailsWhenTheClientLeft(t *testing.T) {
	errs := make(chan error, 3)
	left := make(chan struct{})
	c := connectTo(t, func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		<-left
		errs <- w.Chunk("x") // at once: no watch has noticed yet
		errs <- w.Respond("x")
		errs <- context.Cause(ctx)
		return nil
	})
	send(t, c, "do")
	require.NoError(t, c.Close())
	close(left)
	for range 3 {
		assert.ErrorIs(t, wait(t, "the error", errs), server.ErrClientGone)
	}
}

// A client that has closed only its writing side still gets its replies.
func TestHalfClose(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a half close is taken for leaving on this system")
	}
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		awaitWatch(t)
		return w.Respond(r.Args)
	})
	for i := range 3 {
		send(t, c, "do", i)
	}
	require.NoError(t, c.NetConn().(*net.UnixConn).CloseWrite())
	for i := range 3 {
		assert.Equal(t, dirty.NewResponse(1, []any{int64(i)}), receive(t, c))
	}
	closed(t, c)
}

// Frames that are sent ahead are answered in order, whoever reads them: short
// handlers, and such that are watched.
func TestPipelining(t *testing.T) {
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if r.Args[1].(bool) {
			awaitWatch(t)
		}
		if r.Action == "stream" {
			_ = w.Chunk(r.Args[0])
			return w.Chunk(r.Args[0])
		}
		return w.Respond(r.Args[0])
	})
	const n = 200
	sent := make(chan error, 1)
	go func() {
		var all []byte
		for i := range n {
			action := "do"
			if i%3 == 0 {
				action = "stream"
			}
			all = append(all, message(dirty.NewRequest(uint64(i), app, action, []any{i, i%20 == 0}, nil))...)
		}
		_, err := c.NetConn().Write(all)
		sent <- err
	}()
	for i := range n {
		id := uint64(i)
		if i%3 != 0 {
			require.Equal(t, dirty.NewResponse(id, int64(i)), receive(t, c))
			continue
		}
		require.Equal(t, dirty.NewChunk(id, int64(i)), receive(t, c))
		require.Equal(t, dirty.NewChunk(id, int64(i)), receive(t, c))
		require.Equal(t, dirty.NewEnd(id), receive(t, c))
	}
	require.NoError(t, <-sent)
}

// Messages of all kinds wait their turn.
func TestPipelinedKinds(t *testing.T) {
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		awaitWatch(t)
		return w.Respond(nil)
	})
	var all []byte
	for _, m := range []dirty.Message{
		dirty.NewRequest(1, app, "do", nil, nil), dirty.NewStatusRequest(2), dirty.NewStashRequest(3, dirty.StashTables, "", nil, nil, ""),
		dirty.NewRequest(4, app, "do", nil, nil), dirty.NewManageRequest(5, dirty.ManageAdd, 1), dirty.NewEnd(6),
	} {
		all = append(all, message(m)...)
	}
	_, err := c.NetConn().Write(all)
	require.NoError(t, err)
	for id := range 6 {
		assert.EqualValues(t, id+1, receive(t, c).RequestID())
	}
}

// Garbage behind a request does not take its reply away.
func TestGarbageBehindARequest(t *testing.T) {
	c := connectTo(t, func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		awaitWatch(t)
		return w.Respond("x")
	})
	_, err := c.NetConn().Write(append(message(dirty.NewRequest(1, app, "do", nil, nil)), "garbage of more than a header"...))
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(1, "x"), receive(t, c))
	closed(t, c)
}

// A client that sends without waiting is made to wait: little of it is kept.
func TestReadAheadIsBounded(t *testing.T) {
	h, running, causes := patient()
	s := &server.Server{Handler: h}
	inBubble(t, s, func(t *testing.T, nc net.Conn, served <-chan error) {
		c := dirty.NewConn(nc)
		send(t, c, "wait")
		<-running
		block := message(dirty.NewRequest(1, app, "do", []any{make([]byte, 1<<20)}, nil))
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Hour)))
		sent := 0
		for {
			n, err := nc.Write(block)
			sent += n
			if err != nil {
				break
			}
			require.Less(t, sent, 100<<20)
		}
		require.Less(t, sent, 2<<20, "one frame, and what the Reader buffers")
		require.NoError(t, s.Close())
		require.Equal(t, server.ErrServerClosed, <-causes)
		require.Equal(t, server.ErrServerClosed, <-served)
	})
}

// The context of a handler ends with it, for what it has started.
func TestContextEndsWithTheHandler(t *testing.T) {
	contexts := make(chan context.Context, 1)
	c := connectTo(t, func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
		contexts <- ctx
		return nil
	})
	call(t, c, "do")
	handler := <-contexts
	wait(t, "its end", handler.Done())
	assert.Equal(t, context.Canceled, context.Cause(handler))
}

// Everything works with fake time, over a pipe.
func TestInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, running, causes := patient()
		s := &server.Server{Handler: h}
		for _, early := range []bool{false, true} {
			ours, theirs := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- s.ServeConn(ctx, theirs) }()
			c := dirty.NewConn(ours)
			for i := range 3 {
				m := call(t, c, "do", i)
				require.Equal(t, dirty.NewResponse(1, []any{int64(i)}), m)
				time.Sleep(time.Hour)
			}
			send(t, c, "wait")
			<-running
			if early {
				time.Sleep(time.Second)
				require.NoError(t, c.WriteMessage(dirty.NewStatusRequest(1)), "one frame is taken")
			} else {
				require.NoError(t, c.Close())
				require.Equal(t, server.ErrClientGone, <-causes)
				require.NoError(t, <-served)
				continue
			}
			// Nothing tells that this one leaves, because its frame is kept.
			require.NoError(t, c.Close())
			time.Sleep(time.Hour)
			require.Empty(t, causes)
			require.NoError(t, s.Close())
			require.Equal(t, server.ErrServerClosed, <-causes)
			require.Equal(t, server.ErrServerClosed, <-served)
		}
	})
}

// TestClientsLeaveAtAllTimes: connections that are busy, idle or new when their handler
// begins to take long are watched by one timer. Each handler is told in time that its
// client has left.
func TestClientsLeaveAtAllTimes(t *testing.T) {
	const inTime = 25 * time.Millisecond // twice the delay of a watch, and a bit
	synctest.Test(t, func(t *testing.T) {
		h, running, causes := patient()
		s := &server.Server{Handler: h}
		served := make(chan error, 100)
		dial := func() *dirty.Conn {
			ours, theirs := net.Pipe()
			go func() { served <- s.ServeConn(ctx, theirs) }()
			return dirty.NewConn(ours)
		}
		var conns []*dirty.Conn
		for _, pause := range []time.Duration{0, 3 * time.Millisecond, 10 * time.Millisecond, 17 * time.Millisecond, time.Second} {
			for calls := range 20 {
				c := dial()
				for range calls {
					call(t, c, "do")
					time.Sleep(pause)
				}
				send(t, c, "wait")
				<-running
				if calls%2 == 0 { // it is in the way of the others
					conns = append(conns, c)
					continue
				}
				left := time.Now()
				require.NoError(t, c.Close())
				require.Equal(t, server.ErrClientGone, <-causes)
				require.LessOrEqual(t, time.Since(left), inTime, "after %d calls every %v", calls, pause)
				require.NoError(t, <-served)
			}
		}
		for _, c := range conns {
			require.NoError(t, c.Close())
			require.Equal(t, server.ErrClientGone, <-causes)
			require.NoError(t, <-served)
		}
	})
}
