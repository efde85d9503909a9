//go:build unix

package dirtytest

import (
	"errors"
	"net"
	"syscall"
)

// fill makes the backlog of a socket as small as possible, and dials until it is
// full. The first connection is still accepted; it holds up the loop that accepts.
func (b *backlog) fill(l *net.UnixListener, path string) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var listenErr error
	if err := raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	for err = listenErr; err == nil; {
		var c net.Conn
		if c, err = net.Dial("unix", path); err == nil {
			b.conns = append(b.conns, c)
			<-b.waits
		}
	}
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	return err
}
