package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// TestDemo: all steps go well, and the frames of each are shown.
func TestDemo(t *testing.T) {
	got := dirtyRun("", "demo")
	require.Equal(t, exitOK, got.code, "%s%s", got.stdout, got.stderr)
	for _, want := range []string{
		"> request ", "< response ", "< chunk ", "< end ", "> stash ", "> status ", "< error ",
		`= 3.5`, "[to be or not]", "Key not found: bob", "it failed: out of ink", "context canceled",
		"the server's handler was cancelled too", "All went as it should.",
	} {
		assert.Contains(t, got.stdout, want)
	}
	assert.NotContains(t, got.stdout, "!", "no frame is broken")
}

// TestDemoExpects: a step with another result than the right one is an error.
func TestDemoExpects(t *testing.T) {
	d := &demo{out: io.Discard}
	assert.NoError(t, d.expect("x", 1, nil, 1))
	assert.ErrorContains(t, d.expect("x", 1, nil, 2), "x gave 1, not 2")
	assert.ErrorIs(t, d.expect("x", 1, io.EOF, 1), io.EOF)
	assert.NoError(t, d.expectError("x", io.EOF, io.EOF))
	assert.ErrorContains(t, d.expectError("x", nil, io.EOF), "not EOF")
}

// TestServe: it prints the path of its socket, answers there, and removes it at the
// end.
func TestServe(t *testing.T) {
	for name, path := range map[string]string{"its own path": "", "a given path": filepath.Join(shortTempDir(t), "s")} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, in := io.Pipe()
			done := make(chan error, 1)
			tell := (&cli{stdout: &output{w: in}}).tellServing
			go func() { done <- serve(ctx, path, tell, slog.New(slog.DiscardHandler)) }()
			var text bytes.Buffer
			_, err := io.CopyN(&text, out, int64(len("serving demo:App on /")))
			require.NoError(t, err)
			rest := make([]byte, 4096)
			n, err := out.Read(rest)
			require.NoError(t, err)
			socket, _, _ := strings.Cut("/"+string(rest[:n]), "\n")
			go func() { _, _ = io.Copy(io.Discard, out) }()
			if path != "" {
				assert.Equal(t, path, socket)
			}

			c, err := client.New(client.WithSocket(socket))
			require.NoError(t, err)
			defer c.Close()
			sum, err := client.Call[float64](t.Context(), c, demoApp, "add", client.Kwargs{"a": 1, "b": 2})
			require.NoError(t, err)
			assert.Equal(t, 3.0, sum)
			require.NoError(t, c.Close())

			cancel()
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(time.Minute):
				require.Fail(t, "serve does not end")
			}
			assert.NoFileExists(t, socket)
		})
	}
}

// TestWait: the actions refuse to wait for a time that is out of range.
func TestWait(t *testing.T) {
	for _, seconds := range []float64{-1, -1e-9, maxWait + 1, 1e300, math.Inf(1), math.Inf(-1), math.NaN()} {
		assert.ErrorContains(t, wait(t.Context(), seconds), "want 0 to 3600", "%v", seconds)
	}
	assert.NoError(t, wait(t.Context(), 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, wait(ctx, maxWait), context.Canceled)
}

// TestServeEndsWhileStarting: a signal before the server answers is not a failure.
func TestServeEndsWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(shortTempDir(t), "s")
	assert.NoError(t, serve(ctx, path, func(string) error { return nil }, slog.New(slog.DiscardHandler)))
	assert.NoFileExists(t, path)
}

// TestServeOutputError: a server whose path nobody can be told does not start.
func TestServeOutputError(t *testing.T) {
	assert.ErrorIs(t, serve(t.Context(), "", (&cli{stdout: &output{w: failing{}}}).tellServing, slog.New(slog.DiscardHandler)), errBoom)
}

// TestServeBadPath: a path that cannot be used is an error, at once.
func TestServeBadPath(t *testing.T) {
	got := dirtyRun("", "serve", "-s", filepath.Join(t.TempDir(), "missing", "s"))
	assert.Equal(t, exitIO, got.code)
	assert.Contains(t, got.stderr, "missing")
	got = dirtyRun("", "serve", "-s", filepath.Join(t.TempDir(), strings.Repeat("x", 200)))
	assert.Equal(t, exitIO, got.code)
	assert.Contains(t, got.stderr, "bytes")
}

func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
