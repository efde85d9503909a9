package transport

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/gunicorn-go/dirty"
)

// rawMode is the floor: system calls that block, without Go's poller.
var rawMode = mode{modeRaw, "the floor: a blocking read and write, without Go's poller", openRaw}

type raw struct {
	bare
	file *os.File // keeps fd open
	fd   int
}

func openRaw(c *net.UnixConn, f dirty.Frame) (end, error) {
	file, err := c.File()
	if err != nil {
		return nil, err
	}
	b, err := newBare(c, f)
	if err != nil {
		return nil, err
	}
	r := &raw{*b, file, int(file.Fd())}
	return r, syscall.SetNonblock(r.fd, false)
}

func (r *raw) write() error { return all(syscall.Write, r.fd, r.buf) }
func (r *raw) read() error  { return all(syscall.Read, r.fd, r.buf) }

// Close closes the copy of the connection that is a file.
func (r *raw) Close() error { return r.file.Close() }

// all calls a system call until it has gone through all of b.
func all(call func(int, []byte) (int, error), fd int, b []byte) error {
	for len(b) > 0 {
		n, err := call(fd, b)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("blocking system call: %w", err)
		case n == 0:
			return io.EOF
		}
		b = b[n:]
	}
	return nil
}
