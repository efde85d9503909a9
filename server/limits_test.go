package server_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMaxConns(t *testing.T) {
	var log record
	s := &server.Server{Handler: server.HandlerFunc(echo), MaxConns: 2, Logger: log.logger()}
	path := start(t, s)
	first, second := dial(t, path), dial(t, path)
	usable(t, first)
	usable(t, second)
	closed(t, dial(t, path)) // after a second, for it says nothing
	eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "too many connections") })
	assert.EqualValues(t, 1, s.Stats().Refused)

	ours, theirs := net.Pipe()
	assert.Equal(t, server.ErrTooManyConns, s.ServeConn(ctx, theirs))
	_, err := ours.Read(make([]byte, 1))
	assert.Error(t, err, "it was closed")

	require.NoError(t, first.Close())
	eventually(t, "there is room", func() bool { return s.Stats().Conns == 1 })
	usable(t, dial(t, path))
	usable(t, second)
}

// TestTooManyConns: a client beyond MaxConns learns that nothing ran, whatever it asks for.
func TestTooManyConns(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(echo), MaxConns: 1}
	path := start(t, s)
	first := dial(t, path)
	usable(t, first)
	large := make([]byte, 1<<20)
	for name, m := range map[string]dirty.Message{
		"request":       dirty.NewRequest(5, "app:A", "do", nil, nil),
		"large request": dirty.NewRequest(5, "app:A", "do", []any{large}, nil),
		"stash":         dirty.NewStashRequest(5, dirty.StashPut, "table", "key", large, ""),
		"status":        dirty.NewStatusRequest(5),
		"manage":        dirty.NewManageRequest(5, dirty.ManageAdd, 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, path)
			reply := ask(t, c, m)
			require.IsType(t, &dirty.ErrorReply{}, reply)
			assert.EqualValues(t, 5, reply.RequestID())
			err := reply.(*dirty.ErrorReply).Err
			require.ErrorIs(t, err, dirty.ErrNoWorkers)
			assert.ErrorContains(t, err, "the server has all 1 connections that it may have (MaxConns); nothing ran")
			app := ""
			if m.Type() == dirty.TypeRequest {
				app = "app:A"
			}
			assert.Equal(t, map[string]any{"app_path": app}, err.Details)
			closed(t, c)
		})
	}
	c := newClient(t, path)
	_, err := c.Execute(ctx, "app:A", "do")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	assert.True(t, client.SafeToRetry(err))
	require.NoError(t, first.Close())
	eventually(t, "there is room", func() bool {
		_, err := c.Execute(ctx, "app:A", "do")
		return err == nil
	})
}

// TestTooManyToTell: clients that say nothing keep no place for long, and do not keep the
// server from ending.
func TestTooManyToTell(t *testing.T) {
	const most = 64
	s := &server.Server{MaxConns: 1}
	path := start(t, s)
	usable(t, dial(t, path))
	silent := make([]*dirty.Conn, most)
	for i := range silent {
		silent[i] = dial(t, path)
	}
	for _, c := range silent {
		closed(t, c)
	}
	eventually(t, "clients are told again", func() bool {
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer c.Close()
		d := dirty.NewConn(c)
		_ = d.WriteMessage(dirty.NewStatusRequest(1))
		m, err := d.ReadMessage()
		return err == nil && m.Type() == dirty.TypeError
	})
	last := dial(t, path)
	require.NoError(t, s.Close())
	closed(t, last)
}

// Requests beyond MaxConcurrent are handled in the order in which they came.
func TestMaxConcurrent(t *testing.T) {
	const limit, clients = 2, 12
	next := make(chan struct{})
	order := make(chan int64, clients)
	var running, most atomic.Int64
	s := &server.Server{MaxConcurrent: limit, Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			order <- r.Args[0].(int64)
			<-next
			return w.Respond(r.Args[0])
		})}
	path := start(t, s)
	conns := make([]*dirty.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, path)
		send(t, conns[i], "do", i)
		eventually(t, "it runs or waits", func() bool {
			stats := s.Stats()
			return stats.Running+stats.Queued == i+1
		})
	}
	assert.Equal(t, limit, s.Stats().Running)
	usable(t, dial(t, path)) // the stash does not wait
	assert.EqualValues(t, 9, ask(t, dial(t, path), dirty.NewStatusRequest(9)).RequestID())
	for i := range conns {
		assert.EqualValues(t, i, wait(t, "the next one", order))
		if i >= limit-1 {
			next <- struct{}{}
		}
	}
	next <- struct{}{}
	for i, c := range conns {
		assert.Equal(t, dirty.NewResponse(1, int64(i)), receive(t, c))
	}
	assert.EqualValues(t, limit, most.Load())
}

