package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// Values of dirty_timeout, in seconds.
const (
	patient = 60 // nothing times out
	hasty   = 2  // for the tests of timeouts; a busy machine needs that much
)

// gunicorn is a running server with its arbiter and one dirty worker.
type gunicorn struct {
	release string
	socket  string // of the arbiter

	folder string
	cmd    *exec.Cmd
	stdin  io.Closer     // the server ends when this does, even if we crash
	exited chan struct{} // closed when the master has ended
}

// servers are started when a test first needs them, and shared by the tests.
var servers struct {
	sync.Mutex
	running map[string]*gunicorn
}

// eachRelease is eachPython with the release's shared server.
func eachRelease(t *testing.T, test func(t *testing.T, g *gunicorn)) {
	eachPython(t, func(t *testing.T, p python) { test(t, server(t, p)) })
}

// eachFresh is eachRelease for tests that leave their server in disorder.
func eachFresh(t *testing.T, timeout int, test func(t *testing.T, g *gunicorn)) {
	eachPython(t, func(t *testing.T, p python) {
		g := start(t, p, timeout)
		t.Cleanup(g.stop)
		test(t, g)
	})
}

// server returns the release's shared server.
func server(t *testing.T, p python) *gunicorn {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	if g := servers.running[p.release]; g != nil {
		return g
	}
	g := start(t, p, patient)
	if servers.running == nil {
		servers.running = map[string]*gunicorn{}
	}
	servers.running[p.release] = g
	return g
}

func start(t *testing.T, p python, timeout int) *gunicorn {
	t.Helper()
	// Not the configured temporary folder: a socket's path has at most 107 bytes.
	folder, err := os.MkdirTemp("/tmp", "gd")
	require.NoError(t, err)
	g := &gunicorn{release: p.release, folder: folder, socket: filepath.Join(folder, "arbiter.sock"), exited: make(chan struct{})}
	log, err := os.Create(filepath.Join(folder, "log"))
	require.NoError(t, err)
	defer log.Close()
	g.cmd = exec.Command(p.path, "-B", "-m", "gunicorn", "-c", "app/gunicorn.conf.py")
	g.cmd.Env = []string{
		g.marker(),
		"DIRTY_INTEROP_TIMEOUT=" + strconv.Itoa(timeout),
		"HOME=" + folder, "TMPDIR=" + folder, "XDG_RUNTIME_DIR=" + folder,
		"PATH=" + os.Getenv("PATH"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.stdin, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, g.cmd.Start())
	go func() {
		_ = g.cmd.Wait() // it is killed in the end
		close(g.exited)
	}()
	if err := g.waitUntilReady(); err != nil {
		text, _ := os.ReadFile(log.Name())
		g.stop()
		t.Fatalf("gunicorn %s: %v\n%s", p.release, err, text)
	}
	return g
}

// marker is in the environment of every process of this server.
func (g *gunicorn) marker() string { return "DIRTY_INTEROP_DIR=" + g.folder }

// waitUntilReady returns when a worker answers. The arbiter alone is not
// enough: it refuses requests while its worker has bound its socket but does
// not listen yet.
func (g *gunicorn) waitUntilReady() error {
	timeout := time.After(30 * time.Second)
	for {
		err := g.ping()
		if err == nil {
			return nil
		}
		select {
		case <-g.exited:
			return errors.New("it ended while starting")
		case <-timeout:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ping calls an action on a connection of its own.
func (g *gunicorn) ping() error {
	c, err := net.Dial("unix", g.socket)
	if err != nil {
		return err
	}
	conn := dirty.NewConn(c)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if err := conn.WriteMessage(dirty.NewRequest(1, app, "pid", nil, nil)); err != nil {
		return err
	}
	answer, err := conn.ReadMessage()
	if failed, ok := answer.(*dirty.ErrorReply); ok {
		return failed.Err
	}
	return err
}

// stop kills the whole tree: the process group, and on Linux also whatever
// left the group but still has the marker.
func (g *gunicorn) stop() {
	_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	_ = g.stdin.Close()
	<-g.exited
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environments {
		environment, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(environment, []byte(g.marker()+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = os.RemoveAll(g.folder)
}

func stopAll() {
	for _, g := range servers.running {
		g.stop()
	}
	for _, o := range oracles.running {
		o.stop()
	}
}
