package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	helpers["arbiter"] = mortalArbiter
	helpers["worker"] = func() error {
		_, err := io.Copy(io.Discard, os.Stdin) // until the test ends
		return err
	}
}

// mortalArbiter is a process that a test can kill. For the action "fork" it starts
// a worker, which inherits the listener and the connection, as gunicorn's workers
// do. It never answers the action "hang".
func mortalArbiter() error {
	l, err := net.Listen("unix", os.Getenv(helperVariable+"_PATH"))
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("listening\n")
	fork := func(nc net.Conn) error {
		listener, err := l.(*net.UnixListener).File()
		if err != nil {
			return err
		}
		conn, err := nc.(*net.UnixConn).File()
		if err != nil {
			return err
		}
		worker := helperCommand("worker")
		worker.Stdin = os.Stdin
		worker.ExtraFiles = []*os.File{listener, conn}
		return worker.Start()
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go answering(func(c *dirty.Conn, m dirty.Message) error {
			if r, ok := m.(*dirty.Request); ok {
				if r.Action == "fork" {
					if err := fork(nc); err != nil {
						return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), err))
					}
				}
				if r.Action == "hang" {
					_, _ = os.Stdout.WriteString("hanging\n")
					return nil
				}
			}
			return arbiter(c, m)
		})(nc)
	}
}

// mortal is an arbiter in a process of its own.
type mortal struct {
	path    string
	process *exec.Cmd
	says    *bufio.Reader
}

func newMortal(t *testing.T) *mortal {
	path := filepath.Join(shortTempDir(t), "s")
	a := &mortal{path: path, process: helperCommand("arbiter", "PATH", path)}
	a.process.Stderr = os.Stderr
	in, hold, err := os.Pipe()
	require.NoError(t, err)
	a.process.Stdin = in
	out, err := a.process.StdoutPipe()
	require.NoError(t, err)
	a.says = bufio.NewReader(out)
	require.NoError(t, a.process.Start())
	t.Cleanup(func() {
		_ = a.process.Process.Kill()
		_ = a.process.Wait()
		_ = hold.Close() // the workers end
		_ = in.Close()
	})
	a.await(t, "listening\n")
	return a
}

// await waits until the process says so.
func (a *mortal) await(t *testing.T, what string) {
	line, err := a.says.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, what, line)
}

// kill kills the process, but not its workers.
func (a *mortal) kill(t *testing.T) {
	require.NoError(t, a.process.Process.Kill())
	_ = a.process.Wait() // as gunicorn's master does; else it is a zombie
}

// waysToDie are how an arbiter can die. In some containers nobody asks for its
// exit status, so that it stays a zombie.
var waysToDie = map[string]func(a *mortal, t *testing.T){
	"reaped": (*mortal).kill,
	"zombie": func(a *mortal, t *testing.T) {
		require.NoError(t, a.process.Process.Kill())
		await(t, "it is a zombie, with all its threads", func() bool {
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", a.process.Process.Pid))
			require.NoError(t, err)
			if len(threads) != 1 {
				return false
			}
			text, err := os.ReadFile(threads[0])
			return err == nil && strings.Contains(string(text), ") Z ")
		})
	},
}

// freeze stops the process, as a machine that is too busy does.
func (a *mortal) freeze(t *testing.T) {
	require.NoError(t, a.process.Process.Signal(syscall.SIGSTOP))
	await(t, "all its threads are stopped", func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", a.process.Process.Pid))
		require.NoError(t, err)
		for _, stat := range stats {
			text, err := os.ReadFile(stat)
			if err != nil || !strings.Contains(string(text), ") T ") {
				return false
			}
		}
		return true
	})
}

// noticeTimeout is how soon a call must notice that its arbiter has died. It is less
// than the default timeout of a call.
const noticeTimeout = 25 * time.Second

// TestStaleSocket: the socket of an arbiter that was killed accepts, because its
// workers hold it, but nothing answers there.
func TestStaleSocket(t *testing.T) {
	for name, die := range waysToDie {
		t.Run(name, func(t *testing.T) { testStaleSocket(t, die) })
	}
}

func testStaleSocket(t *testing.T, die func(a *mortal, t *testing.T)) {
	a := newMortal(t)
	_, err := newClient(t, client.WithSocket(a.path)).Execute(context.Background(), app, "fork")
	require.NoError(t, err)
	die(a, t)
	nc, err := net.Dial("unix", a.path)
	require.NoError(t, err, "the socket accepts")
	require.NoError(t, nc.Close())

	for _, op := range operations {
		c := newClient(t, client.WithSocket(a.path))
		err := op.call(context.Background(), c)
		require.ErrorIs(t, err, client.ErrUnavailable, op.name)
		requireOp(t, err, client.StageDial, false)
		assert.True(t, client.SafeToRetry(err))
		assert.False(t, isUnknown(err))
		assert.False(t, timesOut(err))
		assert.Contains(t, err.Error(), "stale")
		assert.EqualValues(t, 1, c.Stats().DialErrors)
	}
	t.Run("not checked", func(t *testing.T) {
		for timeout := 50 * time.Millisecond; ; timeout *= 2 { // a busy machine needs more, to send it
			c := newClient(t, client.WithSocket(a.path), client.WithPeerCheck(false), client.WithTimeout(timeout))
			err := c.Ping(context.Background())
			require.ErrorIs(t, err, client.ErrTimeout)
			var op *client.OpError
			if require.ErrorAs(t, err, &op); !op.Sent && timeout < within {
				continue
			}
			requireOp(t, err, client.StageRead, true)
			break
		}
	})
	t.Run("waited for", func(t *testing.T) {
		c := newClient(t, client.WithSocket(a.path), client.WithWaitForServer(within))
		done := async(func() error { return c.Ping(context.Background()) })
		await(t, "it tries again", func() bool { return c.Stats().BacklogFull > 2 })
		require.NoError(t, os.Remove(a.path))
		p := &scriptedPeer{path: a.path, serve: answering(arbiter)}
		p.listen(t)
		t.Cleanup(p.stop)
		require.NoError(t, receive(t, "the call", done))
	})
}

