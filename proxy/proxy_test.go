package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/proxy"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const app = "app:App"

// events collects what a tap is told of.
type events struct {
	mu   sync.Mutex
	list []proxy.Event
}

func (e *events) tap(event proxy.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

func (e *events) all() []proxy.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.list
}

// count returns how many events there were of a kind.
func (e *events) count(kind proxy.Kind) (n int) {
	for _, event := range e.all() {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

// start serves a proxy on a socket of its own and returns the path. It checks at
// the end of the test that nothing of the proxy is left.
func start(tb testing.TB, p *proxy.Proxy) string {
	tb.Helper()
	path, served := serve(tb, p)
	tb.Cleanup(func() {
		shutdown(tb, p)
		assert.ErrorIs(tb, receive(tb, "the end of Serve", served), proxy.ErrClosed)
	})
	return path
}

// serve serves a proxy on a socket of its own. The channel gets what Serve returns.
// Serve may not have begun yet: that is sure once a client was answered.
func serve(tb testing.TB, p *proxy.Proxy) (path string, served <-chan error) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "proxy")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(tb, err)
	result := make(chan error, 1)
	go func() { result <- p.Serve(l) }()
	return path, result
}

func shutdown(tb testing.TB, p *proxy.Proxy) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(tb, p.Shutdown(ctx))
}

func newClient(tb testing.TB, path string) *client.Client {
	tb.Helper()
	c, err := client.New(client.WithSocket(path))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// newArbiter has an action that echoes, one that streams and one that fails.
func newArbiter(tb testing.TB) *dirtytest.Server {
	tb.Helper()
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond(r.Args[0])
	}))
	mux.Handle(app, "count", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		for i := range 3 {
			if err := w.Chunk(i); err != nil {
				return err
			}
		}
		return nil
	}))
	mux.Handle(app, "fail", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error {
		return errors.New("boom")
	}))
	return dirtytest.NewServer(tb, mux)
}

// TestTap: what passes is told, requests and their answers in pairs.
func TestTap(t *testing.T) {
	arbiter := newArbiter(t)
	var seen events
	p := &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket()), Tap: seen.tap, Payloads: true}
	path := start(t, p)
	ctx := context.Background()
	c := newClient(t, path)
	v, err := c.Execute(ctx, app, "echo", "hello")
	require.NoError(t, err)
	assert.Equal(t, "hello", v)
	for _, err := range c.Stream(ctx, app, "count") {
		require.NoError(t, err)
	}
	_, err = c.Execute(ctx, app, "fail")
	require.ErrorIs(t, err, dirty.ErrApp)
	require.NoError(t, c.Stash("table").Put(ctx, "k", 1))
	require.NoError(t, c.Ping(ctx))
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool {
		return seen.count(proxy.Frame) == 13 && seen.count(proxy.Opened) == seen.count(proxy.Closed)
	}, time.Minute, time.Millisecond)
	shutdown(t, p)

	var lines []string
	opened, closed := 0, 0
	for _, e := range seen.all() {
		assert.Zero(t, e.Missed)
		assert.NoError(t, e.Err)
		switch e.Kind {
		case proxy.Opened:
			opened++
		case proxy.Closed:
			closed++
		case proxy.Bytes:
			assert.Fail(t, "there are no other bytes")
		case proxy.Frame:
			line := fmt.Sprintf("%s %s %q %q", e.Direction, e.Header.Type, e.App, e.Action)
			if e.Answer != nil {
				assert.Positive(t, e.Answer.Since)
				line += fmt.Sprintf(" first=%t last=%t chunk=%d", e.Answer.First, e.Answer.Last, e.Answer.Chunk)
			}
			lines = append(lines, line)
			m, err := dirty.Frame{Header: e.Header, Payload: e.Payload}.Message()
			require.NoError(t, err)
			if r, ok := m.(*dirty.Request); ok && r.Action == "echo" {
				assert.Equal(t, []any{"hello"}, r.Args)
			}
			assert.NotContains(t, e.String(), "hello")
		}
	}
	assert.Positive(t, opened)
	assert.Equal(t, opened, closed)
	assert.Equal(t, []string{
		`> request "app:App" "echo"`,
		`< response "app:App" "echo" first=true last=true chunk=0`,
		`> request "app:App" "count"`,
		`< chunk "app:App" "count" first=true last=false chunk=1`,
		`< chunk "app:App" "count" first=false last=false chunk=2`,
		`< chunk "app:App" "count" first=false last=false chunk=3`,
		`< end "app:App" "count" first=false last=true chunk=0`,
		`> request "app:App" "fail"`,
		`< error "app:App" "fail" first=true last=true chunk=0`,
		`> stash "" "stash put"`,
		`< response "" "stash put" first=true last=true chunk=0`,
		`> status "" "status"`,
		`< response "" "status" first=true last=true chunk=0`,
	}, lines)
}

