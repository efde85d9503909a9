package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/internal/idlememory"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLargeFrames checks that 60 MiB come byte for byte: as an answer to a client in the
// process, and as a chunk to one at a socket.
func TestLargeFrames(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	random := rand.NewChaCha8([32]byte{1})
	data := make([]byte, 60<<20)
	_, _ = random.Read(data)
	mux := newMux("gpu1")
	mux.Handle(app, "chunks", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		return errors.Join(w.Chunk([]byte("first")), w.Chunk(data), w.Chunk([]byte("last")))
	}))
	h := startHost(t, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1")})
	f, direct := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	socket := filepath.Join(folder(t), "front")
	startArbiter(t, socket, &server.Server{FrameHandler: f})
	v, err := client.Call[[][]byte](ctx, direct, app, "echo", data)
	require.NoError(t, err)
	require.Len(t, v, 1)
	require.True(t, bytes.Equal(data, v[0]))
	var chunks [][]byte
	for chunk, err := range client.StreamOf[[]byte](ctx, dialSocket(t, socket), app, "chunks") {
		require.NoError(t, err)
		chunks = append(chunks, chunk)
	}
	require.Len(t, chunks, 3)
	require.True(t, bytes.Equal(data, chunks[1]))
	require.Equal(t, "first last", string(chunks[0])+" "+string(chunks[2]))
}

// TestIdleMemory checks that neither a front nor an agent holds memory of large frames
// when nothing runs.
func TestIdleMemory(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	const slots, size = 4, 8 << 20
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: slots})
	f, direct := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)}, client.WithMaxIdle(slots, time.Hour))
	awaitUp(t, f, 1)
	call := func(size int) {
		var calls sync.WaitGroup
		for range slots {
			calls.Go(func() {
				v, err := client.Call[[][]byte](ctx, direct, app, "echo", make([]byte, size))
				assert.NoError(t, err)
				assert.Len(t, v[0], size)
			})
		}
		calls.Wait()
	}
	call(1)
	before := idlememory.Used()
	for range 3 {
		call(size)
	}
	// The callers may have their answers before front and agent are done.
	require.Eventually(t, func() bool { return idlememory.Used() < before+size }, patience, time.Millisecond)
}

// TestLargeAnswerCut checks that an arbiter which dies inside a large answer, wherever, is
// an outcome that is not known, after the chunks before that; and that its slot is free.
func TestLargeAnswerCut(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	const size = 1 << 20
	var at atomic.Int64 // where it dies; negative: not at all
	path := filepath.Join(folder(t), "arbiter")
	accept(t, "unix", path, func(nc net.Conn) { serveAndDie(nc, size, &at) })
	h := &host{arbiter: &arbiter{tb: t, path: path}}
	h.startAgent(cluster.AgentConfig{TLS: ca.agent("gpu1")})
	f, direct := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	socket := filepath.Join(folder(t), "front")
	startArbiter(t, socket, &server.Server{FrameHandler: f})
	awaitUp(t, f, 1)
	for _, c := range []*client.Client{direct, dialSocket(t, socket)} {
		for _, point := range []int64{0, 1, dirty.HeaderSize, 100, 64 << 10, 64<<10 + dirty.HeaderSize, 256 << 10, 600000, size - 1, size, -1} {
			for _, action := range []string{"respond", "stream"} {
				at.Store(point)
				var got [][]byte
				var err error
				if action == "stream" {
					for chunk, failure := range client.StreamOf[[]byte](ctx, c, app, action) {
						if err = failure; err == nil {
							got = append(got, chunk)
						}
					}
				} else {
					var v []byte
					if v, err = client.Call[[]byte](ctx, c, app, action); err == nil {
						got = append(got, []byte("first"), v)
					}
				}
				name := fmt.Sprintf("%s, cut at %d", action, point)
				if point < 0 {
					require.NoError(t, err, name)
					require.Len(t, got, 2, name)
					require.Len(t, got[1], size)
					continue
				}
				require.ErrorIs(t, err, client.ErrOutcomeUnknown, name)
				if action == "stream" {
					require.Equal(t, [][]byte{[]byte("first")}, got, name)
				}
			}
		}
	}
	awaitStatus(t, f, func(s cluster.Status) bool { return s.Hosts[0].Free == 1 })
}

// accept serves connections until the test ends. It returns the address.
func accept(t *testing.T, network, addr string, serve func(net.Conn)) string {
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	acceptFrom(t, l, serve)
	return l.Addr().String()
}

// acceptFrom serves the connections of a listener until the test ends.
func acceptFrom(t *testing.T, l net.Listener, serve func(net.Conn)) {
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
}

