//go:build unix

package server

import (
	"io/fs"
	"syscall"
)

// maxPath is how long the path of a socket may be in bytes; one is for the NUL.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// presetMode makes a socket's file come into being with a mode, where the
// system can do that (Linux): else it has another one for a moment.
func presetMode(c syscall.RawConn, mode fs.FileMode) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
}