// TestWaitingRequestsAreNotDecoded checks that requests which wait for their
// turn take the memory of their bytes alone. Decoded, these take many times that.
func TestWaitingRequestsAreNotDecoded(t *testing.T) {
	const waiting = 4
	args := make([]any, 1<<20-1) // of 1 byte each on the wire, 16 decoded
	next := make(chan struct{})
	s := &server.Server{MaxConcurrent: 1, Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			<-next
			return w.Respond(len(r.Args))
		})}
	path := start(t, s)
	first := dial(t, path)
	send(t, first, "do")
	eventually(t, "one runs", func() bool { return s.Stats().Running == 1 })
	data := message(dirty.NewRequest(1, app, "do", args, nil))
	before := memory()
	var conns []*dirty.Conn
	for i := range waiting {
		conns = append(conns, dial(t, path))
		_, err := conns[i].NetConn().Write(data)
		require.NoError(t, err)
		eventually(t, "it waits", func() bool { return s.Stats().Queued == i+1 })
	}
	assert.Less(t, memory()-before, int64(waiting*(4<<20)), "bytes for %d requests of 1 MiB", waiting)
	assert.EqualValues(t, 1, s.Stats().Requests)
	close(next)
	assert.Equal(t, dirty.NewResponse(1, int64(0)), receive(t, first))
	for _, c := range conns {
		assert.Equal(t, dirty.NewResponse(1, int64(len(args))), receive(t, c))
	}
	// One that cannot be decoded gives its place back.
	for range 3 {
		_, err := first.NetConn().Write(frame(dirty.TypeRequest, 5, []byte{0xff}))
		require.NoError(t, err)
		assert.ErrorIs(t, failed(t, receive(t, first)), dirty.ErrPeerProtocol)
	}
	assert.Equal(t, dirty.NewResponse(1, int64(0)), call(t, first, "do"))
}

// Who waits and leaves is never handled, and its place in the queue is gone.
func TestLeavingTheQueue(t *testing.T) {
	next := make(chan struct{})
	order := make(chan int64, 10)
	s := &server.Server{MaxConcurrent: 1, Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			order <- r.Args[0].(int64)
			<-next
			return w.Respond(nil)
		})}
	path := start(t, s)
	var conns []*dirty.Conn
	for i := range 4 {
		conns = append(conns, dial(t, path))
		send(t, conns[i], "do", i)
		eventually(t, "it runs or waits", func() bool { return s.Stats().Running+s.Stats().Queued == i+1 })
	}
	require.NoError(t, conns[1].Close())
	require.NoError(t, conns[2].Close())
	eventually(t, "they have left the queue", func() bool { return s.Stats().Queued == 1 })
	next <- struct{}{}
	receive(t, conns[0])
	next <- struct{}{}
	receive(t, conns[3])
	close(order)
	var got []int64
	for n := range order {
		got = append(got, n)
	}
	assert.Equal(t, []int64{0, 3}, got)
}

// A client that never reads takes the memory of one frame, and nobody else's
// time.
func TestClientsThatNeverRead(t *testing.T) {
	const hostile = 50
	big := make([]byte, 256<<10)
	s := &server.Server{Handler: server.HandlerFunc(
		func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			for r.Action == "stream" {
				if err := w.Chunk(big); err != nil {
					return err
				}
			}
			return w.Respond("x")
		})}
	synctest.Test(t, func(t *testing.T) {
		connect := func() *dirty.Conn {
			ours, theirs := net.Pipe()
			go func() { _ = s.ServeConn(ctx, theirs) }()
			return dirty.NewConn(ours)
		}
		before := memory()
		var conns []*dirty.Conn
		for range hostile {
			c := connect()
			send(t, c, "stream")
			conns = append(conns, c)
		}
		synctest.Wait()
		require.Equal(t, hostile, s.Stats().Running)
		assert.Less(t, memory()-before, int64(hostile)<<20, "bytes for %d clients", hostile)
		c := connect()
		begin := time.Now()
		for range 100 {
			require.Equal(t, dirty.NewResponse(1, "x"), call(t, c, "do"))
		}
		require.Zero(t, time.Since(begin), "nobody waits")
		time.Sleep(2 * server.DefaultWriteTimeout)
		assert.Zero(t, s.Stats().Running, "the write timeout ends them")
		assert.Equal(t, 1, s.Stats().Conns)
		for _, c := range append(conns, c) {
			_ = c.Close()
		}
	})
}

