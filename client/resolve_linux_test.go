package client_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	helpers["refused process"] = refusedProcess

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
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, inherited
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
	require.NoError(t, err)
	return cmd.Process.Pid
}

// pidFile writes a pid file.
func pidFile(t *testing.T, text string) string {
	name := filepath.Join(t.TempDir(), "pid")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	return name
}

// TestPIDFile: the process's one listening socket, however its path looks.
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

// TestPIDFileAmongSockets: an arbiter inherits those on which its web server
// listens. They are its parent's too; if that has ended, gunicorn's name helps.
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

// TestPIDFileErrors: which say that the arbiter may come yet.
func TestPIDFileErrors(t *testing.T) {
	dead := helperCommand("none")
	require.Error(t, dead.Run())
	folder := shortTempDir(t)
	for _, tt := range []struct {
		name        string
		file        string
		unavailable bool
		is          error
		text        string
	}{
		{"no file", filepath.Join(folder, "not"), true, fs.ErrNotExist, "not"},
		{"a folder", folder, true, nil, folder},
		{"empty", pidFile(t, ""), true, nil, "no process id"},
		{"no number", pidFile(t, "pid"), true, nil, "no process id"},
		{"negative", pidFile(t, "-1"), true, nil, "no process id"},
		{"zero", pidFile(t, "0"), true, nil, "no process id"},
		{"too large a number", pidFile(t, "99999999999999999999"), true, nil, "no process id"},
		{"a dead process", pidFile(t, strconv.Itoa(dead.ProcessState.Pid())), true, nil, "not running"},
		{"no socket", pidFile(t, strconv.Itoa(startListener(t, folder, ""))), true, nil, "does not listen"},
		{"two sockets of that name", pidFile(t, strconv.Itoa(startListener(t, folder, filepath.Join(shortTempDir(t), "arbiter.sock")+":"+filepath.Join(shortTempDir(t), "arbiter.sock")))), false, nil, "2 Unix sockets"},
		{"two sockets", pidFile(t, strconv.Itoa(startListener(t, folder, "a:b"))), false, nil, "2 Unix sockets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := client.FromPIDFile(tt.file)(context.Background())
			require.Error(t, err)
			assert.Empty(t, path)
			assert.Equal(t, tt.unavailable, errors.Is(err, client.ErrUnavailable), "%v", err)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
			assert.Contains(t, err.Error(), tt.text)

			err = newClient(t, client.WithResolver(client.FromPIDFile(tt.file))).Ping(context.Background())
			requireOp(t, err, client.StageDial, false)
			assert.Equal(t, tt.unavailable, errors.Is(err, client.ErrUnavailable), "%v", err)
		})
	}
}

// TestPIDFilePermission: another user's process cannot be looked into. Root may
// look into all, so there it is a process of nobody's that tries.
func TestPIDFilePermission(t *testing.T) {
	if os.Getuid() != 0 {
		require.NoError(t, refusedProcess())
		return
	}
	program := filepath.Join(shortTempDir(t), "test") // where nobody may enter
	require.NoError(t, os.Chmod(filepath.Dir(program), 0o755))
	code, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, code, 0o755))
	cmd := helperCommand("refused process")
	cmd.Path, cmd.Dir = program, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// refusedProcess asks for the socket of the first process, which is root's.
func refusedProcess() error {
	name := filepath.Join(os.TempDir(), "dirty-pid-"+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(name, []byte("1"), 0o600); err != nil {
		return err
	}
	defer os.Remove(name)
	_, err := client.FromPIDFile(name)(context.Background())
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, client.ErrUnavailable) {
		return fmt.Errorf("want a permission error, got %w", err)
	}
	return nil
}
