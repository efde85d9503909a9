package server_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func modeOf(tb testing.TB, path string) fs.FileMode {
	tb.Helper()
	info, err := os.Lstat(path)
	require.NoError(tb, err)
	return info.Mode()
}

// checkNames checks what is in a folder.
func checkNames(tb testing.TB, dir string, names ...string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(tb, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	assert.Equal(tb, names, got)
}

// leaveStale leaves a socket that nobody accepts on.
func leaveStale(tb testing.TB, path string) {
	tb.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(tb, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(tb, l.Close())
}

func TestListenAndServe(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "dirty.sock")
	s := &server.Server{Mode: 0o660, Handler: server.HandlerFunc(echo)}
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe(path) }()
	eventually(t, "it listens", func() bool {
		_, err := os.Lstat(path)
		return err == nil
	})
	assert.Equal(t, fs.ModeSocket|0o660, modeOf(t, path))
	usable(t, dial(t, path))
	checkNames(t, dir, "dirty.sock")
	require.NoError(t, s.Shutdown(ctx))
	assert.Equal(t, server.ErrServerClosed, <-served)
	checkNames(t, dir)
	noGoroutines(t)
}

func TestListenReplacesStale(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	leaveStale(t, path)
	l, err := server.Listen(path, 0)
	require.NoError(t, err)
	assert.Equal(t, path, l.Addr().String())
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	_ = c.Close()
	require.NoError(t, l.Close())
	assert.NoFileExists(t, path)
}

func TestListenRefusesLive(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "s")
	first := &server.Server{Handler: server.HandlerFunc(echo)}
	l, err := server.Listen(path, 0)
	require.NoError(t, err)
	go func() { _ = first.Serve(l) }()
	err = new(server.Server).ListenAndServe(path)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.ErrorContains(t, err, path)
	checkNames(t, dir, "s")
	usable(t, dial(t, path))
	require.NoError(t, first.Close())

	// One that listens and never accepts.
	full, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer full.Close()
	for range 5000 {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	_, err = server.Listen(path, 0)
	assert.ErrorIs(t, err, syscall.EADDRINUSE, "its backlog is full")
	assert.FileExists(t, path)
}

func TestListenRefusesOthers(t *testing.T) {
	dir := folder(t)
	file, sub, link := filepath.Join(dir, "file"), filepath.Join(dir, "sub"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, []byte("content"), 0o640))
	require.NoError(t, os.Mkdir(sub, 0o700))
	require.NoError(t, os.Symlink(file, link))
	for path, want := range map[string]string{
		file:                           "something else than a socket",
		sub:                            "something else than a socket",
		link:                           "something else than a socket",
		sub + "/":                      "not the path of a file",
		"":                             "not the path of a file",
		"@abstract":                    "not the path of a file",
		dir + "/missing/s":             "no such file",
		dir + strings.Repeat("x", 200): fmt.Sprintf("the path has %d bytes", len(dir)+200),
	} {
		_, err := server.Listen(path, 0)
		assert.ErrorContains(t, err, want)
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "content", string(content))
	checkNames(t, dir, "file", "link", "sub")
}

// Closing removes the file only if it is still the listener's own.
func TestListenRemovesItsOwn(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	first, err := server.Listen(path, 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	second, err := server.Listen(path, 0)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	assert.FileExists(t, path)
	require.NoError(t, second.Close())
	assert.NoFileExists(t, path)

	third, err := server.Listen(path, 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, third.Close(), "the file is gone already")
}

// The working directory may change between Listen and Close.
func TestListenRelativePath(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	l, err := server.Listen("s", 0)
	require.NoError(t, err)
	assert.Equal(t, fs.ModeSocket|server.DefaultMode, modeOf(t, filepath.Join(dir, "s")))
	t.Chdir("/")
	require.NoError(t, l.Close())
	checkNames(t, dir)
}

// Serve closes a listener that it was given, but does not remove its file.
func TestServeGivenListener(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := &server.Server{Handler: server.HandlerFunc(echo)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	usable(t, dial(t, path))
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, <-served)
	assert.FileExists(t, path)
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// One server serves several listeners, of several kinds.
func TestServeSeveral(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(echo)}
	path := start(t, s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	c := dirty.NewConn(nc)
	defer c.Close()
	require.NoError(t, dial(t, path).WriteMessage(dirty.NewStashRequest(1, dirty.StashPut, "t", "k", "v", "")))
	eventually(t, "the stash is shared", func() bool {
		m, ok := ask(t, c, dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")).(*dirty.Response)
		return ok && m.Result == "v"
	})
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, <-served)
}

// failing is a listener whose Accept fails at first.
type failing struct {
	net.Listener
	errs chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, err
	default:
		return f.Listener.Accept()
	}
}

func TestAcceptFails(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	inner, err := net.Listen("unix", path)
	require.NoError(t, err)
	l := &failing{inner, make(chan error, 10)}
	for _, err := range []error{syscall.EMFILE, &net.OpError{Op: "accept", Err: syscall.ECONNABORTED}, syscall.ENFILE} {
		l.errs <- err
	}
	var log record
	s := &server.Server{Logger: log.logger()}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, path)
	usable(t, c)
	assert.Equal(t, 3, strings.Count(log.String(), "cannot accept"))

	l.errs <- errBoom
	if nc, err := net.Dial("unix", path); err == nil { // for the Accept that waits
		_ = nc.Close()
	}
	assert.Equal(t, errBoom, wait(t, "Serve", served))
	usable(t, c)
	_, err = inner.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)

	// Waiting to try again does not outlast the server.
	inner, err = net.Listen("unix", path+"2")
	require.NoError(t, err)
	l = &failing{inner, make(chan error, 100)}
	for range 100 {
		l.errs <- syscall.EMFILE
	}
	go func() { served <- s.Serve(l) }()
	eventually(t, "it waits", func() bool { return len(l.errs) < 95 })
	require.NoError(t, s.Close())
	assert.Equal(t, server.ErrServerClosed, wait(t, "Serve", served))
	assert.NoError(t, s.Shutdown(ctx))
	noGoroutines(t)
}
