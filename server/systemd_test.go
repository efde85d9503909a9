//go:build unix

package server_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// childVariable makes the test binary serve on systemd's listeners.
const childVariable = "DIRTY_TEST_SYSTEMD"

// childOfSystemd serves two listeners until one request was answered.
func childOfSystemd() int {
	listeners, err := server.SystemdListeners()
	if err != nil || len(listeners) != 2 {
		fmt.Println("listeners:", listeners, err)
		return 1
	}
	if again, err := server.SystemdListeners(); err != nil || again != nil {
		fmt.Println("again:", again, err)
		return 1
	}
	s := &server.Server{Handler: server.HandlerFunc(echo)}
	served := make(chan error, 2)
	for _, l := range listeners {
		go func() { served <- s.Serve(l) }()
	}
	for s.Stats().Requests < 2 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Shutdown(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	<-served
	<-served
	return 0
}

func TestSystemdListeners(t *testing.T) {
	dir := folder(t)
	var files []*os.File
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for _, path := range paths {
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		defer l.Close()
		f, err := l.(*net.UnixListener).File()
		require.NoError(t, err)
		defer f.Close()
		files = append(files, f)
	}
	// As systemd does, set the process id in the process that becomes ours.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1", "LISTEN_FDS=2")
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	require.NoError(t, cmd.Start())
	for i, path := range paths {
		assert.Equal(t, dirty.NewResponse(1, []any{int64(i)}), call(t, dial(t, path), "do", i))
	}
	require.NoError(t, cmd.Wait())
	only(t, dir, "a", "b") // they are systemd's
}

func TestSystemdListenersOfOthers(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "")
	for _, p := range []string{"", "1", "x"} {
		t.Setenv("LISTEN_PID", p)
		got, err := server.SystemdListeners()
		assert.NoError(t, err)
		assert.Empty(t, got)
		assert.Equal(t, "1", os.Getenv("LISTEN_FDS"), "they are for another process")
	}
	for _, n := range []string{"", "x", "-1", "1000000"} {
		t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
		t.Setenv("LISTEN_FDS", n)
		_, err := server.SystemdListeners()
		assert.ErrorContains(t, err, "LISTEN_FDS")
	}
}
