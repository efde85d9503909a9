//go:build !unix

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
)

// maxPath is how long the path of a socket may be in bytes.
const maxPath = 107

// groupID refuses all groups: there is no way to set one here.
func groupID(group string) (int, error) {
	if group == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("Server.Group on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// bind makes the socket in its place. Sockets have no mode and no group here.
func (f *socketFile) bind(fs.FileMode, int) error {
	if err := f.folder.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix(f.network, &net.UnixAddr{Name: f.path, Net: f.network})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if f.info, err = f.folder.Lstat(f.name); err != nil {
		_ = l.Close()
		return err
	}
	f.l = l
	return nil
}