// memory returns the bytes that are in use.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A thousand connections, of which most are idle.
func TestThousandConnections(t *testing.T) {
	const n = 1000
	s := &server.Server{Handler: server.HandlerFunc(echo)}
	path := start(t, s)
	before := memory()
	conns := make([]*dirty.Conn, n)
	for i := range conns {
		conns[i] = dial(t, path)
		if i%100 == 99 { // the backlog is bounded
			usable(t, conns[i])
		}
	}
	eventually(t, "all are served", func() bool { return s.Stats().Conns == n })
	perConn := (memory() - before) / n // of both ends
	t.Logf("%d bytes a connection", perConn)
	assert.Less(t, perConn, int64(64<<10))
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < n; i += 4 {
				err := conns[i].WriteMessage(dirty.NewRequest(uint64(i), app, "do", []any{i}, nil))
				assert.NoError(t, err)
				m, err := conns[i].ReadMessage()
				assert.NoError(t, err)
				assert.Equal(t, dirty.NewResponse(uint64(i), []any{int64(i)}), m)
			}
		})
	}
	wg.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "all are gone", func() bool { return s.Stats().Conns == 0 })
	assert.EqualValues(t, n, s.Stats().Accepted)
}

// The limits bound both what is read and what is written.
func TestLimits(t *testing.T) {
	path := start(t, &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if r.Action == "long" {
			return w.Respond(strings.Repeat("x", 2000))
		}
		return w.Respond(len(r.Args[0].(string)))
	}), Limits: dirty.Limits{MaxPayload: 1000, MaxDepth: 4}})
	c := dial(t, path)
	assert.Equal(t, dirty.NewResponse(1, int64(100)), call(t, c, "do", strings.Repeat("x", 100)))
	assert.ErrorContains(t, failed(t, call(t, c, "long")), "2000 bytes, allowed 1000")
	assert.ErrorIs(t, failed(t, call(t, c, "do", nested(5))), dirty.ErrPeerProtocol)
	usable(t, c)
	assert.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "do", []any{strings.Repeat("x", 1000)}, nil)))
	closed(t, c)
}

func TestWrongLimits(t *testing.T) {
	s := &server.Server{Limits: dirty.Limits{MaxDepth: -1}}
	_, theirs := net.Pipe()
	assert.ErrorContains(t, s.ServeConn(ctx, theirs), "Limits.MaxDepth is -1")
	l, err := net.Listen("unix", folder(t)+"/s")
	require.NoError(t, err)
	assert.ErrorContains(t, s.Serve(l), "Limits.MaxDepth is -1")
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.NoError(t, s.Close())
}

// Many callers at once each get their own answers.
func TestManyCallers(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(echo))
	mux.Handle(app, "count", server.StreamFunc(counting(nil)))
	path := start(t, &server.Server{Handler: mux, MaxConcurrent: 4})
	c := newClient(t, path, client.WithMaxConns(16))
	stash := c.Stash("table")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 60 {
				v, err := client.Call[[]int](ctx, c, app, "echo", i, n)
				if !assert.NoError(t, err) || !assert.Equal(t, []int{i, n}, v) {
					return
				}
				sum := 0
				for v, err := range client.StreamOf[int](ctx, c, app, "count", n) {
					assert.NoError(t, err)
					sum += v
				}
				assert.Equal(t, n*(n-1)/2, sum)
				assert.NoError(t, stash.Put(ctx, i, n))
				got, err := client.StashGet[int](ctx, stash, i)
				assert.NoError(t, err)
				assert.Equal(t, n, got)
				if n%10 == 0 {
					canceled, cancel := context.WithCancel(ctx)
					cancel()
					_, err := c.Execute(canceled, app, "echo")
					assert.True(t, errors.Is(err, context.Canceled))
				}
			}
		})
	}
	wg.Wait()
}
