package server

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
)

// queue lets a number of requests be handled at one time, and the others wait
// in the order in which they came. The nil queue has no bound.
type queue struct {
	length *atomic.Int64 // how many wait

	mu      sync.Mutex
	free    int       // places; if there are any, nobody waits
	waiting list.List // of chan struct{}, closed when a place is given
	closed  bool      // nobody is let in any more
}

func newQueue(places int, length *atomic.Int64) *queue {
	if places <= 0 {
		return nil
	}
	return &queue{free: places, length: length}
}

// enter takes a place, for which it waits at most until the context ends.
func (q *queue) enter(ctx context.Context) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	if q.free > 0 && !q.closed {
		q.free--
		q.mu.Unlock()
		return nil
	}
	given := make(chan struct{})
	position := q.waiting.PushBack(given)
	q.length.Add(1)
	q.mu.Unlock()
	select {
	case <-given:
		if ctx.Err() == nil {
			return nil
		}
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-given: // too late
		q.give()
	default:
		q.waiting.Remove(position)
		q.length.Add(-1)
	}
	return context.Cause(ctx)
}

// leave gives a place back.
func (q *queue) leave() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.give()
}

// give gives a place to who waits longest. The lock is held.
func (q *queue) give() {
	front := q.waiting.Front()
	if front == nil || q.closed {
		q.free++
		return
	}
	q.length.Add(-1)
	close(q.waiting.Remove(front).(chan struct{}))
}

// close leaves those who wait to their contexts, which are about to end: the
// places that become free because others' have ended are for nobody.
func (q *queue) close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
