//go:build unix

package server_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListenModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for umask, want := range map[int]fs.FileMode{0: 0o600, 0o022: 0o600, 0o077: 0o666} {
		syscall.Umask(umask)
		given := want
		if want == server.DefaultMode {
			given = 0
		}
		path := filepath.Join(folder(t), "s")
		l, err := server.Listen(path, given)
		require.NoError(t, err)
		assert.Equal(t, fs.ModeSocket|want, modeOf(t, path), "umask %o", umask)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close(), "again")
	}
}

// On Linux every path that a socket can have will do. Elsewhere the name of the
// private folder takes a part of it.
func TestListenLongestPath(t *testing.T) {
	const longest = len(syscall.RawSockaddrUnix{}.Path) - 1
	if runtime.GOOS != "linux" {
		t.Skip("the longest path depends on the length of the name")
	}
	dir := folder(t)
	deep := filepath.Join(dir, strings.Repeat("d", longest-len(dir)-3))
	require.NoError(t, os.Mkdir(deep, 0o700))
	for path, ok := range map[string]bool{
		deep + "/s":  true,
		deep + "/ss": false,
		dir + "/" + strings.Repeat("f", longest-len(dir)-1): true,
		dir + "/" + strings.Repeat("f", longest-len(dir)):   false,
	} {
		l, err := server.Listen(path, 0)
		if !ok {
			assert.ErrorContains(t, err, fmt.Sprintf("at most %d", longest))
			continue
		}
		require.NoError(t, err)
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		_ = c.Close()
		require.NoError(t, l.Close())
	}
	checkNames(t, deep)
}

// Of several servers that find a stale socket one gets the path.
func TestListenRace(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("folders cannot be locked")
	}
	for range 20 {
		dir := folder(t)
		path := filepath.Join(dir, "s")
		leaveStale(t, path)
		var wg sync.WaitGroup
		listeners := make(chan net.Listener, 10)
		for range 10 {
			wg.Go(func() {
				l, err := server.Listen(path, 0)
				if err == nil {
					listeners <- l
				} else {
					assert.ErrorIs(t, err, syscall.EADDRINUSE)
				}
			})
		}
		wg.Wait()
		require.Len(t, listeners, 1)
		checkNames(t, dir, "s")
		require.NoError(t, (<-listeners).Close())
		checkNames(t, dir)
	}
}

// While a socket is put in its place, somebody who can write in the folder puts a
// link to a file of ours, or to a folder of such links, where something new is.
// The file keeps its mode.
func TestListenFollowsNoLink(t *testing.T) {
	victim := filepath.Join(folder(t), "victim")
	require.NoError(t, os.WriteFile(victim, nil, 0o600))
	links := folder(t)
	require.NoError(t, os.Symlink(victim, filepath.Join(links, "s")))
	for name, target := range map[string]string{"to the file": victim, "to a folder of links": links} {
		t.Run(name, func(t *testing.T) {
			dir, aside := folder(t), folder(t)
			attack := func() (won bool) {
				entries, _ := os.ReadDir(dir)
				for _, e := range entries {
					entry := filepath.Join(dir, e.Name())
					if e.Name() == "s" || e.Type() == fs.ModeSymlink {
						continue
					}
					if os.Rename(entry, filepath.Join(aside, e.Name())) == nil && os.Symlink(target, entry) == nil {
						won = true
					}
				}
				return won
			}
			var won atomic.Int64
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if attack() {
							won.Add(1)
						}
					}
				}
			})
			defer wg.Wait()
			defer close(stop)
			for n := 0; won.Load() < 100 && n < 20_000; n++ {
				if l, err := server.Listen(filepath.Join(dir, "s"), 0o666); err == nil {
					require.NoError(t, l.Close())
				}
				require.Equal(t, fs.FileMode(0o600), modeOf(t, victim), "the %d. link was followed", won.Load())
			}
			assert.NotZero(t, won.Load(), "the attack never came in time")
		})
	}
}

// A link in the place is refused, whatever it leads to.
func TestListenRefusesLinks(t *testing.T) {
	for name, target := range map[string]func(dir string) string{
		"to a live socket": func(dir string) string {
			path := filepath.Join(dir, "live")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return path
		},
		"to a stale socket": func(dir string) string {
			path := filepath.Join(dir, "stale")
			leaveStale(t, path)
			return path
		},
		"to nothing": func(string) string { return "nothing" },
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			path := filepath.Join(dir, "s")
			require.NoError(t, os.Symlink(target(folder(t)), path))
			_, err := server.Listen(path, 0)
			assert.ErrorContains(t, err, "something else than a socket")
			checkNames(t, dir, "s")
			assert.Equal(t, fs.ModeSymlink, modeOf(t, path).Type())
		})
	}
}

// The folder of the path can be anything, too.
func TestListenInAPipe(t *testing.T) {
	pipe := filepath.Join(folder(t), "p")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	done := make(chan error, 1)
	go func() {
		_, err := server.Listen(filepath.Join(pipe, "s"), 0)
		done <- err
	}()
	assert.ErrorContains(t, wait(t, "Listen", done), "not a directory")
}