// echoServer answers whatever comes with the same bytes, and ends when the client
// has ended.
func echoServer(tb testing.TB) func(ctx context.Context) (net.Conn, error) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// TestBytesForByte: whatever comes goes through unchanged, in both directions, on
// many connections at once.
func TestByteForByte(t *testing.T) {
	frame := func(payload []byte) []byte {
		b, err := dirty.Frame{Header: dirty.Header{Type: dirty.TypeRequest, RequestID: 1}, Payload: payload}.MarshalBinary()
		require.NoError(t, err)
		return b
	}
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, tt := range map[string]struct {
		data  []byte
		conns int
	}{
		"frames":          {bytes.Repeat(frame([]byte("no value")), 500), 64},
		"noise":           {noise, 64},
		"frame and noise": {append(frame([]byte{0xff}), noise...), 64},
		"cut":             {frame(noise)[:1000], 64},
		"cut header":      {[]byte("GD\x01"), 64},
		"nothing":         {nil, 64},
		"too large":       {append([]byte("GD\x01\x01\xff\xff\xff\xff12345678"), noise...), 64},
		"60 MiB":          {frame(bytes.Repeat(noise, 60<<20/len(noise))), 2},
	} {
		t.Run(name, func(t *testing.T) {
			var seen events
			p := &proxy.Proxy{Dial: echoServer(t), Tap: seen.tap, Payloads: true}
			path := start(t, p)
			want := sha256.Sum256(tt.data)
			var wg sync.WaitGroup
			for range tt.conns {
				wg.Go(func() {
					c, err := net.Dial("unix", path)
					if !assert.NoError(t, err) {
						return
					}
					defer c.Close()
					go func() {
						_, err := c.Write(tt.data)
						assert.NoError(t, err)
						assert.NoError(t, c.(*net.UnixConn).CloseWrite()) // passed on, and the echo ends
					}()
					got, err := io.ReadAll(c)
					assert.NoError(t, err)
					assert.Equal(t, want, sha256.Sum256(got))
				})
			}
			wg.Wait()
		})
	}
}

// TestBroken: bytes that are no frames are told as they are, with the reason.
func TestBroken(t *testing.T) {
	for name, tt := range map[string]struct {
		sent string
		want error
	}{
		"HTTP":       {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", dirty.ErrBadMagic},
		"cut header": {"GD\x01", io.ErrUnexpectedEOF},
		"cut frame":  {"GD\x01\x01\x00\x00\x00\x0512345678ab", io.ErrUnexpectedEOF},
		"too large":  {"GD\x01\x01\xff\xff\xff\xff12345678", dirty.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var seen events
			p := &proxy.Proxy{Dial: echoServer(t), Tap: seen.tap, Payloads: true}
			path := start(t, p)
			c, err := net.Dial("unix", path)
			require.NoError(t, err)
			_, err = io.WriteString(c, tt.sent)
			require.NoError(t, err)
			require.NoError(t, c.(*net.UnixConn).CloseWrite())
			_, err = io.ReadAll(c)
			require.NoError(t, err)
			require.NoError(t, c.Close())
			shutdown(t, p)
			var told []byte
			var reason error
			for _, e := range seen.all() {
				if e.Kind == proxy.Bytes && e.Direction == capture.ToArbiter {
					told = append(told, e.Payload...)
					reason = errors.Join(reason, e.Err)
				}
			}
			assert.Equal(t, tt.sent, string(told))
			assert.ErrorIs(t, reason, tt.want)
		})
	}
}

// TestSlowTap: a tap that blocks slows nothing, and is told what it missed.
func TestSlowTap(t *testing.T) {
	arbiter := newArbiter(t)
	block := make(chan struct{})
	var seen events
	p := &proxy.Proxy{
		Dial: proxy.DialUnix(arbiter.Socket()), Payloads: true, MaxPending: 1 << 20,
		Tap: func(e proxy.Event) { <-block; seen.tap(e) },
	}
	c := newClient(t, start(t, p))
	const calls = 50
	for range calls {
		_, err := c.Execute(context.Background(), app, "echo", make([]byte, 100<<10))
		require.NoError(t, err)
	}
	close(block)
	require.NoError(t, c.Close())
	shutdown(t, p)
	withPayload, frames := 0, 0
	var missed uint64
	for _, e := range seen.all() {
		missed += e.Missed
		if e.Kind == proxy.Frame {
			frames++
			if e.Payload != nil {
				withPayload++
			}
		}
	}
	assert.Equal(t, 2*calls, frames)
	assert.Zero(t, missed, "frames without their payloads take no room")
	assert.Less(t, withPayload, 2*calls)
	assert.Positive(t, withPayload)
}

