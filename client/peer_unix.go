//go:build unix

package client

import (
	"errors"
	"syscall"
)

// maxPath is how long the path of a socket may be in bytes; one is for the NUL.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// peeker returns a function for [syscall.RawConn.Control] that notes whether a
// connection is neither at its end nor has anything to read, without blocking.
// An idle connection must be silent.
func peeker(silent *bool) func(fd uintptr) {
	b := make([]byte, 1) // not once for each call
	return func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		*silent = errors.Is(err, syscall.EAGAIN)
	}
}

// processIsDead reports whether there is no such process.
func processIsDead(pid int) bool {
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
