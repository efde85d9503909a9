//go:build unix

package main

import (
	"context"
	"io"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// TestStreamSlowPipe: whoever reads the output slowly, or not at all, does not hold up
// the worker.
func TestStreamSlowPipe(t *testing.T) {
	ended := make(chan struct{})
	mux := server.NewMux()
	mux.Handle(demoApp, "flood", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			defer close(ended)
			for range 200 {
				if !yield(strings.Repeat("x", 64<<10), nil) {
					return
				}
			}
		}
	}))
	s := dirtytest.NewServer(t, mux)
	unread, stdout, err := os.Pipe()
	require.NoError(t, err)
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"stream", "-s", s.Socket(), demoApp, "flood"}, nil, stdout, io.Discard)
		_ = stdout.Close()
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		require.Fail(t, "the worker is held up")
	}
	text, err := io.ReadAll(unread)
	require.NoError(t, err)
	assert.Len(t, text, 200*(64<<10+len("\"\"\n")), "nothing is lost")
	assert.Equal(t, exitOK, <-code)
}

// TestInterruptClosesConnection: the server sees that the client has left.
func TestInterruptClosesConnection(t *testing.T) {
	begun, left := make(chan struct{}, 1), make(chan struct{}, 1)
	s := dirtytest.NewServer(t, newDemoMux(func() { begun <- struct{}{} }, func() { left <- struct{}{} }))
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"exec", "-s", s.Socket(), demoApp, "slow", "3600"}, nil, io.Discard, io.Discard)
	}()
	select {
	case <-begun:
	case <-time.After(time.Minute):
		require.Fail(t, "the action does not begin")
	}
	cancel()
	select {
	case <-left:
	case <-time.After(time.Minute):
		require.Fail(t, "the server does not see it")
	}
	assert.Equal(t, exitInterrupt, <-code)
}

// TestClosedPipe: a command whose output nobody wants any more ends without a word.
func TestClosedPipe(t *testing.T) {
	s := dirtytest.NewServer(t, scriptApp())
	t.Setenv("GUNICORN_DIRTY_SOCKET", s.Socket())
	for _, line := range []string{"dirty stream demo:App ticks", "dirty status -w 10ms", "dirty top -i 10ms"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, "sh", "-c", line+" | head -n 1")
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, line)
		assert.Equal(t, 1, strings.Count(string(out), "\n"), line)
		assert.Empty(t, stderr.String(), line)
	}
}
