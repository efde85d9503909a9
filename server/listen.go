package server

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Listen listens on a Unix socket at a path. Of the mode only the permissions
// count; 0 is [DefaultMode]. The umask takes nothing away from it, but must leave
// a user other than root all permissions of the owner. [Server.Listen] sets the
// group too. ListenAndServe does the same; with Listen a caller knows when
// clients can connect.
//
// The socket is made in a folder of mode 0700 beside its place, gets its mode
// and group there, and is then renamed. So nobody sees it with another mode, and
// it takes the place of an old one at once. No link that somebody else puts
// there is followed. The folder of the path must exist; that new folder is
// removed again. Tools such as ss show the name where the socket was made.
//
// What is at the path already decides:
//   - A socket that nobody accepts on is replaced.
//   - If a server listens there, the error matches [syscall.EADDRINUSE].
//   - Anything else, a link too, is left as it is, and is an error.
//
// Servers that start at the same time lock the folder, for at most a second.
// That needs flock: Linux, macOS and the BSDs have it. Elsewhere two of them can
// both believe to have the path.
//
// Closing the listener removes the socket's file if it is still the same file,
// even if the working directory or the folder's name has changed.
//
// A path has at most 107 bytes on Linux, 103 on macOS and the BSDs. There, and
// on a Linux without /proc, it must leave room for the new folder's name. On
// Windows there are no modes and groups: the mode is ignored, the socket is made
// in its place, and the permissions of its folder decide who can connect.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	return listen(path, mode, "")
}

// Listen listens at a path as the function [Listen] does, with the server's Mode
// and Group. Give the listener to Serve. With TakeOver it takes the server over
// that runs at the path, and returns when this one has begun to serve the clients
// of the other.
func (s *Server) Listen(path string) (net.Listener, error) {
	if s.TakeOver {
		return s.listenOrTakeOver(path)
	}
	return listen(path, s.Mode, s.Group)
}

// listen returns a listener, or an error that names the path.
func listen(path string, mode fs.FileMode, group string) (net.Listener, error) {
	f, err := listenAt(path, "unix", mode, group)
	if err != nil {
		return nil, fmt.Errorf("dirty: listen at %s: %w", path, err)
	}
	return f, nil
}

// listenAt listens on a socket of network "unix" or "unixpacket".
func listenAt(path, network string, mode fs.FileMode, group string) (*socketFile, error) {
	f, err := newSocketFile(path, network)
	if err != nil {
		return nil, err
	}
	if err := f.listen(cmp.Or(mode.Perm(), DefaultMode), group); err != nil {
		_ = f.folder.Close()
		return nil, err
	}
	return f, nil
}

// socketFile listens on a socket whose file is its own.
type socketFile struct {
	path    string   // as it was given
	network string   // "unix", or "unixpacket" for heirs
	folder  *os.Root // of the path; stays the same one if names change
	name    string   // in the folder

	l       *net.UnixListener
	info    fs.FileInfo // of the socket's file
	closing sync.Once
	err     error // of Close

	heirs *socketFile // listens at PATH.takeover; nil if nobody can take over
	keep  bool        // the file is not ours, and stays
	left  atomic.Bool // another process has the listener
}

func newSocketFile(path, network string) (*socketFile, error) {
	_, name := filepath.Split(path)
	switch {
	case filepath.Base(path) != name || strings.HasPrefix(path, "@"): // net takes @ for an abstract socket
		return nil, errors.New("not the path of a file; see Server.Serve for other listeners")
	case len(path) > maxPath:
		return nil, fmt.Errorf("the path has %d bytes, the socket of a path at most %d", len(path), maxPath)
	}
	folder, err := os.OpenRoot(filepath.Dir(path) + "/.") // else opening a named pipe would wait for its other end
	if err != nil {
		return nil, err
	}
	return &socketFile{path: path, network: network, folder: folder, name: name}, nil
}

func (f *socketFile) listen(mode fs.FileMode, group string) error {
	gid, err := groupID(group)
	if err != nil {
		return err
	}
	defer lockFolder(f.folder)()
	if err := f.checkPlace(); err != nil {
		return err
	}
	return f.bind(mode, gid)
}

// checkPlace returns why a socket cannot be put at the path.
func (f *socketFile) checkPlace() error {
	info, err := f.folder.Lstat(f.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something else than a socket (%v)", info.Mode())
	}
	c, err := f.probe()
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

// probeTimeout bounds the attempt to connect to a server that may be there.
const probeTimeout = time.Second

// errFolderChanged is for a folder in which somebody else moves our files.
var errFolderChanged = errors.New("somebody else changes the folder at the same time: " +
	"use one that only the server's user can write in")

// Accept waits for a client.
func (f *socketFile) Accept() (net.Conn, error) { return f.l.Accept() }

// Addr returns the address that clients use.
func (f *socketFile) Addr() net.Addr { return &net.UnixAddr{Name: f.path, Net: f.network} }

// Close removes the file, if it is still that of the socket, and stops
// listening.
func (f *socketFile) Close() error {
	f.closing.Do(func() {
		if f.heirs != nil {
			defer func() { f.err = errors.Join(f.err, f.heirs.Close()) }()
		}
		unlock := lockFolder(f.folder)
		// As long as the socket is open no other file has its inode.
		if info, err := f.folder.Lstat(f.name); err == nil && os.SameFile(info, f.info) && !f.keep {
			f.err = f.folder.Remove(f.name)
		}
		unlock()
		f.err = errors.Join(f.err, f.l.Close(), f.folder.Close())
	})
	return f.err
}

// leave stops listening, but leaves the file to the process that has the
// listener too.
func (f *socketFile) leave() {
	f.left.Store(true)
	f.closing.Do(func() { f.err = errors.Join(f.l.Close(), f.folder.Close()) })
	if f.heirs != nil {
		f.heirs.leave()
	}
}
