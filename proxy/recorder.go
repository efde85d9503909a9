package proxy

import (
	"sync"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// Recorder writes what passes as a capture, which "dirty decode" prints. Its Tap is
// a tap for a [Proxy] with Payloads set. Frames are written whole, in the order in
// which they were complete; those that the tap missed are left out. It may be used
// concurrently.
type Recorder struct {
	w *capture.Writer

	mu     sync.Mutex
	err    error
	missed uint64
}

// NewRecorder returns a Recorder that writes to w.
func NewRecorder(w *capture.Writer) *Recorder { return &Recorder{w: w} }

// Tap records an event.
func (r *Recorder) Tap(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missed += e.Missed
	if r.err != nil {
		return
	}
	switch e.Kind {
	case Frame:
		if e.Payload == nil {
			r.missed++
			return
		}
		frame, err := dirty.Frame{Header: e.Header, Payload: e.Payload}.MarshalBinary()
		if err == nil {
			err = r.w.Write(e.Direction, e.Conn, frame)
		}
		r.err = err
	case Bytes:
		if e.Payload == nil {
			r.missed++
			return
		}
		r.err = r.w.Write(e.Direction, e.Conn, e.Payload)
	case Opened, Closed: // a capture has no word for them
	}
}

// Missed returns how many events are not in the capture.
func (r *Recorder) Missed() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// Err returns why writing has failed. After that nothing is recorded.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
