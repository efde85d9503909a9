package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() { children["takes over"] = childThatTakesOver }

// childThatTakesOver is a server in a process of its own. It says when it serves,
// and ends when it was taken over.
func childThatTakesOver() error { return serveUntilTakenOver(nil) }

// serveUntilTakenOver is childThatTakesOver with a Logger, which may be nil.
func serveUntilTakenOver(logger *slog.Logger) error {
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(echo))
	mux.Handle(app, "pid", server.Func(func(context.Context, struct{}) (int, error) { return os.Getpid(), nil }))
	mux.Handle(app, "slow", server.Func(func(_ context.Context, n int) (int, error) {
		time.Sleep(time.Duration(n%40) * time.Millisecond)
		return n, nil
	}))
	mux.Handle(app, "count", server.StreamFunc(func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				time.Sleep(time.Millisecond)
				if !yield(i, nil) {
					return
				}
			}
		}
	}))
	mux.Handle(app, "hang", server.Func(func(ctx context.Context, _ struct{}) (any, error) {
		fmt.Println("hanging")
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	s := &server.Server{TakeOver: true, Handler: mux, Logger: logger}
	l, err := s.Listen(os.Getenv(childVariable + "_PATH"))
	if err != nil {
		return err
	}
	fmt.Println("serving")
	if err := s.Serve(l); err != server.ErrTakenOver {
		return err
	}
	return nil
}

// heir is a childThatTakesOver.
type heir struct {
	*exec.Cmd
	says  chan string   // lines
	ended chan struct{} // closed at its end
	err   error         // how it has ended
}

// startHeir starts a process that takes over the server at a path, if there is one.
func startHeir(tb testing.TB, path string) *heir {
	tb.Helper()
	return startServer(tb, "takes over", path)
}

// startServer starts a child that serves a path. under is a command that runs it.
func startServer(tb testing.TB, child, path string, under ...string) *heir {
	tb.Helper()
	cmd := childCommand(child, childVariable+"_PATH="+path)
	if len(under) > 0 {
		env := cmd.Env
		cmd = exec.Command(under[0], append(under[1:], cmd.Path)...)
		cmd.Env = env
	}
	h := &heir{Cmd: cmd, says: make(chan string, 100), ended: make(chan struct{})}
	h.Stderr = os.Stderr
	out, err := h.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, h.Start())
	go func() {
		defer close(h.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			h.says <- lines.Text()
		}
		close(h.says)
		h.err = h.Wait()
	}()
	tb.Cleanup(func() { _ = h.Process.Kill(); <-h.ended })
	return h
}

// await waits until the process says a line.
func (h *heir) await(tb testing.TB, want string) {
	tb.Helper()
	require.Equal(tb, want, wait(tb, "the process to say: "+want, h.says))
}

// load calls a server from many goroutines until it is told to stop.
type load struct {
	stop             chan struct{}
	callers          sync.WaitGroup
	ok, failed       atomic.Int64
	wrong            atomic.Int64
	mu               sync.Mutex
	failures, wrongs []string
}

// run calls f again and again. f returns whether the answer was right.
func (l *load) run(name string, f func(i int) (right bool, err error)) {
	l.callers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			default:
			}
			right, err := f(i)
			switch {
			case err != nil:
				l.failed.Add(1)
				l.note(&l.failures, fmt.Sprintf("%s: %v", name, err))
				time.Sleep(time.Millisecond) // before it tries again
			case !right:
				l.wrong.Add(1)
				l.note(&l.wrongs, name)
			default:
				l.ok.Add(1)
			}
		}
	})
}

func (l *load) note(list *[]string, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(*list) < 10 {
		*list = append(*list, text)
	}
}

// runClient calls with package client.
func (l *load) runClient(tb testing.TB, path string) {
	c := newClient(tb, path)
	for g := range 4 {
		l.run("Execute", func(i int) (bool, error) {
			v, err := c.Execute(ctx, app, "echo", g, i)
			return assert.ObjectsAreEqual([]any{int64(g), int64(i)}, v), err
		})
		l.run("Execute slow", func(i int) (bool, error) {
			v, err := c.Execute(ctx, app, "slow", i)
			return assert.ObjectsAreEqual(int64(i), v), err
		})
		l.run("Stream", func(i int) (bool, error) {
			n, next := 20+i%100, 0
			for v, err := range client.StreamOf[int](ctx, c, app, "count", n) {
				if err != nil || v != next {
					return err != nil, err
				}
				next++
			}
			return next == n, nil
		})
	}
}

