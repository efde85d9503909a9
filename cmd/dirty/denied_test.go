//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDenied: another user is told whose the arbiter is, and as whom to run.
func TestDenied(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a command as another user")
	}
	const nobody = 65534
	folder := findIn(t)
	require.NoError(t, os.Chmod(folder, 0o755))
	path := serveAt(t, folder, "root")
	program := filepath.Join(folder, "dirty") // where everybody may run it
	found, err := exec.LookPath("dirty")
	require.NoError(t, err)
	binary, err := os.ReadFile(found)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, binary, 0o755))
	run := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = folder
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	advice := filepath.Dir(path) + " is owned by root, mode 0700: run as that user."

	out, code := run("status", "-s", path)
	assert.Equal(t, exitNoArbiter, code, out)
	assert.Contains(t, out, advice)
	out, code = run("doctor", "-s", path)
	assert.Equal(t, exitNegative, code, out)
	assert.Contains(t, out, advice)

	// A socket in the open is not used without being named, since it is another user's.
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	require.NoError(t, os.Chmod(path, 0o666))
	out, code = run("status", "-s", path)
	assert.Equal(t, exitOK, code, out)
	out, code = run("exec", demoApp, "add", "1", "2")
	assert.Equal(t, exitNoArbiter, code, out)
	assert.Contains(t, out, path)
}
