package proxy

import (
	"errors"
	"io"
	"sync"

	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// bufferSize is how many bytes are forwarded at a time.
const bufferSize = 64 << 10

// buffers are shared by connections, so that idle ones hold only the one that
// they wait with.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// forwardBoth forwards both directions. A client may end its direction and read on,
// which is passed on. An arbiter never does so: when it ends, it has closed the
// connection, and so is the client's. So do errors.
func (p *Proxy) forwardBoth(client, arbiter *conn, t *trace) error {
	results := make(chan error, 2)
	for _, f := range []func() error{
		func() error { return forward(arbiter, client, t.direction(capture.ToArbiter)) },
		func() error { return forward(client, arbiter, t.direction(capture.FromArbiter)) },
	} {
		go func() { results <- usercode.Call(p.code, hookConn, f) }()
	}
	err := <-results
	if err != nil {
		go client.Close() // it may take its time
		go arbiter.Close()
		<-results
		return err
	}
	return <-results
}

// maxEmptyReads is how often in a row a connection may read nothing without an
// error.
const maxEmptyReads = 100

// forward forwards one direction to its end, and passes the end on. The bytes are
// observed before they are written, or an answer could be seen before its request.
func forward(dst, src *conn, d *direction) error {
	defer d.end()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for empty := 0; ; {
		n, err := src.Read(*buf)
		if n > 0 {
			empty = 0
			d.observe((*buf)[:n])
			if _, writeErr := dst.Write((*buf)[:n]); writeErr != nil {
				return writeErr
			}
		}
		switch {
		case err == nil && n > 0:
		case err == nil:
			if empty++; empty == maxEmptyReads {
				return io.ErrNoProgress
			}
		case !errors.Is(err, io.EOF):
			return err
		case d.which == capture.FromArbiter || errors.Is(dst.CloseWrite(), errors.ErrUnsupported):
			return io.EOF
		default: // CloseWrite fails if the arbiter has closed, which the other direction sees
			return nil
		}
	}
}
