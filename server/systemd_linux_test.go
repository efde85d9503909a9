package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	children["of systemd"] = childOfSystemd
	children["with stray variables"] = childWithStrayVariables
}

// childOfSystemd serves two listeners until each has answered a request.
func childOfSystemd() error {
	listeners, err := server.SystemdListeners()
	if err != nil || len(listeners) != 2 {
		return fmt.Errorf("listeners %v, error %w", listeners, err)
	}
	if again, err := server.SystemdListeners(); err != nil || again != nil {
		return fmt.Errorf("again: listeners %v, error %w", again, err)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if value, ok := os.LookupEnv(name); ok {
			return fmt.Errorf("%s is still %q", name, value)
		}
	}
	for fd := 3; fd < 5; fd++ { // they may be reused, but not as systemd's
		if flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno == 0 && flags&syscall.FD_CLOEXEC == 0 {
			return fmt.Errorf("a child would inherit file descriptor %d", fd)
		}
	}
	answered := make(chan error, 2)
	s := &server.Server{Handler: server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		err := echo(ctx, w, r)
		answered <- err
		return err
	})}
	served := make(chan error, 2)
	for _, l := range listeners {
		go func() { served <- s.Serve(l) }()
	}
	if err := errors.Join(<-answered, <-answered, s.Shutdown(ctx)); err != nil {
		return err
	}
	<-served
	<-served
	return nil
}

func TestSystemdListeners(t *testing.T) {
	dir := folder(t)
	var files []*os.File
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for _, path := range paths {
		files = append(files, listenerFile(t, path))
	}
	cmd := withOwnPID(childCommand("of systemd", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"))
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	require.NoError(t, cmd.Start())
	for i, path := range paths {
		assert.Equal(t, dirty.NewResponse(1, []any{int64(i)}), call(t, dial(t, path), "do", i))
	}
	require.NoError(t, cmd.Wait())
	checkNames(t, dir, "a", "b") // they are systemd's
}

// withOwnPID makes a command set LISTEN_PID as systemd does, in the process that
// becomes the command's.
func withOwnPID(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = []string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, cmd.Path}
	cmd.Path = "/bin/sh"
	return cmd
}

// listenerFile returns the file descriptor of a socket that listens.
func listenerFile(t *testing.T, path string) *os.File {
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	f, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestSystemdListenersOfOthers: the variables are left to whom they are for, and
// those that make no sense are an error.
func TestSystemdListenersOfOthers(t *testing.T) {
	ours := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		pid, count string
		err        string
	}{
		{"", "1", ""},
		{"1", "1", ""},
		{"x", "1", ""},
		{ours + "0", "1", ""},
		{" " + ours, "1", ""},
		{ours, "", `LISTEN_FDS=""`},
		{ours, "x", `LISTEN_FDS="x"`},
		{ours, "-1", `LISTEN_FDS="-1"`},
		{ours, "1025", `LISTEN_FDS="1025"`},
		{ours, "99999999999999999999", "LISTEN_FDS"},
	} {
		t.Run(tt.pid+"/"+tt.count, func(t *testing.T) {
			t.Setenv("LISTEN_PID", tt.pid)
			t.Setenv("LISTEN_FDS", tt.count)
			got, err := server.SystemdListeners()
			assert.Empty(t, got)
			if tt.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.err)
			}
			assert.Equal(t, tt.pid, os.Getenv("LISTEN_PID"))
			assert.Equal(t, tt.count, os.Getenv("LISTEN_FDS"))
		})
	}
}

// TestSystemdListenersStray: variables that another process of the same id left
// behind. What the file descriptors are is not touched.
func TestSystemdListenersStray(t *testing.T) {
	dir := folder(t)
	listener := listenerFile(t, filepath.Join(dir, "l"))
	file, err := os.Create(filepath.Join(dir, "f"))
	require.NoError(t, err)
	defer file.Close()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	datagrams, err := udp.File()
	require.NoError(t, err)
	defer datagrams.Close()
	conn, err := net.Dial("unix", filepath.Join(dir, "l"))
	require.NoError(t, err)
	defer conn.Close()
	connected, err := conn.(*net.UnixConn).File()
	require.NoError(t, err)
	defer connected.Close()

	for name, tt := range map[string]struct {
		inherits []*os.File
		count    int
		opens    string // a path that the process listens on itself, with the next file descriptor
		err      string
	}{
		"a file":                      {[]*os.File{file}, 1, "", "not a socket"},
		"a pipe":                      {[]*os.File{in}, 1, "", "not a socket"},
		"a socket for datagrams":      {[]*os.File{datagrams}, 1, "", "not a stream socket that listens"},
		"a connection":                {[]*os.File{connected}, 1, "", "not a stream socket that listens"},
		"a listener, and then a file": {[]*os.File{listener, file}, 2, "", "descriptor 4"},
		"more than there are":         {[]*os.File{listener}, 1024, "", "LISTEN_FDS=1024"},
		"a listener of its own":       {nil, 1, filepath.Join(dir, "own"), "opened it itself"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := withOwnPID(childCommand("with stray variables", "LISTEN_FDS="+strconv.Itoa(tt.count), childVariable+"_OPENS="+tt.opens,
				childVariable+"_HAS="+strconv.Itoa(len(tt.inherits))))
			cmd.ExtraFiles = tt.inherits
			said, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", said)
			assert.Contains(t, string(said), tt.err)
		})
	}
}

// childWithStrayVariables says why it gets no listeners, and checks that it lost
// nothing.
func childWithStrayVariables() error {
	has, err := strconv.Atoi(os.Getenv(childVariable + "_HAS"))
	if err != nil {
		return err
	}
	if path := os.Getenv(childVariable + "_OPENS"); path != "" {
		// Let the number be the first one that systemd would use.
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 1)); err != nil {
			return err
		}
		if fd != 3 {
			if err := syscall.Dup3(fd, 3, syscall.O_CLOEXEC); err != nil {
				return err
			}
		}
		has = 1
	}
	variables := os.Getenv("LISTEN_PID") + os.Getenv("LISTEN_FDS")
	listeners, err := server.SystemdListeners()
	if err == nil || listeners != nil {
		return fmt.Errorf("listeners %v, error %w", listeners, err)
	}
	fmt.Println(err)
	for fd := 3; fd < 3+has; fd++ {
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			return fmt.Errorf("file descriptor %d was closed: %w", fd, err)
		}
	}
	if os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDS") != variables {
		return errors.New("the variables were removed")
	}
	return nil
}
