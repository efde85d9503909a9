package client_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() { helpers["launcher"] = launch }

// launch is a process that makes a listener and starts an arbiter with it, and that
// ends when its standard input does.
func launch() error {
	path := os.Getenv(helperVariable + "_PATH")
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("listening\n")
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	if err := sendFiles(nc.(*net.UnixConn), l.(*net.UnixListener)); err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// sendFiles sends a listener over a connection, and a connection that it accepts.
func sendFiles(to *net.UnixConn, l *net.UnixListener) error {
	f, err := l.File()
	if err != nil {
		return err
	}
	defer f.Close()
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	conn, err := nc.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = to.WriteMsgUnix([]byte("x"), syscall.UnixRights(int(f.Fd()), int(conn.Fd())), nil)
	return err
}

// launcher is such a process, as the test sees it.
type launcher struct {
	path    string
	process *exec.Cmd
	hold    io.Closer
	link    *net.UnixConn // over which it sends what it has
}

func startLauncher(t *testing.T) *launcher {
	a := &launcher{path: filepath.Join(shortTempDir(t), "s")}
	a.process = helperCommand("launcher", "PATH", a.path)
	hold, err := a.process.StdinPipe()
	require.NoError(t, err)
	a.hold = hold
	out, err := a.process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, a.process.Start())
	t.Cleanup(func() { _ = a.process.Process.Kill() })
	_, err = out.Read(make([]byte, 100))
	require.NoError(t, err)
	a.link, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: a.path, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.link.Close() })
	return a
}

// take takes the listener of the launcher, which then ends, and the next connection
// that it accepts.
func (a *launcher) take(t *testing.T, listens bool) (net.Listener, net.Conn) {
	rights := make([]byte, 100)
	_, n, _, _, err := a.link.ReadMsgUnix(make([]byte, 1), rights)
	require.NoError(t, err)
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	require.NoError(t, err)
	fds, err := syscall.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.Len(t, fds, 2)
	if listens {
		require.NoError(t, syscall.Listen(fds[0], 10))
	}
	lf := os.NewFile(uintptr(fds[0]), "listener")
	l, err := net.FileListener(lf)
	require.NoError(t, err)
	require.NoError(t, lf.Close())
	t.Cleanup(func() { _ = l.Close() })
	f := os.NewFile(uintptr(fds[1]), "connection")
	nc, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, a.hold.Close())
	_ = a.process.Wait()
	return l, nc
}

// TestServerIsTakenOver checks that a call goes on if its connection was handed to
// another process, and the process that had it ends. That other process is this
// test.
func TestServerIsTakenOver(t *testing.T) {
	for name, listens := range map[string]bool{"by one that listens": true, "by one that does not": false} {
		t.Run(name, func(t *testing.T) {
			old := startLauncher(t)
			c := newClient(t, client.WithSocket(old.path))
			done := async(func() error { return c.Ping(context.Background()) })
			l, nc := old.take(t, listens)
			require.NoError(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)))

			conn := dirty.NewConn(nc)
			m, err := conn.ReadMessage()
			require.NoError(t, err)
			if !listens {
				assert.ErrorIs(t, receive(t, "the call", done), io.ErrUnexpectedEOF)
				return
			}
			for range 2 {
				look, err := l.Accept() // the client looks who listens now
				require.NoError(t, err)
				require.NoError(t, look.Close())
			}
			require.Empty(t, done, "the call waits for its answer")
			require.NoError(t, arbiter(conn, m))
			assert.NoError(t, receive(t, "the call", done))
		})
	}
}

// TestServerOfALauncher checks that a server is found whose socket was made by a process
// that has exited, although it has not called listen itself. That server is this test.
func TestServerOfALauncher(t *testing.T) {
	a := startLauncher(t)
	other, err := net.Dial("unix", a.path) // which the launcher accepts
	require.NoError(t, err)
	require.NoError(t, other.Close())
	l, _ := a.take(t, false)

	err = newClient(t, client.WithSocket(a.path)).Ping(context.Background())
	require.ErrorIs(t, err, client.ErrUnavailable, "nobody answers yet")
	p := &scriptedPeer{path: a.path, serve: answering(arbiter)}
	p.listenWith(l)
	t.Cleanup(p.stop)
	c := newClient(t, client.WithSocket(a.path), client.WithMaxIdle(1, time.Hour),
		client.WithWaitForServer(within)) // on a busy machine the answer to the look may be late
	for range 3 {
		require.NoError(t, c.Ping(context.Background()))
		time.Sleep(recentAnswer)
	}
	s := c.Stats()
	assert.EqualValues(t, 1, s.Dials)
	assert.EqualValues(t, 2, s.Reused, "a dead launcher says nothing of the connection")
}
