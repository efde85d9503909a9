package client

import "syscall"

// peerPID returns the process id of who listens at the other end of a Unix
// socket (SO_PEERCRED): for an arbiter its own. It is 0 if it is not known, as
// for one in another pid namespace.
func peerPID(c syscall.RawConn) int {
	pid := 0
	_ = c.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
