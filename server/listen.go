package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Listen listens on a Unix socket at a path, with a mode of which only the
// permissions count; 0 is [DefaultMode]. ListenAndServe does the same; with Listen
// a caller knows when clients can connect.
//
// The socket is made beside its place and renamed, so nobody ever sees it with
// another mode, and what takes its place does so at once. A socket that nobody
// accepts on is replaced. If somebody does, the error matches
// [syscall.EADDRINUSE]; anything else at the path is an error too, and is left as
// it is. Closing the listener removes the file, if it is still the same.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := listen(path, cmp.Or(mode.Perm(), DefaultMode))
	if err != nil {
		return nil, fmt.Errorf("dirty: listen at %s: %w", path, err)
	}
	return l, nil
}

func listen(path string, mode fs.FileMode) (*socketFile, error) {
	switch {
	case filepath.Base(path) != name(path) || strings.HasPrefix(path, "@"): // net takes @ for an abstract socket
		return nil, errors.New("not the path of a file; see Server.Serve for other listeners")
	case len(path) > maxPath:
		return nil, fmt.Errorf("the path has %d bytes, the socket of a path at most %d", len(path), maxPath)
	}
	absolute, err := filepath.Abs(path) // the working directory may change
	if err != nil {
		return nil, err
	}
	defer lockFolder(filepath.Dir(path))()
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	l, temporary, err := bind(path, mode)
	if err != nil {
		return nil, err
	}
	f := &socketFile{l: l, path: path, absolute: absolute}
	if err := f.putInPlace(temporary, mode); err != nil {
		_ = l.Close()
		_ = os.Remove(temporary)
		return nil, err
	}
	return f, nil
}

// name returns the last element of a path, "" after a separator.
func name(path string) string {
	_, file := filepath.Split(path)
	return file
}

// checkPlace returns why a socket cannot be put at the path.
func checkPlace(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something else than a socket (%v)", info.Mode())
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("a server answers there: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil // stale, or removed just now
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("a server listens there, which has no time to answer: %w", syscall.EADDRINUSE)
	}
	return fmt.Errorf("cannot tell whether a server answers there: %w", err)
}

const probeTimeout = time.Second

// bind listens at a random name in the folder of the path. The name is no
// longer than that of the path or a few bytes, so that it fits too.
func bind(path string, mode fs.FileMode) (l *net.UnixListener, temporary string, err error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return presetMode(c, mode) }}
	folder := path[:len(path)-len(name(path))]
	size := min(temporaryName, maxPath-len(folder))
	for range temporaryTries {
		temporary = folder + randomName(size)
		var found net.Listener
		if found, err = config.Listen(context.Background(), "unix", temporary); err == nil {
			l = found.(*net.UnixListener)
			l.SetUnlinkOnClose(false)
			return l, temporary, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, "", err
}

const (
	temporaryName  = 12 // bytes
	temporaryTries = 100
)

func randomName(size int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

// socketFile listens on a socket whose file is its own.
type socketFile struct {
	l              *net.UnixListener
	path, absolute string
	info           fs.FileInfo // of the file
	closing        sync.Once
	err            error // of Close
}

// putInPlace gives the socket its mode and its name.
func (f *socketFile) putInPlace(temporary string, mode fs.FileMode) (err error) {
	if err = os.Chmod(temporary, mode); err != nil {
		return err
	}
	if f.info, err = os.Lstat(temporary); err != nil {
		return err
	}
	return os.Rename(temporary, f.path)
}

// Accept waits for a client.
func (f *socketFile) Accept() (net.Conn, error) { return f.l.Accept() }

// Addr returns the address that clients use.
func (f *socketFile) Addr() net.Addr { return &net.UnixAddr{Name: f.path, Net: "unix"} }

// Close removes the file, if it is still that of the socket, and stops
// listening.
func (f *socketFile) Close() error {
	f.closing.Do(func() {
		unlock := lockFolder(filepath.Dir(f.absolute))
		// As long as the socket is open no other file has its inode.
		if info, err := os.Lstat(f.absolute); err == nil && os.SameFile(info, f.info) {
			f.err = os.Remove(f.absolute)
		}
		unlock()
		f.err = errors.Join(f.err, f.l.Close())
	})
	return f.err
}
