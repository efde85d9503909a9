package server

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
)

// queue bounds how many requests are handled at one time. The others wait in the
// order in which they came. The nil queue has no bound.
type queue struct {
	length *atomic.Int64 // how many wait

	mu      sync.Mutex
	free    int       // places; if there are any, nobody waits
	waiting list.List // of chan struct{}, closed when a place is given
	closed  bool      // places that become free are given to nobody
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

// give gives a place to the request that waits longest. The lock is held.
func (q *queue) give() {
	front := q.waiting.Front()
	if front == nil || q.closed {
		q.free++
		return
	}
	q.length.Add(-1)
	close(q.waiting.Remove(front).(chan struct{}))
}

// close ends the giving of places. The contexts of all requests are about to end.
// Those that wait must not run because others have ended a moment earlier.
func (q *queue) close() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
