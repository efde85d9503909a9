package server

import (
	"net"
	"syscall"
	"time"
)

// input is what a connection's Reader reads from. It bounds the time for a frame
// once its first bytes have come. Before that a connection may be idle for ever.
// For a frame that comes in one piece no deadline is set.
type input struct {
	nc      net.Conn
	raw     syscall.RawConn // nil if nc is no socket
	timeout time.Duration   // 0: none
	begun   bool            // bytes of the frame have come
	bound   bool            // the connection has a deadline for reading
	until   time.Time       // that deadline
}

// Read reads from the connection.
func (in *input) Read(p []byte) (int, error) {
	if in.begun && !in.bound && in.timeout > 0 {
		in.bound, in.until = true, time.Now().Add(in.timeout)
		_ = in.nc.SetReadDeadline(in.until) // fails only on a closed connection, as the next line will
	}
	n, err := in.nc.Read(p)
	in.begun = in.begun || n > 0
	return n, err
}

// RawRead tells the Reader how to wait for a frame without memory for it.
func (in *input) RawRead() func(read func(fd uintptr) (done bool)) error {
	if in.raw == nil {
		return nil
	}
	return func(read func(fd uintptr) bool) error {
		err := in.raw.Read(read)
		in.begun = in.begun || err == nil
		return err
	}
}

// nextFrame begins the next frame. buffered says whether bytes of it have come
// with the one before.
func (in *input) nextFrame(buffered bool) {
	in.begun = buffered
	if in.bound {
		in.bound = false
		_ = in.nc.SetReadDeadline(time.Time{})
	}
}

// isLate reports whether the time for the frame has passed.
func (in *input) isLate() bool { return in.bound && !time.Now().Before(in.until) }

// putBack takes back the deadline with which conn.wake has ended a Read. The
// frame's own begins anew.
func (in *input) putBack() {
	in.bound = false
	_ = in.nc.SetReadDeadline(time.Time{})
}