// TestKeptConnectionOfDeadArbiter: a worker holds the connection too, so no EOF
// comes. The connection is found dead before it is used.
func TestKeptConnectionOfDeadArbiter(t *testing.T) {
	for _, op := range operations[:3] {
		for name, die := range waysToDie {
			t.Run(op.name+"/"+name, func(t *testing.T) {
				a, next := newMortal(t), newPeer(t, answering(arbiter))
				paths := make(chan string, 2)
				paths <- a.path
				paths <- next.path
				c := newClient(t, client.WithResolver(func(context.Context) (string, error) { return <-paths, nil }),
					client.WithMaxIdle(8, time.Hour))
				_, err := c.Execute(context.Background(), app, "fork")
				answered := time.Now()
				require.NoError(t, err)
				die(a, t)
				await(t, "its answer is not recent", func() bool { return time.Since(answered) > recentAnswer })
				require.Equal(t, 1, c.Stats().Idle)
				require.NoError(t, op.call(context.Background(), c))
				s := c.Stats()
				assert.Equal(t, client.ClosedStats{Dead: 1}, s.Closed)
				assert.Zero(t, s.Retries)
				assert.Equal(t, 1, next.connections())
			})
		}
	}
}

// recentAnswer is more than the time after an answer in which a client does not
// look for a zombie.
const recentAnswer = 20 * time.Millisecond

// TestArbiterDiesDuringCall: no EOF comes, but the call ends soon.
func TestArbiterDiesDuringCall(t *testing.T) {
	for name, die := range waysToDie {
		t.Run(name, func(t *testing.T) { testArbiterDiesDuringCall(t, die) })
	}
}

func testArbiterDiesDuringCall(t *testing.T, die func(a *mortal, t *testing.T)) {
	hang := func(ctx context.Context, c *client.Client) error {
		_, err := c.Execute(ctx, app, "hang")
		return err
	}
	stream := func(ctx context.Context, c *client.Client) error {
		_, err := collect(c.Stream(ctx, app, "hang"))
		return err
	}
	a := newMortal(t)
	type victim struct {
		name string
		c    *client.Client
		done <-chan error
	}
	var victims []victim
	for _, tt := range []struct {
		name string
		opts []client.Option
		call func(ctx context.Context, c *client.Client) error
	}{
		{"call", nil, hang},
		{"call without a limit", []client.Option{client.WithTimeout(0)}, hang},
		{"stream", nil, stream},
		{"stream, ahead", []client.Option{client.WithReadAhead(1000)}, stream},
		{"stream without a limit", []client.Option{client.WithStreamTimeout(0), client.WithTimeout(0)}, stream},
	} {
		c := newClient(t, append(tt.opts, client.WithSocket(a.path))...)
		_, err := c.Execute(context.Background(), app, "fork")
		require.NoError(t, err)
		done := async(func() error { return tt.call(context.Background(), c) })
		a.await(t, "hanging\n")
		assert.EqualValues(t, 1, c.Stats().Reused, "on the connection that the worker holds")
		victims = append(victims, victim{tt.name, c, done})
	}
	begin := time.Now()
	die(a, t)
	for _, v := range victims {
		err := receive(t, v.name, v.done)
		assert.Less(t, time.Since(begin), noticeTimeout, v.name)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, v.name)
		requireOp(t, err, client.StageRead, true)
		assert.True(t, isUnknown(err))
		assert.False(t, client.SafeToRetry(err))
		assert.False(t, timesOut(err))
		assert.Contains(t, err.Error(), "has died")
		assert.Equal(t, client.ClosedStats{Failed: 1}, v.c.Stats().Closed)
		assert.Zero(t, v.c.Stats().Retries)
		assert.ErrorIs(t, v.c.Ping(context.Background()), client.ErrUnavailable)
	}
}

// TestArbiterStopsAndDies: calls that are safe to repeat are made again once the
// death is noticed. They then say that there is no arbiter. Safe are a call that
// only reads, and one that was not written whole.
func TestArbiterStopsAndDies(t *testing.T) {
	for name, call := range map[string]func(c *client.Client) error{
		"read": func(c *client.Client) error { return c.Ping(context.Background()) },
		"write": func(c *client.Client) error {
			_, err := c.Execute(context.Background(), app, "x", make([]byte, 20<<20))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newMortal(t)
			c := newClient(t, client.WithSocket(a.path))
			_, err := c.Execute(context.Background(), app, "fork")
			require.NoError(t, err)
			a.freeze(t)
			done := async(func() error { return call(c) })
			await(t, "it is begun", func() bool { return c.Stats().InUse == 1 })
			a.kill(t)
			err = receive(t, "the call", done)
			require.ErrorIs(t, err, client.ErrUnavailable)
			requireOp(t, err, client.StageDial, false)
			assert.False(t, errors.Is(err, io.ErrUnexpectedEOF))
		})
	}
}
