package server

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/gunicorn-go/dirty"
)

// sendBuffer is the size of the system's send buffer, in bytes, of a connection on
// which large replies are written.
const sendBuffer = 1 << 20

// output writes frames to a connection, each within the timeout. It must not
// be used concurrently.
type output struct {
	nc      net.Conn
	writer  *dirty.Writer
	timeout time.Duration // 0: none
	until   time.Time     // the connection's deadline for writing
	err     error         // of the connection, which is then of no more use
}

// write writes a message. If [dirty.NothingWritten] says so of the error, the
// connection can be used on. After any other error it cannot.
func (o *output) write(m dirty.Message) error {
	o.setDeadline()
	return o.check(o.writer.WriteMessage(m))
}

// writeFrame is write for a frame.
func (o *output) writeFrame(f dirty.Frame) error {
	o.setDeadline()
	return o.check(o.writer.WriteFrame(f))
}

// check returns the error of the writer, and notes it if it is the end of the
// connection.
func (o *output) check(err error) error {
	if err == nil || dirty.NothingWritten(err) {
		return err
	}
	return o.fail(err)
}

// writeBytes writes frames that are encoded already. After an error the connection
// cannot be used.
func (o *output) writeBytes(b []byte) error {
	o.setDeadline()
	n, err := o.nc.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return o.fail(err)
	}
	return nil
}

// fail notes why the connection is of no more use.
func (o *output) fail(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		err = chain{ErrClientGone, err}
	}
	o.err = err
	return err
}

// writeError writes an error. If that cannot be encoded or is too large, it
// writes one that says so. It returns the class of the error that it wrote.
func (o *output) writeError(m *dirty.ErrorReply) (class string, err error) {
	err = o.write(m)
	if dirty.NothingWritten(err) {
		m = dirty.NewErrorReply(m.ID, &dirty.RemoteError{
			Type: m.Err.Type, Message: "the error cannot be sent: " + unprefixed(err),
		})
		err = o.write(m)
	}
	if dirty.NothingWritten(err) { // the type is at fault
		m = dirty.NewErrorReply(m.ID, errors.New("the error cannot be sent"))
		err = o.write(m)
	}
	return cmp.Or(m.Err.Type, dirty.ClassError), err
}

// setDeadline makes sure that the next frame has at least the timeout to be
// written, and at most a quarter more. A deadline that is in this range stays as it
// is, because setting one costs more than writing a small frame.
func (o *output) setDeadline() {
	if o.timeout == 0 {
		return
	}
	now := time.Now()
	if o.until.Sub(now) < o.timeout {
		o.until = now.Add(o.timeout + o.timeout/4)
		_ = o.nc.SetWriteDeadline(o.until) // fails only on a closed connection, as the write will
	}
}