// runStash puts and gets with package client. What was put is there, and nothing older.
func (l *load) runStash(tb testing.TB, path string) {
	table := newClient(tb, path).Stash("go")
	for g := range 4 {
		l.run("stash", func(i int) (bool, error) {
			if err := table.Put(ctx, g, i); err != nil {
				return false, err
			}
			v, err := table.Get(ctx, g)
			return v == int64(i), err
		})
	}
}

// runKept calls on a connection that is kept for ever, as Python's clients do.
func (l *load) runKept(tb testing.TB, path string) {
	l.runKeptCalls(tb, path, func(id uint64) (dirty.Message, func(result any) bool) {
		i := int64(id)
		action, want := "echo", any([]any{i})
		if i%8 == 0 {
			action, want = "slow", i
		}
		return dirty.NewRequest(id, app, action, []any{i}, nil), func(result any) bool { return assert.ObjectsAreEqual(want, result) }
	})
}

// runKeptCalls makes calls on a connection that is kept. call returns a call, and what
// checks its result.
func (l *load) runKeptCalls(tb testing.TB, path string, call func(id uint64) (m dirty.Message, isRight func(result any) bool)) {
	var c *dirty.Conn
	l.run("kept connection", func(i int) (bool, error) {
		if c == nil {
			nc, err := net.Dial("unix", path)
			if err != nil {
				return false, err
			}
			if err := nc.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
				return false, err
			}
			c = dirty.NewConn(nc)
			tb.Cleanup(func() { _ = nc.Close() })
		}
		question, isRight := call(uint64(i))
		err := c.WriteMessage(question)
		if err == nil {
			var m dirty.Message
			if m, err = c.ReadMessage(); err == nil {
				r, ok := m.(*dirty.Response)
				return ok && r.ID == uint64(i) && isRight(r.Result), nil
			}
		}
		_ = c.Close()
		c = nil
		return false, err
	})
}

// restarts is how often the tests restart the server under load, at least: they go on
// until there were calls enough.
const restarts = 20

// restart starts another process that takes the server over, and waits for the end
// of the one before.
func restart(tb testing.TB, path string, current *heir) *heir {
	tb.Helper()
	next := startHeir(tb, path)
	next.await(tb, "serving")
	wait(tb, "the end of the old process", current.ended)
	require.NoError(tb, current.err)
	return next
}

// TestTakeOverUnderLoad restarts a server again and again while clients call it.
func TestTakeOverUnderLoad(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	current := startHeir(t, path)
	current.await(t, "serving")
	before, err := os.Stat(path)
	require.NoError(t, err)
	l := &load{stop: make(chan struct{})}
	for range 8 {
		l.runKept(t, path)
	}
	l.runClient(t, path)
	l.runStash(t, path)
	n := 0
	for ; n < restarts || l.ok.Load() <= 1000 && l.failed.Load() == 0; n++ {
		time.Sleep(50 * time.Millisecond) // of calls
		current = restart(t, path, current)
	}
	close(l.stop)
	l.callers.Wait()
	t.Logf("%d restarts, %d calls, %d failed, %d wrong", n, l.ok.Load(), l.failed.Load(), l.wrong.Load())
	assert.Zero(t, l.failed.Load(), "%q", l.failures)
	assert.Zero(t, l.wrong.Load(), "%q", l.wrongs)
	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after), "the socket's file stays the same")
	assert.Equal(t, current.Process.Pid, peerOf(t, path), "clients find the new process as their peer")
}

// peerOf returns the process that a client of a socket finds as its peer.
func peerOf(t *testing.T, path string) int {
	t.Helper()
	raw, err := dial(t, path).NetConn().(*net.UnixConn).SyscallConn()
	require.NoError(t, err)
	pid := 0
	require.NoError(t, raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if assert.NoError(t, err) {
			pid = int(cred.Pid)
		}
	}))
	return pid
}

