//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package server

import (
	"os"
	"syscall"
	"time"
)

// lockFolder keeps other servers from changing sockets in a folder. Of several
// servers that find a stale socket one replaces it, and the others find that one.
// Anybody who can read the folder can hold the lock, so this gives up after a
// while; then two servers that start at the same moment may both believe to have
// the path.
func lockFolder(folder *os.Root) (unlock func()) {
	f, err := folder.Open(".")
	if err != nil {
		return func() {}
	}
	for begin := time.Now(); time.Since(begin) < lockTimeout; time.Sleep(time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			break
		}
	}
	return func() { _ = f.Close() } // which unlocks it
}

// lockTimeout bounds the wait for the lock of a folder.
const lockTimeout = time.Second
