package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	helpers["refused file"] = resolveUnreadableFile
	helpers["refused process"] = resolveOthersProcess

	// It listens on the paths that it is given, in its folder, until its
	// standard input ends.
	helpers["listener"] = func() error {
		if err := os.Chdir(os.Getenv(helperVariable + "_FOLDER")); err != nil {
			return err
		}
		for _, path := range filepath.SplitList(os.Getenv(helperVariable + "_PATHS")) {
			if _, err := net.Listen("unix", path); err != nil {
				return err
			}
		}
		_, _ = os.Stdout.WriteString("listening\n")
		return helpers["worker"]()
	}
}

// startListener starts a process that listens, and returns its id.
func startListener(t *testing.T, folder string, paths string, inherited ...*os.File) int {
	cmd := helperCommand("listener", "FOLDER", folder, "PATHS", paths)
	cmd.ExtraFiles = inherited
	return startUntilEnd(t, cmd)
}

// startUntilEnd starts a helper that says when it is ready and ends with its
// standard input, and returns its process id.
func startUntilEnd(t *testing.T, cmd *exec.Cmd) int {
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	_, err = out.Read(make([]byte, 100))
	require.NoError(t, err, "is it ready?")
	return cmd.Process.Pid
}

// pidFile writes a pid file.
func pidFile(t *testing.T, text string) string {
	name := filepath.Join(t.TempDir(), "pid")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	require.NoError(t, os.Chmod(name, 0o644), "whatever the umask is")
	return name
}

// TestPIDFile: the resolver finds the process's one listening socket, however the
// path looks.
func TestPIDFile(t *testing.T) {
	folder := shortTempDir(t)
	for path, want := range map[string]string{
		filepath.Join(folder, "arbiter.sock"):    filepath.Join(folder, "arbiter.sock"),
		filepath.Join(folder, "with a space"):    filepath.Join(folder, "with a space"),
		"relative.sock":                          filepath.Join(folder, "relative.sock"),
		"@abstract-" + strconv.Itoa(os.Getpid()): "@abstract-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(path, func(t *testing.T) {
			pid := startListener(t, folder, path)
			got, err := client.FromPIDFile(pidFile(t, strconv.Itoa(pid)+"\n"))(context.Background())
			require.NoError(t, err)
			assert.Equal(t, want, got)
			nc, err := net.Dial("unix", got)
			require.NoError(t, err)
			_ = nc.Close()
		})
	}
}

// TestPIDFileAmongSockets: an arbiter inherits the sockets on which its web server
// listens. They are its parent's too. If the parent has ended, the name that
// gunicorn gives its socket tells.
func TestPIDFileAmongSockets(t *testing.T) {
	folder := shortTempDir(t)
	web, err := net.Listen("unix", filepath.Join(folder, "web.sock"))
	require.NoError(t, err)
	defer web.Close()
	inherited, err := web.(*net.UnixListener).File()
	require.NoError(t, err)
	defer inherited.Close()
	for name, pid := range map[string]int{
		"own.sock":     startListener(t, folder, "own.sock", inherited),
		"arbiter.sock": startListener(t, folder, "other.sock:arbiter.sock"),
	} {
		got, err := client.FromPIDFile(pidFile(t, strconv.Itoa(pid)))(context.Background())
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(folder, name), got)
	}
	_, err = client.FromPIDFile(pidFile(t, strconv.Itoa(startListener(t, folder, "", inherited))))(context.Background())
	assert.ErrorIs(t, err, client.ErrUnavailable, "not the web server's")
}

// TestPIDFileFollows: an arbiter that restarts has another process and path.
func TestPIDFileFollows(t *testing.T) {
	folder := shortTempDir(t)
	name := pidFile(t, "")
	c := newClient(t, client.WithResolver(client.FromPIDFile(name)))
	assert.ErrorIs(t, c.Ping(context.Background()), client.ErrUnavailable)
	for _, path := range []string{"a", "b"} {
		pid := startListener(t, folder, path)
		require.NoError(t, os.WriteFile(name, []byte(strconv.Itoa(pid)), 0o644))
		got, err := client.FromPIDFile(name)(context.Background())
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(folder, path), got)
	}
}

