//go:build unix

package client

import (
	"errors"
	"syscall"
)

// maxPath is how long the path of a socket may be in bytes; one is for the NUL.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// peeker returns a function for [syscall.RawConn.Control]. Without blocking it
// sets silent to whether the connection has nothing to read and is not at its
// end. An idle connection must be silent.
func peeker(silent *bool) func(fd uintptr) {
	b := make([]byte, 1) // not once for each call
	return func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		*silent = errors.Is(err, syscall.EAGAIN)
	}
}