// pythonLoad is gunicorn's own clients that call a server, see testdata/takeover.py.
type pythonLoad struct {
	cmd  *exec.Cmd
	stop io.Closer
	out  io.Reader
}

// startPythonLoad starts them with a release of gunicorn.
func startPythonLoad(t *testing.T, p python, path string, args ...string) *pythonLoad {
	t.Helper()
	timeout, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	l := &pythonLoad{cmd: exec.CommandContext(timeout, p.path, append([]string{"-B", filepath.Join("testdata", "takeover.py")}, args...)...)}
	l.cmd.Env = append(os.Environ(), "GUNICORN_DIRTY_SOCKET="+path)
	l.cmd.Stderr = os.Stderr
	stop, err := l.cmd.StdinPipe()
	require.NoError(t, err)
	l.stop = stop
	l.out, err = l.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, l.cmd.Start())
	return l
}

// end ends the calls, and returns how they have ended. No answer may be wrong.
func (l *pythonLoad) end(t *testing.T) (ok, failed int, failures []string) {
	t.Helper()
	require.NoError(t, l.stop.Close())
	var result struct {
		OK, Failed, Wrong int
		Failures          []string
	}
	require.NoError(t, json.NewDecoder(l.out).Decode(&result))
	require.NoError(t, l.cmd.Wait())
	t.Logf("Python: %d calls, %d failed, %d wrong", result.OK, result.Failed, result.Wrong)
	assert.Zero(t, result.Wrong, "%q", result.Failures)
	return result.OK, result.Failed, result.Failures
}

// newestPython is the newest release of gunicorn: the clients are the same in all, and
// the tests take long.
func newestPython(t *testing.T) python {
	t.Helper()
	if len(pythons) == 0 {
		t.Skip("no Python environment has gunicorn")
	}
	return pythons[len(pythons)-1]
}

// TestTakeOverOfPythonClients does the same to gunicorn's own clients.
func TestTakeOverOfPythonClients(t *testing.T) {
	p := newestPython(t)
	path := filepath.Join(folder(t), "s")
	current := startHeir(t, path)
	current.await(t, "serving")
	l := startPythonLoad(t, p, path)
	for range restarts {
		time.Sleep(100 * time.Millisecond) // of calls
		current = restart(t, path, current)
	}
	ok, failed, failures := l.end(t)
	assert.Zero(t, failed, "%q", failures)
	assert.Greater(t, ok, 500)
}

// TestTakeOverAndKill kills a process during take-overs, again and again at another
// moment: the old one, the new one, or both. Then another one is started. Calls may
// fail, but none hangs and no answer is wrong, and soon all is as before.
func TestTakeOverAndKill(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	current := startHeir(t, path)
	current.await(t, "serving")
	l := &load{stop: make(chan struct{})}
	for range 4 {
		l.runKept(t, path)
	}
	l.runClient(t, path)
	var python *pythonLoad
	if len(pythons) > 0 {
		python = startPythonLoad(t, newestPython(t), path, "killed")
	}
	check := newClient(t, path, client.WithWaitForServer(time.Minute))
	for i := range restarts {
		next := startHeir(t, path)
		time.Sleep(time.Duration(i/3) * 10 * time.Millisecond)
		if i%3 != 1 {
			_ = current.Process.Kill() // it may have ended
		}
		if i%3 != 0 {
			_ = next.Process.Kill()
		}
		if i%3 != 0 { // one of the two may be there, or none
			wait(t, "the end of the new process", next.ended)
			if i%3 == 2 {
				wait(t, "the end of the old process", current.ended)
			}
			current = startHeir(t, path)
			current.await(t, "serving")
		} else {
			wait(t, "the end of the old process", current.ended)
			current = next
		}
		assert.NoError(t, check.Ping(ctx))
	}
	stats := check.Stats()
	close(l.stop)
	stopped := make(chan struct{})
	go func() { l.callers.Wait(); close(stopped) }()
	wait(t, "the callers", stopped)
	if python != nil {
		python.end(t)
	}
	t.Logf("%d calls, %d failed, %d wrong, %v", l.ok.Load(), l.failed.Load(), l.wrong.Load(), stats)
	assert.Zero(t, l.wrong.Load(), "%q", l.wrongs)
}
