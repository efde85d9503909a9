package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// SystemdNotify tells systemd of a change of this service, as sd_notify does. Each
// assignment is one such as READY=1 or STATUS=waiting. They are sent together. MAINPID
// is for the server to tell, see [Server.TakeOver].
//
// The address is that of the variable NOTIFY_SOCKET, which systemd sets for a service
// of Type=notify. Without it SystemdNotify does nothing and returns nil, so that the
// program runs elsewhere too. The variable stays as it is: a process that this one
// starts needs it. SystemdNotify may be called concurrently, and waits a second at
// most.
func SystemdNotify(assignments ...string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	if err := notifySystemd(address, assignments); err != nil {
		return fmt.Errorf("dirty: systemd: NOTIFY_SOCKET=%q: %w", address, err)
	}
	return nil
}

// notifyTimeout bounds the wait for a systemd that does not read.
const notifyTimeout = time.Second

func notifySystemd(address string, assignments []string) error {
	if !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "@") {
		return errors.New("not the address of a Unix socket")
	}
	for _, a := range assignments {
		if name, _, ok := strings.Cut(a, "="); !ok || name == "" || strings.Contains(a, "\n") {
			return fmt.Errorf("%q is not one assignment", a)
		}
	}
	c, err := dialSystemd(address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// dialSystemd returns a connection for one message.
func dialSystemd(address string) (*net.UnixConn, error) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := c.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}
