//go:build unix

package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A real gunicorn without dirty workers, whose web app calls ours over HTTP: as
// WSGI with the sync worker and as ASGI with gunicorn's own.
func TestWebApp(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		path := start(t, &server.Server{Handler: goApp()})
		hits := 0
		for _, web := range []struct{ app, worker string }{{"web:wsgi", "sync"}, {"web:asgi", "asgi"}} {
			get := startWeb(t, p, path, web.app, web.worker)
			for path, want := range map[string]string{
				"/add?a=20&b=22": "200 42",
				"/count?n=4":     "200 [0, 1, 2, 3]",
				"/fail":          `502 ["DirtyAppError", "a plain error"]`,
			} {
				for range 3 { // both workers, and kept connections
					assert.Equal(t, want, get(path), "%s %s", web.app, path)
				}
			}
			for range 4 {
				hits++
				assert.Equal(t, fmt.Sprint("200 ", hits), get("/stash"), "all workers share it")
			}
		}
	})
}

// startWeb starts gunicorn and returns what gets a path of its app.
func startWeb(t *testing.T, p python, dirtySocket, webApp, worker string) (get func(path string) string) {
	t.Helper()
	dir := folder(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	config, err := filepath.Abs(filepath.Join("testdata", "gunicorn.conf.py"))
	require.NoError(t, err)
	cmd := exec.Command(p.path, "-B", "-m", "gunicorn", "-c", config, "-k", worker, webApp)
	cmd.Env = []string{
		"GUNICORN_DIRTY_SOCKET=" + dirtySocket, "SERVER_FOLDER=" + dir, "TMPDIR=" + dir, "HOME=" + dir,
		"PATH=" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1",
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = stdin.Close()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("gunicorn %s -k %s:\n%s", p.release, worker, text)
		}
	})
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "http.sock"))
		},
	}}
	fetch := func(path string) (string, error) {
		resp, err := client.Get("http://web" + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s", resp.StatusCode, body), err
	}
	eventually(t, "the web app answers", func() bool {
		_, err := fetch("/")
		return err == nil
	})
	return func(path string) string {
		got, err := fetch(path)
		require.NoError(t, err)
		return got
	}
}
