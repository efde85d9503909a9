package server

import (
	"errors"
	"net"
	"syscall"
)

// canSeeHangUp says that hasHungUp tells a closed socket from one that is closed
// for writing only.
const canSeeHangUp = true

// hasHungUp reports whether the other end of a Unix socket was closed. It sends a
// message of no bytes: the other end gets nothing, but the system refuses it if
// there is no other end.
func hasHungUp(c syscall.RawConn) bool {
	gone := false
	err := c.Control(func(fd uintptr) {
		_, err := syscall.SendmsgN(int(fd), nil, nil, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
		gone = errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
	})
	return gone || err != nil
}

func peerCred(c *net.UnixConn) (cred Cred, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return cred, false
	}
	err = raw.Control(func(fd uintptr) {
		if u, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			cred, ok = Cred{PID: int(u.Pid), UID: int(u.Uid), GID: int(u.Gid)}, true
		}
	})
	return cred, ok && err == nil
}
