//go:build unix

package interop

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// TestJudgeExamples runs the web apps of gunicorn's examples under real gunicorn,
// with a Go server in the place of its dirty workers, and the examples' own tests
// against them.
func TestJudgeExamples(t *testing.T) {
	t.Parallel()
	j := newJudge(t)
	socket := serveExamples(t)

	t.Run("dirty_example", func(t *testing.T) {
		url := j.serveWeb(t, ".", "sync", "examples.dirty_example.wsgi_app:app", socket)
		env := []string{"TEST_BASE_URL=" + url}
		j.run(t, ".", env, "examples/dirty_example/test_integration.py")
		j.run(t, ".", env, "examples/dirty_example/test_stash_integration.py")
	})
	t.Run("streaming_chat", func(t *testing.T) {
		url := j.serveWeb(t, "examples", "asgi", "streaming_chat.main:app", socket)
		summary := j.pytest(t, "examples", []string{"STREAMING_CHAT_URL=" + url}, "streaming_chat/test_streaming.py")
		assert.GreaterOrEqual(t, summary.Tests, 6)
	})
	t.Run("celery_alternative", func(t *testing.T) {
		url := j.serveWeb(t, ".", "asgi", "examples.celery_alternative.app:app", socket)
		summary := j.pytest(t, ".", []string{"APP_URL=" + url}, "examples/celery_alternative/tests/test_integration.py")
		assert.GreaterOrEqual(t, summary.Tests, 19)
	})
}

// serveExamples serves the dirty apps of the examples. SessionApp keeps its state in
// the stash of the same server, as the original does.
func serveExamples(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(shortFolder(t), "arbiter.sock")
	c, err := client.New(client.WithSocket(socket))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	serveAt(t, socket, exampleApps(c))
	return socket
}

// serveWeb runs a web app under gunicorn, which has no dirty workers and finds the
// Go server by the environment, as gunicorn's own web workers do.
func (j judge) serveWeb(t *testing.T, folder, worker, app, dirtySocket string) (url string) {
	t.Helper()
	config, err := filepath.Abs("judge/gunicorn.conf.py")
	require.NoError(t, err)
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer listener.Close()
	inherited, err := listener.File() // file descriptor 3 of the child
	require.NoError(t, err)
	defer inherited.Close()

	own := shortFolder(t)
	log, err := os.Create(filepath.Join(own, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(j.python, "-B", "-m", "gunicorn", "-c", config, "-k", worker, app)
	cmd.Dir = filepath.Join(j.source, folder)
	cmd.Env = []string{
		"GUNICORN_DIRTY_SOCKET=" + dirtySocket, "PYTHONPATH=" + j.source,
		"HOME=" + own, "TMPDIR=" + own, "XDG_RUNTIME_DIR=" + own,
		"PATH=" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1",
	}
	cmd.ExtraFiles = []*os.File{inherited}
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
			t.Logf("gunicorn -k %s %s:\n%s", worker, app, text)
		}
	})
	url = fmt.Sprintf("http://%s", listener.Addr())
	web := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	until(t, app+" answers", func() bool {
		response, err := web.Get(url + "/")
		if err != nil {
			return false
		}
		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	return url
}
