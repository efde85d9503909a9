package server

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/gunicorn-go/dirty"
)

// output writes frames to a connection, each within the timeout. It must not
// be used concurrently.
type output struct {
	nc      net.Conn
	writer  *dirty.Writer
	timeout time.Duration // 0: none
	until   time.Time     // the connection's deadline for writing
	err     error         // of the connection, which is then of no more use
}

// write writes a message. A [*dirty.MarshalError] means that nothing was
// written; any other error is one of the connection.
func (o *output) write(m dirty.Message) error {
	o.setDeadline()
	err := o.writer.WriteMessage(m)
	if err == nil || dirty.NothingWritten(err) {
		return err
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		err = chain{ErrClientGone, err}
	}
	o.err = err
	return err
}

// writeError is write for an error, which says so itself if it cannot be sent.
func (o *output) writeError(m *dirty.ErrorReply) error {
	err := o.write(m)
	if dirty.NothingWritten(err) {
		err = o.write(dirty.NewErrorReply(m.ID, &dirty.RemoteError{
			Type: m.Err.Type, Message: "the error cannot be sent: " + unprefixed(err),
		}))
	}
	if dirty.NothingWritten(err) { // the type is at fault
		err = o.write(dirty.NewErrorReply(m.ID, errors.New("the error cannot be sent")))
	}
	return err
}

// setDeadline makes sure that a frame has the timeout to be written. It leaves
// a deadline that is a little longer as it is: to set one for each frame costs
// more than small frames do.
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
