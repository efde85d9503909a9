//go:build unix

package interop

import (
	"bytes"
	"cmp"
	"encoding/json"
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
	longDirtyTimeout  = 60 // nothing times out
	shortDirtyTimeout = 2  // for the tests of timeouts; a busy machine needs that much
)

// options are gunicorn's settings that differ from those of app/gunicorn.conf.py.
type options struct {
	Workers    int      `json:"dirty_workers,omitempty"`
	Timeout    int      `json:"dirty_timeout"` // longDirtyTimeout, if it is 0
	Apps       []string `json:"dirty_apps,omitempty"`
	Grace      int      `json:"graceful_timeout,omitempty"`
	DirtyGrace int      `json:"dirty_graceful_timeout,omitempty"`

	OwnPath  bool `json:"-"` // the arbiter's socket is where gunicorn puts it, anew at each start
	NotReady bool `json:"-"` // start does not wait for a worker
	JSON     bool `json:"-"` // the release speaks JSON
}

// gunicorn is a running server with its arbiter and, by default, one dirty worker.
type gunicorn struct {
	python
	options
	socket string // of the arbiter, if it has not OwnPath
	folder string
	events events

	cmd    *exec.Cmd
	stdin  io.Closer     // the server ends when this does, even if we crash
	exited chan struct{} // closed when the master has ended
}

// servers are shared by the tests. Each is started when a test first needs it.
var servers struct {
	sync.Mutex
	running map[python]*gunicorn
}

// eachRelease is eachPython with the shared server.
func eachRelease(t *testing.T, test func(t *testing.T, g *gunicorn)) {
	eachPython(t, func(t *testing.T, p python) { test(t, server(t, p)) })
}

// eachFresh is eachRelease for tests that leave their server in disorder.
func eachFresh(t *testing.T, o options, test func(t *testing.T, g *gunicorn)) {
	eachPython(t, func(t *testing.T, p python) { test(t, fresh(t, p, o)) })
}

// fresh starts a server that is stopped when the test ends.
func fresh(t testing.TB, p python, o options) *gunicorn {
	t.Helper()
	g := newGunicorn(t, p, o)
	t.Cleanup(g.stop)
	g.start(t)
	return g
}

// server returns the shared server.
func server(t testing.TB, p python) *gunicorn {
	t.Helper()
	servers.Lock()
	defer servers.Unlock()
	if g := servers.running[p]; g != nil {
		return g
	}
	g := newGunicorn(t, p, options{})
	if servers.running == nil {
		servers.running = map[python]*gunicorn{}
	}
	servers.running[p] = g
	g.start(t)
	return g
}

// newShortFolder makes a folder for sockets. It is not in the configured temporary
// folder: the path of a socket has at most 107 bytes.
func newShortFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "gd")
	require.NoError(t, err)
	return folder
}

// shortFolder is newShortFolder for a folder that is removed when the test ends.
func shortFolder(t testing.TB) string {
	t.Helper()
	folder := newShortFolder(t)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// newGunicorn prepares a server. Call start to start it.
func newGunicorn(t testing.TB, p python, o options) *gunicorn {
	t.Helper()
	folder := newShortFolder(t)
	o.Timeout = cmp.Or(o.Timeout, longDirtyTimeout)
	g := &gunicorn{python: p, options: o, folder: folder, socket: filepath.Join(folder, "arbiter.sock")}
	g.events.listen(t, filepath.Join(folder, "events"))
	return g
}

// start starts the server. It may be called again after the master has ended.
func (g *gunicorn) start(t testing.TB) {
	t.Helper()
	log, err := os.Create(filepath.Join(g.folder, "log"))
	require.NoError(t, err)
	defer log.Close()
	settings, err := json.Marshal(g.options)
	require.NoError(t, err)
	g.cmd = exec.Command(g.python.path, "-B", "-m", "gunicorn", "-c", "app/gunicorn.conf.py")
	g.cmd.Env = []string{
		g.marker(),
		"DIRTY_INTEROP_SETTINGS=" + string(settings),
		"HOME=" + g.folder, "TMPDIR=" + g.folder, "XDG_RUNTIME_DIR=" + g.folder,
		"PATH=" + os.Getenv("PATH"),
		"PYTHONDONTWRITEBYTECODE=1",
	}
	if g.OwnPath {
		g.cmd.Env = append(g.cmd.Env, "DIRTY_INTEROP_OWN_PATH=1")
	}
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.stdin, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, g.cmd.Start())
	exited := make(chan struct{})
	g.exited = exited
	go func() {
		_ = g.cmd.Wait() // it is killed in the end
		close(exited)
	}()
	if err := g.waitUntilReady(); err != nil {
		t.Fatalf("gunicorn %s: %v\n%s", g.python, err, g.log())
	}
}

// marker is in the environment of every process of this server.
func (g *gunicorn) marker() string { return "DIRTY_INTEROP_DIR=" + g.folder }

// log returns the end of what gunicorn has written.
func (g *gunicorn) log() []byte {
	text, _ := os.ReadFile(filepath.Join(g.folder, "log"))
	return text[max(0, len(text)-1500):]
}

// address returns where the arbiter's socket is now. An arbiter that was killed leaves
// its socket behind, so the newest one counts.
func (g *gunicorn) address() string {
	if !g.OwnPath {
		return g.socket
	}
	newest, made := g.socket, time.Time{}
	found, _ := filepath.Glob(filepath.Join(g.folder, "gunicorn-dirty-*", "arbiter.sock"))
	for _, name := range found {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(made) {
			newest, made = name, info.ModTime()
		}
	}
	return newest
}

// waitUntilReady returns when a worker answers. An answer of the arbiter alone is not
// enough: requests fail while its worker has bound its socket but does not listen yet.
func (g *gunicorn) waitUntilReady() error {
	timeout := time.After(maxWait)
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

// ping calls an action on a connection of its own. If NotReady is set, it only asks for
// the status.
func (g *gunicorn) ping() error {
	c, err := net.Dial("unix", g.address())
	if err != nil {
		return err
	}
	conn := dirty.NewConn(c)
	defer conn.Close()
	if g.JSON {
		return pingJSON(c)
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	question := dirty.Message(dirty.NewRequest(1, app, "pid", nil, nil))
	if g.NotReady {
		question = dirty.NewStatusRequest(1)
	}
	if err := conn.WriteMessage(question); err != nil {
		return err
	}
	answer, err := conn.ReadMessage()
	if failed, ok := answer.(*dirty.ErrorReply); ok {
		return failed.Err
	}
	return err
}

// stop kills all processes of the server: the process group, and on Linux also those
// that left the group, which are known by the marker.
func (g *gunicorn) stop() {
	if g.cmd != nil && g.cmd.Process != nil {
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		_ = g.stdin.Close()
		<-g.exited
	}
	for _, pid := range g.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	g.events.close()
	_ = os.RemoveAll(g.folder)
}

// processes returns the ids of all processes of this server, on Linux only.
func (g *gunicorn) processes() []int {
	var pids []int
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environments {
		environment, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(environment, []byte(g.marker()+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func stopAll() {
	for _, g := range servers.running {
		g.stop()
	}
	for _, o := range oracles.running {
		o.stop()
	}
}
