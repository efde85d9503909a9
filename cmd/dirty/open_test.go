//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestInterruptedInput: a command that waits for input ends at once when it is
// interrupted, whether nobody has opened the other end of a pipe or nobody writes.
func TestInterruptedInput(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	open := filepath.Join(t.TempDir(), "open")
	require.NoError(t, syscall.Mkfifo(open, 0o600))
	writer, err := os.OpenFile(open, os.O_RDWR, 0)
	require.NoError(t, err)
	defer writer.Close()
	for _, args := range [][]string{
		{"decode", fifo}, {"decode", open}, {"decode", "-"}, {"encode", open}, {"encode", "-"}, {"monitor", fifo}, {"monitor", "-"},
		{"exec", "-s", "/nowhere/x", "a:A", "b", "@" + open}, {"exec", "-s", "/nowhere/x", "a:A", "b", "@-"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stdin, toStdin, err := os.Pipe()
		require.NoError(t, err)
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, args, stdin, io.Discard, io.Discard) }()
		select {
		case code := <-ended:
			require.Fail(t, "it has not waited", "%v: %d", args, code)
		case <-time.After(50 * time.Millisecond):
		}
		cancel()
		select {
		case code := <-ended:
			assert.Equal(t, exitInterrupt, code, args)
		case <-time.After(time.Minute):
			require.Fail(t, "it does not end", args)
		}
		_ = toStdin.Close() // ends the goroutine that reads
		_, _ = io.Copy(io.Discard, stdin)
		_ = stdin.Close()
	}
	unblock, err := os.OpenFile(fifo, os.O_RDWR, 0) // those that wait to open it
	require.NoError(t, err)
	require.NoError(t, unblock.Close())
}