// TestPIDFileErrors: files and processes that lead to no arbiter. Waiting helps for
// some of them only. None of them holds up a call or Close.
func TestPIDFileErrors(t *testing.T) {
	const dead = 1 << 22 // more than the largest process id: that of a dead process may be used again
	folder := shortTempDir(t)
	arbiter := strconv.Itoa(startListener(t, folder, "arbiter.sock"))
	changed := func(text string, change func(name string) error) string {
		name := pidFile(t, text)
		require.NoError(t, change(name))
		return name
	}
	chmod := func(mode os.FileMode) string {
		return changed(arbiter, func(name string) error { return os.Chmod(name, mode) })
	}
	instead := func(put func(name string) error) string {
		return changed(arbiter, func(name string) error { return errors.Join(os.Rename(name, name+".old"), put(name)) })
	}
	uid := fmt.Sprintf("(uid %d, mode ", os.Geteuid())
	for _, tt := range []struct {
		name  string
		file  string
		waits bool // matches ErrUnavailable
		is    error
		texts []string
	}{
		{"no file", filepath.Join(folder, "not"), true, fs.ErrNotExist, []string{"not"}},
		{"empty", pidFile(t, ""), true, nil, []string{"no process id"}},
		{"no number", pidFile(t, "pid"), true, nil, []string{"no process id", uid + "-rw-r--r--)"}},
		{"negative", pidFile(t, "-1"), true, nil, []string{"no process id"}},
		{"zero", pidFile(t, "0"), true, nil, []string{"no process id"}},
		{"too large a number", pidFile(t, "99999999999999999999"), true, nil, []string{"no process id"}},
		{"two numbers", pidFile(t, arbiter+"\n1"), true, nil, []string{"no process id"}},
		{"too long", pidFile(t, arbiter+strings.Repeat("\n", 32)), true, nil, []string{"no process id"}},
		{"a terabyte", changed(arbiter, func(name string) error { return os.Truncate(name, 1<<40) }), true, nil, []string{"no process id"}},
		{"a dead process", pidFile(t, strconv.Itoa(dead)), true, nil, []string{"not running"}},
		{"a zombie", pidFile(t, strconv.Itoa(zombie(t))), true, nil, []string{"not running"}},
		{"this process", pidFile(t, strconv.Itoa(os.Getpid())), true, nil, []string{"this one"}},
		{"another user's process", pidFile(t, strconv.Itoa(othersProcess(t))), false, fs.ErrPermission, []string{"another user"}},
		{"no socket", pidFile(t, strconv.Itoa(startListener(t, folder, ""))), true, nil, []string{"does not listen"}},
		{"two sockets of that name", pidFile(t, strconv.Itoa(startListener(t, folder, filepath.Join(shortTempDir(t), "arbiter.sock")+":"+filepath.Join(shortTempDir(t), "arbiter.sock")))), false, nil, []string{"2 Unix sockets"}},
		{"two sockets", pidFile(t, strconv.Itoa(startListener(t, folder, "a:b"))), false, nil, []string{"2 Unix sockets", "WithSocket"}},
		{"a folder", folder, false, nil, []string{folder, uid + "drwx------)", "not a regular file", "remove it"}},
		{"a pipe", instead(func(name string) error { return syscall.Mkfifo(name, 0o600) }), false, nil, []string{uid + "prw-------)", "not a regular file", "remove it"}},
		{"a socket", instead(func(name string) error { return os.Rename(socketFile(t), name) }), false, nil, []string{"mode S", "not a regular file"}},
		{"a link to a good file", instead(func(name string) error { return os.Symlink(name+".old", name) }), false, syscall.ELOOP, []string{"mode L", "not a regular file"}},
		{"a link to nowhere", instead(func(name string) error { return os.Symlink("nowhere", name) }), false, syscall.ELOOP, []string{"not a regular file"}},
		{"a link to an endless device", instead(func(name string) error { return os.Symlink("/dev/zero", name) }), false, syscall.ELOOP, []string{"not a regular file"}},
		{"an endless device", "/dev/zero", false, nil, []string{"mode D", "not a regular file"}},
		{"the group can write", chmod(0o620), false, nil, []string{uid + "-rw--w----)", "written by other users", "chmod go-w"}},
		{"all can write", chmod(0o602), false, nil, []string{uid + "-rw-----w-)", "written by other users"}},
		{"another user's file", othersFile(t, arbiter), false, nil, []string{"belongs to another user", fmt.Sprintf("uid %d", os.Geteuid()), "run both as one user"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := resolveInTime(t, tt.file)
			require.Error(t, err)
			assert.Empty(t, path)
			assert.Equal(t, tt.waits, errors.Is(err, client.ErrUnavailable), "%v", err)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
			for _, text := range append(tt.texts, tt.file) {
				assert.ErrorContains(t, err, text)
			}

			c := newClient(t, client.WithResolver(client.FromPIDFile(tt.file)))
			err = receive(t, "the call", async(func() error { return c.Ping(context.Background()) }))
			requireOp(t, err, client.StageDial, false)
			assert.Equal(t, tt.waits, errors.Is(err, client.ErrUnavailable), "%v", err)
			assert.NoError(t, receive(t, "Close", async(c.Close)))
		})
	}
}

