package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

const app = "app:App"

// folder makes a folder for sockets: t.TempDir is too long.
func folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "ds")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start serves until the end of the test, and checks then that nothing is left.
func start(tb testing.TB, s *server.Server) (path string) {
	tb.Helper()
	path = filepath.Join(folder(tb), "s")
	l, err := server.Listen(path, 0)
	require.NoError(tb, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		closeServer(tb, s)
		assert.ErrorIs(tb, <-served, server.ErrServerClosed)
		assert.NoFileExists(tb, path)
		noGoroutines(tb)
	})
	return path
}

// closeServer closes a server. On a busy machine a listener may need more than the
// second for which Close waits for it.
func closeServer(tb testing.TB, s *server.Server) {
	tb.Helper()
	if err := s.Close(); err != nil {
		assert.EqualError(tb, err, "dirty: the Close of a listener has not returned")
	}
}

// dial connects to a server until the end of the test.
func dial(tb testing.TB, path string) *dirty.Conn {
	tb.Helper()
	nc, err := net.Dial("unix", path)
	require.NoError(tb, err)
	require.NoError(tb, nc.SetDeadline(time.Now().Add(2*time.Minute)), "no test waits for ever")
	c := dirty.NewConn(nc)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// connect starts a server and connects to it.
func connect(tb testing.TB, s *server.Server) *dirty.Conn {
	tb.Helper()
	return dial(tb, start(tb, s))
}

// connectTo connects to a server with one handler, of every action.
func connectTo(tb testing.TB, h server.HandlerFunc) *dirty.Conn {
	tb.Helper()
	return connect(tb, &server.Server{Handler: h})
}

// ask sends a message and returns the one that comes back.
func ask(tb testing.TB, c *dirty.Conn, m dirty.Message) dirty.Message {
	tb.Helper()
	require.NoError(tb, c.WriteMessage(m))
	return receive(tb, c)
}

func receive(tb testing.TB, c *dirty.Conn) dirty.Message {
	tb.Helper()
	m, err := c.ReadMessage()
	require.NoError(tb, err)
	return m
}

// call makes a request with arguments and returns the reply.
func call(tb testing.TB, c *dirty.Conn, action string, args ...any) dirty.Message {
	tb.Helper()
	return ask(tb, c, dirty.NewRequest(1, app, action, args, nil))
}

// failed returns what an ERROR frame says.
func failed(tb testing.TB, m dirty.Message) *dirty.RemoteError {
	tb.Helper()
	reply, ok := m.(*dirty.ErrorReply)
	require.Truef(tb, ok, "want an error, got %#v", m)
	return reply.Err
}

// usable checks that a connection answers and is in step.
func usable(tb testing.TB, c *dirty.Conn) {
	tb.Helper()
	m := ask(tb, c, dirty.NewStashRequest(77, dirty.StashExists, "no such table", nil, nil, ""))
	assert.Equal(tb, dirty.NewResponse(77, false), m)
}

// closed checks that the server closes a connection without another word.
func closed(tb testing.TB, c *dirty.Conn) {
	tb.Helper()
	m, err := c.ReadMessage()
	require.Error(tb, err, "got %#v", m)
	require.NotErrorIs(tb, err, os.ErrDeadlineExceeded)
}

// saying returns a server that answers with its name.
func saying(name string) *server.Server {
	return handle(func(w *server.ResponseWriter) error { return w.Respond(name) })
}

// answers checks which server answers on a connection.
func answers(t *testing.T, c *dirty.Conn, name string) {
	t.Helper()
	assert.Equal(t, dirty.NewResponse(1, name), call(t, c, "do"))
}

// newClient makes a client of package client.
func newClient(tb testing.TB, path string, opts ...client.Option) *client.Client {
	tb.Helper()
	c, err := client.New(append([]client.Option{client.WithSocket(path)}, opts...)...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// echo answers with the arguments.
func echo(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
	return w.Respond(r.Args)
}

// eventually waits for something that another goroutine is about to do.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		require.Falsef(tb, time.Now().After(deadline), "never: %s", what)
	}
}

// wait waits for a channel, but not for ever.
func wait[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		require.Failf(tb, "waited too long", "for %s", what)
	}
	return v
}

// record is a log that a test can read.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var errBoom = errors.New("boom")