// Somebody holds the lock of the folder. That does not hold a server up for long.
func TestListenInALockedFolder(t *testing.T) {
	dir := folder(t)
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		l, err := server.Listen(filepath.Join(dir, "s"), 0)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(begin), time.Second)
		require.NoError(t, l.Close())
		assert.LessOrEqual(t, time.Since(begin), 2*time.Second)
		assert.NotZero(t, time.Since(begin), "it has waited for the lock")
	})
	checkNames(t, dir)
}

// Closing removes the socket's own file, wherever its folder is by then.
func TestListenRemovesItsOwnElsewhere(t *testing.T) {
	dir := folder(t)
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	require.NoError(t, os.Mkdir(before, 0o700))
	l, err := server.Listen(filepath.Join(before, "s"), 0)
	require.NoError(t, err)
	require.NoError(t, os.Rename(before, after))
	require.NoError(t, os.Mkdir(before, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(before, "s"), nil, 0o600))
	require.NoError(t, l.Close())
	checkNames(t, before, "s")
	checkNames(t, after)
}

// groupOf returns the group of a file.
func groupOf(t *testing.T, path string) int {
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return int(info.Sys().(*syscall.Stat_t).Gid)
}

func TestListenGroup(t *testing.T) {
	gid := anotherGroup(t)
	usual := filepath.Join(folder(t), "s")
	leaveStale(t, usual)
	names := map[string]int{"": groupOf(t, usual), strconv.Itoa(gid): gid}
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		names[g.Name] = gid
	}
	for name, want := range names {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			path := filepath.Join(dir, "s")
			l, err := (&server.Server{Mode: 0o660, Group: name}).Listen(path)
			require.NoError(t, err)
			assert.Equal(t, fs.ModeSocket|0o660, modeOf(t, path))
			assert.Equal(t, want, groupOf(t, path))
			checkNames(t, dir, "s")
			require.NoError(t, l.Close())
		})
	}
	for _, name := range []string{"no such group", "-1", "4294967295", "99999999999", "0x10", " "} {
		dir := folder(t)
		_, err := (&server.Server{Group: name}).Listen(filepath.Join(dir, "s"))
		assert.ErrorContains(t, err, "Server.Group", name)
		assert.ErrorContains(t, (&server.Server{Group: name}).ListenAndServe(filepath.Join(dir, "s")), "Server.Group")
		checkNames(t, dir)
	}
}

// anotherGroup returns a group that this process may give files to, which is not
// its own if there is one.
func anotherGroup(t *testing.T) int {
	if os.Geteuid() == 0 {
		return nobody
	}
	groups, err := os.Getgroups()
	require.NoError(t, err)
	for _, gid := range groups {
		if gid != os.Getegid() {
			return gid
		}
	}
	loud.Say("server: NOT RUN: %s with another group than the process's own, which needs root or a second group", t.Name())
	return os.Getegid()
}

// nobody is a user and a group that owns nothing.
const nobody = 65534

// The folder's group is the socket's, where the system or the folder's mode says so.
func TestListenInheritsGroup(t *testing.T) {
	gid := anotherGroup(t)
	dir := folder(t)
	require.NoError(t, os.Chown(dir, -1, gid))
	require.NoError(t, os.Chmod(dir, 0o755|fs.ModeSetgid))
	path := filepath.Join(dir, "s")
	l, err := server.Listen(path, 0)
	require.NoError(t, err)
	assert.Equal(t, gid, groupOf(t, path))
	require.NoError(t, l.Close())
}

func init() {
	for name, listen := range unprivileged {
		children[name] = func() error { return listen(os.Getenv(childVariable + "_FOLDER")) }
	}
}

// unprivileged are what only root may do.
var unprivileged = map[string]func(dir string) error{
	"a group that is not the user's": func(dir string) error {
		_, err := (&server.Server{Group: "0"}).Listen(filepath.Join(dir, "s"))
		return requirePermission(err, "member of the group")
	},
	"a umask that takes all away": func(dir string) error {
		defer syscall.Umask(syscall.Umask(0o777))
		_, err := server.Listen(filepath.Join(dir, "s"), 0)
		return requirePermission(err, "umask")
	},
}

func requirePermission(err error, text string) error {
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("want a permission error that says %q, got %w", text, err)
	}
	return nil
}

// What a user may not do is a clear error, and leaves nothing behind. Where root
// runs the tests, a process of nobody's tries.
func TestListenUnprivileged(t *testing.T) {
	for name, listen := range unprivileged {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			if os.Geteuid() == 0 {
				require.NoError(t, os.Chown(dir, nobody, nobody))
				out, err := asNobody(t, childCommand(name, childVariable+"_FOLDER="+dir)).CombinedOutput()
				require.NoError(t, err, "%s", out)
			} else {
				require.NoError(t, listen(dir))
			}
			checkNames(t, dir)
		})
	}
}

// asNobody makes a child run as nobody, where root runs the tests. The binary of
// the tests lies where nobody may not enter.
func asNobody(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	program := filepath.Join(folder(t), "test")
	require.NoError(t, os.Chmod(filepath.Dir(program), 0o755))
	code, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, code, 0o755))
	cmd.Path, cmd.Dir = program, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}
