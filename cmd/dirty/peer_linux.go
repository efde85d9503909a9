package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// readListeningSockets returns the paths of the Unix sockets on which somebody listens,
// as /proc/net/unix has them. They are hints: a path can hold anything.
func readListeningSockets() (paths []string) {
	const listening = "00010000"
	file, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path
		fields := strings.SplitN(strings.Join(strings.Fields(lines.Text()), " "), " ", 8)
		if len(fields) == 8 && fields[3] == listening && strings.HasPrefix(fields[7], "/") {
			paths = append(paths, fields[7])
		}
	}
	return paths
}

// peerOf returns the process and the user at the other end of a connection.
func peerOf(nc net.Conn) (pid, uid int, ok bool) {
	unix, isUnix := nc.(*net.UnixConn)
	if !isUnix {
		return 0, 0, false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var cred *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if controlErr != nil || err != nil {
		return 0, 0, false
	}
	return int(cred.Pid), int(cred.Uid), true
}

// dialOwn dials a socket, and refuses it if the process that listens there is not
// of this user.
func dialOwn(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if _, uid, ok := peerOf(nc); !ok || uid != os.Geteuid() {
		_ = nc.Close()
		return nil, fmt.Errorf("%s: another user listens there: name it with -s if you trust it", path)
	}
	return nc, nil
}
