package server_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run runs a server until end is called, and waits until clients can connect.
func run(t *testing.T, s *server.Server) (path string, end func(), result <-chan error) {
	t.Helper()
	path = filepath.Join(folder(t), "s")
	running, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running, path) }()
	ready := newClient(t, path)
	eventually(t, "it listens", func() bool { return ready.Ping(ctx) == nil })
	require.NoError(t, ready.Close())
	return path, cancel, ended
}

// TestRun checks that replies which are under way are finished.
func TestRun(t *testing.T) {
	next := make(chan struct{})
	s := handle(func(w *server.ResponseWriter) error { <-next; return w.Respond("x") })
	path, end, result := run(t, s)
	c := dial(t, path)
	send(t, c, "do")
	eventually(t, "it runs", func() bool { return s.Stats().Running == 1 })
	end()
	eventually(t, "the socket is gone", func() bool {
		_, err := os.Stat(path)
		return err != nil
	})
	require.Empty(t, result, "it waits")
	close(next)
	assert.Equal(t, dirty.NewResponse(1, "x"), receive(t, c))
	closed(t, c)
	assert.NoError(t, wait(t, "the end", result))
	assert.NoFileExists(t, path)
	noGoroutines(t)
}

// TestRunDrainTimeout checks what becomes of handlers that take longer.
func TestRunDrainTimeout(t *testing.T) {
	h, running, causes := patient()
	path, end, result := run(t, &server.Server{Handler: h, DrainTimeout: time.Millisecond})
	c := dial(t, path)
	send(t, c, "wait")
	wait(t, "the handler", running)
	end()
	assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
	assert.ErrorIs(t, wait(t, "the end", result), context.DeadlineExceeded)
	closed(t, c)
	noGoroutines(t)
}

// TestRunEndsEarly checks the ways in which Run ends before its context.
func TestRunEndsEarly(t *testing.T) {
	assert.ErrorContains(t, new(server.Server).Run(ctx, filepath.Join(folder(t), "no", "folder")), "no such file")

	s := new(server.Server)
	_, _, result := run(t, s)
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end", result))

	ended, cancel := context.WithCancel(ctx)
	cancel()
	path := filepath.Join(folder(t), "s")
	for _, d := range []time.Duration{0, 1, -1, math.MinInt64, math.MaxInt64} {
		assert.NoError(t, (&server.Server{DrainTimeout: d}).Run(ended, path), d)
		assert.NoFileExists(t, path)
	}
	noGoroutines(t)
}