// serveAndDie answers as an arbiter with one worker does, but closes the connection after
// some bytes of a large frame.
func serveAndDie(nc net.Conn, size int, at *atomic.Int64) {
	c := dirty.NewConn(nc)
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return
		}
		id := m.RequestID()
		large := dirty.Message(dirty.NewResponse(id, make([]byte, size)))
		switch m := m.(type) {
		case *dirty.StatusRequest:
			err = c.WriteMessage(dirty.NewResponse(id, map[string]any{"arbiter_pid": 1, "apps": []any{app}, "worker_count": 1,
				"workers": []any{map[string]any{"pid": 2, "age": 1, "apps": []any{app}, "booted": false, "last_heartbeat": 0.5}}}))
			if err != nil {
				return
			}
			continue
		case *dirty.Request:
			if m.Action == "stream" {
				large = dirty.NewChunk(id, make([]byte, size))
				err = c.WriteMessage(dirty.NewChunk(id, []byte("first")))
			}
		}
		b, failure := dirty.AppendMessage(nil, large)
		if err != nil || failure != nil {
			return
		}
		n := at.Load()
		if n < 0 {
			n = int64(len(b))
		}
		if _, err := nc.Write(b[:n]); err != nil || int(n) < len(b) {
			return
		}
		if _, isRequest := m.(*dirty.Request); isRequest && large.Type() == dirty.TypeChunk && c.WriteMessage(dirty.NewEnd(id)) != nil {
			return
		}
	}
}

// stuckAnswer is an answer of 32 MiB, which is more than the sockets hold, to a caller at the
// socket of a front. The action has ended, and the worker is free. The caller has read only
// the first bytes.
type stuckAnswer struct {
	host   *host
	front  *cluster.Front
	caller net.Conn
	first  []byte
}

func startStuckAnswer(t *testing.T) *stuckAnswer {
	t.Helper()
	ca := newAuthority(t)
	written := make(chan error, 1)
	mux := newMux("gpu1")
	mux.Handle(app, "large", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		err := w.Respond(make([]byte, 32<<20))
		written <- err
		return err
	}))
	h := startHost(t, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1")})
	f, _ := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	socket := filepath.Join(folder(t), "front")
	startArbiter(t, socket, &server.Server{FrameHandler: f})
	awaitUp(t, f, 1)

	nc, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, dirty.WriteMessage(nc, dirty.NewRequest(1, app, "large", nil, nil)))
	first := make([]byte, 1000)
	_, err = io.ReadFull(nc, first)
	require.NoError(t, err)
	require.NoError(t, receive(t, "the end of the action", written))
	require.Eventually(t, func() bool {
		_, free := h.agent.Load()
		return free == 1
	}, patience, time.Millisecond, "the worker is free")
	return &stuckAnswer{h, f, nc, first}
}

// TestSlowReceiver checks that a front which does not read keeps no worker busy: the
// agent reads the whole answer, and the slot is free.
func TestSlowReceiver(t *testing.T) {
	a := startStuckAnswer(t)
	// Whoever leaves then leaves nothing behind.
	require.NoError(t, a.caller.Close())
	awaitStatus(t, a.front, func(s cluster.Status) bool { return s.Hosts[0].Free == 1 && s.Hosts[0].Running == 0 })
}

// TestDrainWritesAnswers checks that an agent that leaves writes answers to their end,
// though the workers are free by then.
func TestDrainWritesAnswers(t *testing.T) {
	ctx, a := testContext(t), startStuckAnswer(t)
	ended := make(chan error, 1)
	go func() { ended <- a.host.agent.Shutdown(ctx) }()
	receive(t, "the leaving", a.host.agent.Leaving())
	select {
	case <-ended:
		require.FailNow(t, "the agent has not waited")
	case <-time.After(500 * time.Millisecond): // it would have ended
	}
	m, err := dirty.ReadMessage(io.MultiReader(bytes.NewReader(a.first), a.caller))
	require.NoError(t, err)
	require.Equal(t, dirty.TypeResponse, m.Type())
	assert.Len(t, m.(*dirty.Response).Result, 32<<20)
	require.NoError(t, receive(t, "the end", ended))
}

// TestAbandonedLargeAnswer checks that callers who leave inside a large answer do no harm
// to those after them.
func TestAbandonedLargeAnswer(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprintf("StopAbandoned %v", stop), func(t *testing.T) {
			ctx, ca := testContext(t), newAuthority(t)
			h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), StopAbandoned: stop})
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
			socket := filepath.Join(folder(t), "front")
			startArbiter(t, socket, &server.Server{FrameHandler: f})
			awaitUp(t, f, 1)
			const rounds = 5
			data := make([]byte, 4<<20)
			for i := range rounds {
				nc, err := net.Dial("unix", socket)
				require.NoError(t, err)
				require.NoError(t, dirty.WriteMessage(nc, dirty.NewRequest(1, app, "echo", []any{data}, nil)))
				_, err = io.ReadFull(nc, make([]byte, 16+i*len(data)/rounds))
				require.NoError(t, err)
				require.NoError(t, nc.Close())
				v, err := c.Execute(ctx, app, "host")
				require.NoError(t, err)
				require.Equal(t, "gpu1", v)
			}
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Hosts[0].Free == 1 })
		})
	}
}
