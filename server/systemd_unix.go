//go:build unix

package server

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// firstListenFD is where systemd's file descriptors begin (SD_LISTEN_FDS_START).
const firstListenFD = 3

// SystemdListeners returns the listeners that systemd has passed to this process
// (LISTEN_PID, LISTEN_FDS), in the order of its unit: give them to [Server.Serve].
// There are none if it was not started by a socket unit. Their files are systemd's,
// and are never removed. The variables are removed, so that no child takes the
// listeners for its own; a second call returns none.
func SystemdListeners() ([]net.Listener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxListenFDs {
		return nil, fmt.Errorf("dirty: systemd: LISTEN_FDS=%q is no number of listeners", count)
	}
	var listeners []net.Listener
	for fd := firstListenFD; fd < firstListenFD+n; fd++ {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "systemd's "+strconv.Itoa(fd))
		l, err := net.FileListener(f) // has a descriptor of its own
		_ = f.Close()
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, fmt.Errorf("dirty: systemd: file descriptor %d: %w", fd, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

const maxListenFDs = 1024
