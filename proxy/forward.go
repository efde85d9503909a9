package proxy

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/gunicorn-go/dirty/capture"
)

// bufferSize is how many bytes are forwarded at a time.
const bufferSize = 64 << 10

// buffers are shared by connections, so that idle ones hold only the one that
// they wait with.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// forwardBoth forwards both directions. A client may end its direction and read on,
// which is passed on. An arbiter never does so: when it ends, it has closed the
// connection, and so is the client's. So do errors.
func forwardBoth(client, arbiter net.Conn, t *trace) error {
	results := make(chan error, 2)
	go func() { results <- forward(arbiter, client, t.direction(capture.ToArbiter)) }()
	go func() { results <- forward(client, arbiter, t.direction(capture.FromArbiter)) }()
	err := <-results
	if err != nil {
		_ = client.Close()
		_ = arbiter.Close()
		<-results
		return err
	}
	return <-results
}

// forward forwards one direction to its end, and passes the end on. The bytes are
// observed before they are written, or an answer could be seen before its request.
func forward(dst, src net.Conn, d *direction) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			d.observe((*buf)[:n])
			if _, writeErr := dst.Write((*buf)[:n]); writeErr != nil {
				return writeErr
			}
		}
		if err == nil {
			continue
		}
		d.end()
		if !errors.Is(err, io.EOF) {
			return err
		}
		half, ok := dst.(interface{ CloseWrite() error })
		if !ok || d.which == capture.FromArbiter {
			return io.EOF
		}
		_ = half.CloseWrite() // fails if the arbiter has closed, which the other direction sees
		return nil
	}
}