// resolveInTime asks a resolver for the path, but does not wait for ever.
func resolveInTime(t *testing.T, name string) (path string, err error) {
	err = receive(t, "the resolver", async(func() (err error) {
		path, err = client.FromPIDFile(name)(context.Background())
		return err
	}))
	return path, err
}

// socketFile returns the path of a socket that nobody listens on.
func socketFile(t *testing.T) string {
	path := filepath.Join(shortTempDir(t), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	return path
}

// zombie returns the id of a process that has ended, whose exit status nobody has
// asked for.
func zombie(t *testing.T) int {
	a := newMortal(t)
	waysToDie["zombie"](a, t)
	return a.process.Process.Pid
}

// nobody is a user who owns nothing.
const nobody = 65534

// othersFile returns a file of another user: of nobody where root runs the tests,
// else one of root's.
func othersFile(t *testing.T, text string) string {
	if os.Geteuid() != 0 {
		return "/etc/passwd"
	}
	name := pidFile(t, text)
	require.NoError(t, os.Chown(name, nobody, nobody))
	return name
}

// othersProcess returns the id of a process of another user: of nobody where
// root runs the tests, else of the first, which is root's.
func othersProcess(t *testing.T) int {
	if os.Geteuid() != 0 {
		return 1
	}
	cmd := asNobody(t, helperCommand("listener", "FOLDER", "/", "PATHS", "@dirty-nobody-"+strconv.Itoa(os.Getpid())))
	return startUntilEnd(t, cmd)
}

// asNobody makes a helper run as nobody, where root runs the tests. The binary
// of the tests lies where nobody may not enter.
func asNobody(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	program := filepath.Join(shortTempDir(t), "test")
	require.NoError(t, os.Chmod(filepath.Dir(program), 0o755))
	code, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, code, 0o755))
	cmd.Path, cmd.Dir = program, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// TestPIDFileOfAnotherUser: the file names another user's process, which listens
// under gunicorn's name. Root could read and open all of it, but must not.
func TestPIDFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		loud.Say("client: NOT RUN: %s, which needs root", t.Name())
		t.Skip("only root may read another user's files")
	}
	folder := shortTempDir(t)
	require.NoError(t, os.Chown(folder, nobody, nobody))
	pid := startUntilEnd(t, asNobody(t, helperCommand("listener", "FOLDER", folder, "PATHS", "arbiter.sock")))
	for name, file := range map[string]string{
		"his file": othersFile(t, strconv.Itoa(pid)),
		"our file": pidFile(t, strconv.Itoa(pid)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolveInTime(t, file)
			require.Error(t, err)
			assert.NotErrorIs(t, err, client.ErrUnavailable)
		})
	}
}

// TestPIDFilePermission: waiting does not help where this user may not read.
// Root may read all, so there a process of nobody's tries.
func TestPIDFilePermission(t *testing.T) {
	for _, name := range []string{"refused file", "refused process"} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				require.NoError(t, helpers[name]())
				return
			}
			out, err := asNobody(t, helperCommand(name)).CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

// resolveOthersProcess asks for the socket of the first process, which is root's.
func resolveOthersProcess() error { return requirePermission("1", 0o600) }

// resolveUnreadableFile asks for a file that cannot be read.
func resolveUnreadableFile() error { return requirePermission("1", 0) }

