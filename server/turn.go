package server

import (
	"context"
	"sync"
)

// turn is a lock for which one waits only as long as a context lasts. A value
// that calls the ResponseWriter by which it is being written would else wait for
// itself for ever.
type turn struct {
	mu    sync.Mutex
	taken bool
	free  chan struct{} // closed when the turn is given back; nil if nobody waits
}

// take waits for the turn. The error is the cause of the context.
func (t *turn) take(ctx context.Context) error {
	t.mu.Lock()
	for t.taken {
		if t.free == nil {
			t.free = make(chan struct{})
		}
		free := t.free
		t.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		t.mu.Lock()
	}
	t.taken = true
	t.mu.Unlock()
	return nil
}

func (t *turn) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken = false
	if t.free != nil {
		close(t.free)
		t.free = nil
	}
}
