package dirtytest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gunicorn-go/dirty"
)

// Request is a message that came from a client.
type Request struct {
	dirty.Frame               // as it came; it must not be changed
	Message     dirty.Message // decoded: *dirty.Request, *dirty.Stash, ...; nil if Err is set
	Err         error         // why it could not be decoded
	Conn        int           // number of the connection that it came on, from 1
}

// App returns the app path of an execute or stream request, or "".
func (r Request) App() string {
	if m, ok := r.Message.(*dirty.Request); ok {
		return m.AppPath
	}
	return ""
}

// Action returns the action of an execute or stream request, or "".
func (r Request) Action() string {
	if m, ok := r.Message.(*dirty.Request); ok {
		return m.Action
	}
	return ""
}

// String names the request, without arguments and values.
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

// recorder keeps what came.
type recorder struct {
	mu       sync.Mutex
	requests []Request
	more     chan struct{} // closed when there is more
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{})} }

func (r *recorder) add(request Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, request)
	close(r.more)
	r.more = make(chan struct{})
}

// all returns what has come so far, and a channel that is closed when there is
// more.
func (r *recorder) all() ([]Request, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests), r.more
}

// wait returns what has come when that are n or more.
func (r *recorder) wait(ctx context.Context, n int) ([]Request, error) {
	for {
		requests, more := r.all()
		if len(requests) >= n {
			return requests, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return requests, ctx.Err()
		}
	}
}
