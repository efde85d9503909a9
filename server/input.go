package server

import (
	"net"
	"time"
)

// input is what a connection's Reader reads from. It bounds the time for a
// frame once its first bytes have come; before that a connection may be idle
// for ever. A frame that comes in one piece costs no deadline.
type input struct {
	nc      net.Conn
	timeout time.Duration // 0: none
	begun   bool          // bytes of the frame have come
	bound   bool          // the connection has a deadline for reading
}

// Read reads from the connection.
func (in *input) Read(p []byte) (int, error) {
	if in.begun && !in.bound && in.timeout > 0 {
		in.bound = true
		_ = in.nc.SetReadDeadline(time.Now().Add(in.timeout)) // fails only on a closed connection, as the next line will
	}
	n, err := in.nc.Read(p)
	in.begun = in.begun || n > 0
	return n, err
}

// nextFrame begins the next frame, of which bytes may be buffered.
func (in *input) nextFrame(buffered bool) {
	in.begun = buffered
	if in.bound {
		in.bound = false
		_ = in.nc.SetReadDeadline(time.Time{})
	}
}