// TestHooksOfOthers: a tap or a Dial that panics or calls back in ends nothing and
// hangs nothing.
func TestHooksOfOthers(t *testing.T) {
	arbiter := newArbiter(t)
	t.Run("tap panics", func(t *testing.T) {
		p := &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket()), Tap: func(proxy.Event) { panic("mine") }}
		require.NoError(t, newClient(t, start(t, p)).Ping(context.Background()))
	})
	t.Run("tap goexits", func(t *testing.T) {
		var seen events
		p := &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket()), Tap: func(e proxy.Event) { seen.tap(e); runtime.Goexit() }}
		require.NoError(t, newClient(t, start(t, p)).Ping(context.Background()))
		shutdown(t, p)
		assert.Equal(t, proxy.Opened, seen.all()[0].Kind)
	})
	t.Run("tap closes", func(t *testing.T) {
		p := &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket())}
		p.Tap = func(proxy.Event) { _ = p.Close() }
		_ = newClient(t, start(t, p)).Ping(context.Background())
	})
	for name, dial := range map[string]func(p *proxy.Proxy) (net.Conn, error){
		"dial fails":   func(*proxy.Proxy) (net.Conn, error) { return nil, errors.New("no way") },
		"dial nil":     func(*proxy.Proxy) (net.Conn, error) { return nil, nil },
		"dial panics":  func(*proxy.Proxy) (net.Conn, error) { panic("mine") },
		"dial goexits": func(*proxy.Proxy) (net.Conn, error) { runtime.Goexit(); return nil, nil },
		"dial closes":  func(p *proxy.Proxy) (net.Conn, error) { return nil, p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			var seen events
			p := &proxy.Proxy{Tap: seen.tap}
			p.Dial = func(context.Context) (net.Conn, error) { return dial(p) }
			c, err := net.Dial("unix", start(t, p))
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
			require.Error(t, err)
			shutdown(t, p)
			last := seen.all()[len(seen.all())-1]
			assert.Equal(t, proxy.Closed, last.Kind)
			assert.Error(t, last.Err)
		})
	}
	t.Run("no Dial", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.ErrorContains(t, new(proxy.Proxy).Serve(l), "Proxy.Dial is not set")
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestArbiterLeaves: when the arbiter closes, the client's connection is closed.
func TestArbiterLeaves(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p := &proxy.Proxy{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}}
	c, err := net.Dial("unix", start(t, p))
	require.NoError(t, err)
	defer c.Close()
	arbiter, err := l.Accept()
	require.NoError(t, err)
	_, err = io.WriteString(arbiter, "last words")
	require.NoError(t, err)
	require.NoError(t, arbiter.Close())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "last words", string(got))
	require.Eventually(t, func() bool { _, err := c.Write([]byte("x")); return err != nil }, time.Minute, time.Millisecond)
}

// TestRecorder: what was recorded is what has passed.
func TestRecorder(t *testing.T) {
	arbiter := newArbiter(t)
	var file bytes.Buffer
	w, err := capture.NewWriter(&file)
	require.NoError(t, err)
	recorder := proxy.NewRecorder(w)
	p := &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket()), Tap: recorder.Tap, Payloads: true}
	c := newClient(t, start(t, p))
	for i := range 10 {
		_, err := c.Execute(context.Background(), app, "echo", i)
		require.NoError(t, err)
	}
	require.NoError(t, c.Close())
	shutdown(t, p)
	require.NoError(t, recorder.Err())
	assert.Zero(t, recorder.Missed())
	r := capture.NewReader(&file)
	var sums [2]int64
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		m, n, err := dirty.DecodeMessage(record.Data)
		require.NoError(t, err)
		require.Len(t, record.Data, n)
		switch m := m.(type) {
		case *dirty.Request:
			sums[0] += m.Args[0].(int64)
		case *dirty.Response:
			sums[1] += m.Result.(int64)
		}
	}
	assert.Equal(t, [2]int64{45, 45}, sums)
}

func BenchmarkCall(b *testing.B) {
	arbiter := newArbiter(b)
	ctx := context.Background()
	for _, way := range []string{"direct", "proxy", "proxy and tap"} {
		for _, size := range []int{100, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", way, size), func(b *testing.B) {
				path := arbiter.Socket()
				if way != "direct" {
					p := &proxy.Proxy{Dial: proxy.DialUnix(path)}
					if way == "proxy and tap" {
						p.Tap, p.Payloads = func(proxy.Event) {}, true
					}
					path = start(b, p)
				}
				c := newClient(b, path)
				data := make([]byte, size)
				b.SetBytes(int64(2 * size))
				for b.Loop() {
					if _, err := client.Call[[]byte](ctx, c, app, "echo", data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
