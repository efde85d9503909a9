//go:build unix

package dirty

import (
	"os"
	"syscall"
)

// canReadRaw says that readDescriptor works.
const canReadRaw = true

// readDescriptor reads from a descriptor, without waiting if it is that of a socket of
// package net. The error is EAGAIN if there is nothing to read.
func readDescriptor(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch err {
		case syscall.EINTR:
		case nil, syscall.EAGAIN:
			return n, err
		default:
			return n, os.NewSyscallError("read", err)
		}
	}
}
