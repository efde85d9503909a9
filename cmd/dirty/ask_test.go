//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/dirtytest"
)

// terminal runs the command on a terminal, waits for a text, types an answer, and
// returns all that was shown and the exit status.
func terminal(t *testing.T, awaited, typed string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path, err := exec.LookPath("dirty") // testscript puts it there
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, path, args...)
	tty, err := pty.Start(cmd)
	require.NoError(t, err)
	defer tty.Close()
	var shown bytes.Buffer
	for buf := make([]byte, 1024); !bytes.Contains(shown.Bytes(), []byte(awaited)); {
		n, err := tty.Read(buf)
		require.NoError(t, err, shown.String())
		shown.Write(buf[:n])
	}
	_, err = io.WriteString(tty, typed)
	require.NoError(t, err)
	_, _ = io.Copy(&shown, tty) // ends with an error when the command has ended
	_ = cmd.Wait()
	return shown.String(), cmd.ProcessState.ExitCode()
}

// TestQuestion: on a terminal what destroys asks, and only yes goes on.
func TestQuestion(t *testing.T) {
	for _, tt := range []struct {
		typed string
		code  int
		left  int
	}{
		{"y\n", exitOK, 0},
		{"YES\n", exitOK, 0},
		{"n\n", exitNegative, 1},
		{"\n", exitNegative, 1},
		{"yesterday\n", exitNegative, 1},
		{"\x04", exitNegative, 1},
		{"\x03", exitInterrupt, 1},
	} {
		t.Run(tt.typed, func(t *testing.T) {
			s := dirtytest.NewServer(t, scriptApp())
			s.Stash().Put("users", "ada", 1)
			shown, code := terminal(t, "Delete all keys of table \"users\"? [y/N] ", tt.typed, "stash", "clear", "users", "-s", s.Socket())
			assert.Equal(t, tt.code, code, shown)
			assert.Len(t, s.Stash().Dump("users"), tt.left)
		})
	}
}
