package cluster

import (
	"container/list"
	"context"
	"fmt"
	"time"
)

// queue holds the calls that wait for a free slot, in the order in which they came,
// for each app. The lock of the front is held when its methods are called, but for
// await.
type queue struct {
	length int
	apps   map[string]*list.List // of *waiter; no list is empty
}

// waiter is a call that waits.
type waiter struct {
	app      string
	served   chan struct{} // closed when to or err is set
	to       *link
	err      error
	position *list.Element
}

// push adds a call. One that was refused, and so has waited before, comes first.
func (q *queue) push(app string, first bool) *waiter {
	if q.apps == nil {
		q.apps = map[string]*list.List{}
	}
	waiting := q.apps[app]
	if waiting == nil {
		waiting = list.New()
		q.apps[app] = waiting
	}
	w := &waiter{app: app, served: make(chan struct{})}
	if first {
		w.position = waiting.PushFront(w)
	} else {
		w.position = waiting.PushBack(w)
	}
	q.length++
	return w
}

// next returns the call of an app that waits longest, or nil.
func (q *queue) next(app string) *waiter {
	waiting := q.apps[app]
	if waiting == nil {
		return nil
	}
	return waiting.Front().Value.(*waiter)
}

// waiting returns how many calls of an app wait.
func (q *queue) waiting(app string) int {
	if waiting := q.apps[app]; waiting != nil {
		return waiting.Len()
	}
	return 0
}

// serve ends the wait of a call: it has a slot, or an error.
func (q *queue) serve(w *waiter, to *link, err error) {
	q.remove(w)
	w.to, w.err = to, err
	close(w.served)
}

// remove takes a call out that was not served.
func (q *queue) remove(w *waiter) {
	waiting := q.apps[w.app]
	waiting.Remove(w.position)
	if waiting.Len() == 0 {
		delete(q.apps, w.app)
	}
	q.length--
}

// isServed reports whether the wait of a call has ended.
func (w *waiter) isServed() bool {
	select {
	case <-w.served:
		return true
	default:
		return false
	}
}

// await waits until the call is served, until ctx ends, or until it has waited as long
// as it may.
func (w *waiter) await(ctx context.Context, until time.Time, longest time.Duration) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-w.served:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return tooLong(w.app, longest)
	}
}

// tooLong is the error of a call that has waited as long as it may.
func tooLong(app string, longest time.Duration) error {
	return refused(app, fmt.Sprintf("no worker became free within %v", longest))
}
