package dirty

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// This file is about memory alone. A Reader of a socket takes its window from a pool
// when bytes have come, and gives it back after the frame. So it holds none while it
// waits, and thousands of idle connections cost little. That takes no more system
// calls than to read into memory that is there already.

// rawReadFunc is the method Read of [syscall.RawConn]. It calls its argument until
// that returns true, and waits for bytes before each call but the first.
type rawReadFunc = func(read func(fd uintptr) (done bool)) error

// waiting is how a Reader waits for bytes without memory for them.
type waiting struct {
	rawRead rawReadFunc                  // nil: it cannot
	try     func(fd uintptr) (done bool) // tryRead, made once
	err     error                        // what try has met with
}

// findRawRead returns how to wait for bytes of a stream, or nil. Types other than
// sockets say so by a method RawRead: if they merely embedded a socket, their own
// Read would be left out.
func findRawRead(r io.Reader) rawReadFunc {
	if !canReadRaw {
		return nil
	}
	var c syscall.Conn
	switch r := r.(type) {
	case interface{ RawRead() rawReadFunc }:
		return r.RawRead()
	case *net.UnixConn:
		c = r
	case *net.TCPConn:
		c = r
	default:
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw.Read
}

// windows are of maxWindow bytes.
var windows = sync.Pool{New: func() any { return new([maxWindow]byte) }}

// waitForWindow waits until bytes have come, and reads them into a new window.
func (r *Reader) waitForWindow() error {
	if r.wait.try == nil {
		r.wait.try = r.tryRead
	}
	err := r.wait.rawRead(r.wait.try)
	if err == nil {
		return r.wait.err
	}
	if op, ok := err.(*net.OpError); ok {
		op.Op = "read" // not raw-read
	}
	return err
}

// tryRead reads what has come, if anything has. It reports whether it knows more now.
func (r *Reader) tryRead(fd uintptr) (done bool) {
	window := windows.Get().(*[maxWindow]byte)
	n, err := readDescriptor(fd, window[:])
	r.wait.err = err
	if n > 0 {
		r.window, r.begin, r.end = window[:], 0, n
		return true
	}
	windows.Put(window)
	if err == nil {
		r.wait.err = io.EOF
	}
	return err != syscall.EAGAIN
}

// releaseWindow gives back a window from the pool, if nothing is in it.
func (r *Reader) releaseWindow() {
	if r.wait.rawRead == nil || r.begin < r.end || r.window == nil {
		return
	}
	windows.Put((*[maxWindow]byte)(r.window))
	r.window, r.begin, r.end = nil, 0, 0
}