func requirePermission(text string, mode fs.FileMode) error {
	name := filepath.Join(os.TempDir(), "dirty-pid-"+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		return err
	}
	defer os.Remove(name)
	_, err := client.FromPIDFile(name)(context.Background())
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, client.ErrUnavailable) || !strings.Contains(err.Error(), name) {
		return fmt.Errorf("want a permission error that names %s, got %w", name, err)
	}
	return nil
}

// TestPIDFileForgedRow: somebody binds a socket whose name holds a row of
// /proc/net/unix, which gives the arbiter's socket another path. Both rows are
// refused.
func TestPIDFileForgedRow(t *testing.T) {
	folder, forger := shortTempDir(t), newPeer(t, answering(arbiter))
	file := pidFile(t, strconv.Itoa(startListener(t, folder, filepath.Join(folder, "arbiter.sock"))))
	path, err := resolveInTime(t, file)
	require.NoError(t, err)
	table, err := os.ReadFile("/proc/net/unix")
	require.NoError(t, err)
	inode := regexp.MustCompile(`([0-9]+) ` + regexp.QuoteMeta(path) + "\n")
	forged, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer syscall.Close(forged)
	require.NoError(t, syscall.Bind(forged, &syscall.SockaddrUnix{
		Name: "@x\n0: 2 0 00010000 0001 01 " + string(inode.FindSubmatch(table)[1]) + " " + forger.path,
	}))

	c := newClient(t, client.WithResolver(client.FromPIDFile(file)))
	for range 5 {
		_, err = c.Execute(context.Background(), app, "login", "secret")
		require.ErrorContains(t, err, "twice")
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, forger.path)
		assert.NotErrorIs(t, err, client.ErrUnavailable)
	}
	assert.Zero(t, forger.connections())
}

// TestPIDFileAnotherProcessAnswers: another process has taken the arbiter's path.
// It never gets a request, whatever the options say.
func TestPIDFileAnotherProcessAnswers(t *testing.T) {
	folder := shortTempDir(t)
	path := filepath.Join(folder, "arbiter.sock")
	resolver := client.FromPIDFile(pidFile(t, strconv.Itoa(startListener(t, folder, path))))
	require.NoError(t, os.Remove(path))
	heard := make(chan []byte, 1000)
	thief := &scriptedPeer{path: path, serve: func(nc net.Conn) {
		b, _ := io.ReadAll(nc)
		heard <- b
	}}
	thief.listen(t)
	t.Cleanup(thief.stop)
	plain := func(ctx context.Context, path string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, "unix", path)
		return struct{ net.Conn }{nc}, err // has no SyscallConn
	}
	for _, tt := range []struct {
		name  string
		opts  []client.Option
		waits bool
		text  string
	}{
		{"by default", nil, true, "somebody else"},
		{"no check of the peer", []client.Option{client.WithPeerCheck(false)}, true, "somebody else"},
		{"a resolver around it", []client.Option{client.WithResolver(func(ctx context.Context) (string, error) { return resolver(ctx) })}, true, "somebody else"},
		{"waits in vain", []client.Option{client.WithWaitForServer(50 * time.Millisecond)}, true, "somebody else"},
		{"a connection without a process", []client.Option{client.WithDialer(plain)}, false, "WithDialer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, append([]client.Option{client.WithResolver(resolver)}, tt.opts...)...)
			_, err := c.Execute(context.Background(), app, "login", "secret")
			requireOp(t, err, client.StageDial, false)
			assert.Equal(t, tt.waits, errors.Is(err, client.ErrUnavailable), "%v", err)
			assert.ErrorContains(t, err, path)
			assert.Empty(t, receive(t, "the thief", heard))
		})
	}
}

// TestPIDFileCalls: the right process gets the calls, and later the next one.
func TestPIDFileCalls(t *testing.T) {
	first, next := newMortal(t), newMortal(t)
	file := pidFile(t, strconv.Itoa(first.process.Process.Pid))
	c := newClient(t, client.WithResolver(client.FromPIDFile(file)), client.WithMaxIdle(8, time.Hour))
	require.NoError(t, c.Ping(context.Background()))
	require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(next.process.Process.Pid)), 0o644))
	first.kill(t)
	require.NoError(t, c.Ping(context.Background()))
	assert.EqualValues(t, 2, c.Stats().Dials)
}
