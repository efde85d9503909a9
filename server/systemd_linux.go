package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// firstListenFD is where systemd's file descriptors begin (SD_LISTEN_FDS_START).
const firstListenFD = 3

// maxListenFDs bounds how many listeners systemd may pass.
const maxListenFDs = 1024

// systemdVariables are what systemd sets for the process that gets listeners.
var systemdVariables = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// SystemdListeners returns the listeners that systemd has passed to this process
// in LISTEN_PID and LISTEN_FDS, in the order of its unit: give them to
// [Server.Serve]. It returns none if the variables are not there or name another
// process, and always on systems other than Linux.
//
// The variables may be left over from another process with this one's id, as
// happens in containers. So all file descriptors are looked at before one is
// taken: each must be a listening stream socket that this process got when it was
// started. If one is not, or LISTEN_FDS is not a number from 0 to 1024, nothing
// is closed or changed, and the error says what was found.
//
// After success the variables are removed, so that no child takes the listeners
// for its own, and another call returns none. The sockets' files are systemd's
// and are never removed. Call it once, at the start of the program.
func SystemdListeners() ([]net.Listener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxListenFDs {
		return nil, fmt.Errorf("dirty: systemd: LISTEN_FDS=%q is no number from 0 to %d", count, maxListenFDs)
	}
	for fd := firstListenFD; fd < firstListenFD+n; fd++ {
		if err := checkListener(fd); err != nil {
			return nil, fmt.Errorf("dirty: systemd: file descriptor %d of LISTEN_FDS=%d: %w", fd, n, err)
		}
	}
	var listeners []net.Listener
	for fd := firstListenFD; fd < firstListenFD+n; fd++ {
		l, err := duplicateListener(fd)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, fmt.Errorf("dirty: systemd: file descriptor %d: %w", fd, err)
		}
		listeners = append(listeners, l)
	}
	for fd := firstListenFD; fd < firstListenFD+n; fd++ {
		_ = syscall.Close(fd) // the listeners have their own
	}
	for _, name := range systemdVariables {
		_ = os.Unsetenv(name)
	}
	return listeners, nil
}

// checkListener returns why a file descriptor is none that systemd has passed.
func checkListener(fd int) error {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	if errno != 0 {
		return errno
	}
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return fmt.Errorf("not a socket: %w", err)
	}
	listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	switch {
	case err != nil:
		return err
	case kind != syscall.SOCK_STREAM || listens == 0:
		return errors.New("not a stream socket that listens")
	case flags&syscall.FD_CLOEXEC != 0: // systemd's have outlived an exec; all that Go opens have this
		return errors.New("this process has opened it itself")
	}
	return nil
}

// duplicateListener returns a listener with a file descriptor of its own.
func duplicateListener(fd int) (net.Listener, error) {
	syscall.ForkLock.RLock()
	own, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(own)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "systemd's listener "+strconv.Itoa(fd))
	defer f.Close()
	return net.FileListener(f) // duplicates it again
}

// barrierTimeout bounds the wait for a systemd that does not read.
const barrierTimeout = 5 * time.Second

// awaitSystemd returns when systemd has read what this process has told it before, as
// sd_notify_barrier does: it sends a pipe, which systemd closes. Elsewhere it returns
// at once.
func awaitSystemd() error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	err = sendBarrier(address, theirs)
	_ = theirs.Close()
	if err != nil {
		return err
	}
	if err := ours.SetReadDeadline(time.Now().Add(barrierTimeout)); err != nil {
		return err
	}
	if _, err = ours.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("it has not read what it was told: %w", err)
	}
	return nil
}

func sendBarrier(address string, pipe *os.File) error {
	c, err := dialSystemd(address)
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.SyscallConn() // WriteMsgUnix refuses a connected socket of datagrams
	if err != nil {
		return err
	}
	rights := syscall.UnixRights(int(pipe.Fd()))
	written := raw.Write(func(fd uintptr) bool {
		err = syscall.Sendmsg(int(fd), []byte("BARRIER=1"), rights, nil, syscall.MSG_NOSIGNAL)
		return err != syscall.EAGAIN
	})
	return errors.Join(written, err)
}
