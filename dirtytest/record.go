package dirtytest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gunicorn-go/dirty"
)

// Request is a message that came from a client. It must not be changed: others
// share its memory.
type Request struct {
	dirty.Frame               // as it came
	Message     dirty.Message // decoded, such as *dirty.Request; nil if Err is set
	Err         error         // why it could not be decoded
	Conn        int           // number of the connection that it came on, from 1
}

// App returns the app path of a call or a stream, and "" for other requests.
func (r Request) App() string {
	if m, ok := r.Message.(*dirty.Request); ok {
		return m.AppPath
	}
	return ""
}

// Action returns the action of a call or a stream, and "" for other requests.
func (r Request) Action() string {
	if m, ok := r.Message.(*dirty.Request); ok {
		return m.Action
	}
	return ""
}

// String returns what the request is, without arguments and values: such as
// "app:Model.predict", "stash put \"users\"" or "status".
func (r Request) String() string {
	switch m := r.Message.(type) {
	case *dirty.Request:
		return m.AppPath + "." + m.Action
	case *dirty.StashRequest:
		return fmt.Sprintf("stash %v %q", m.Op, m.Table)
	case *dirty.ManageRequest:
		return fmt.Sprintf("manage %v", m.Op)
	}
	return r.Type.String()
}

const (
	// maxRecorded and maxRecordedBytes bound what a recorder keeps: requests, and
	// the bytes of their payloads.
	maxRecorded      = 100_000
	maxRecordedBytes = 256 << 20
)

// recorder keeps the requests that came, up to a bound.
type recorder struct {
	mu       sync.Mutex
	requests []Request     // the latest ones
	bytes    int           // of their payloads
	dropped  int           // older ones
	more     chan struct{} // closed when a request comes
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{})} }

func (r *recorder) add(request Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request)
	r.bytes += len(request.Payload)
	for len(r.requests) > maxRecorded || r.bytes > maxRecordedBytes {
		r.bytes -= len(r.requests[0].Payload)
		r.requests[0] = Request{} // frees its memory
		r.requests = r.requests[1:]
		r.dropped++
	}
	close(r.more)
	r.more = make(chan struct{})
}

// forget drops all requests, and does not count them as dropped.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.bytes, r.dropped = nil, 0, 0
}

// all returns the requests so far, how many older ones were dropped, and a channel
// that is closed when the next one comes.
func (r *recorder) all() (requests []Request, dropped int, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests), r.dropped, r.more
}

// wait returns what all does, once n requests have come.
func (r *recorder) wait(ctx context.Context, n int) ([]Request, int, error) {
	for {
		requests, dropped, more := r.all()
		if len(requests)+dropped >= n {
			return requests, dropped, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return requests, dropped, ctx.Err()
		}
	}
}
