//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package server

import (
	"os"
	"syscall"
	"time"
)

// lockFolder keeps other servers from changing sockets in a folder, so that of
// several that find a stale socket one replaces it, and the others find that one.
// It gives up after a while, and where folders cannot be locked: then two servers
// that start at the same moment may both believe to have the path.
func lockFolder(folder string) (unlock func()) {
	f, err := os.Open(folder)
	if err != nil {
		return func() {}
	}
	for begin := time.Now(); time.Since(begin) < lockPatience; time.Sleep(time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			break
		}
	}
	return func() { _ = f.Close() } // and with it the lock goes
}

const lockPatience = time.Second
