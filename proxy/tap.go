package proxy

import "sync"

const (
	// maxEvents is how many events wait for the tap at most.
	maxEvents = 16 << 10
)

// tapQueue is the events that wait for the tap. Putting one in never waits.
type tapQueue struct {
	max  int64         // bytes of payloads
	told chan struct{} // closed when it is closed and the tap was told of all

	mu      sync.Mutex
	wake    sync.Cond // of mu
	events  []Event
	pending int64 // bytes of payloads, those that are still being collected included
	missed  uint64
	closed  bool
}

func newTapQueue(maxPending int64) *tapQueue {
	if maxPending <= 0 {
		maxPending = DefaultMaxPending
	}
	q := &tapQueue{max: maxPending, told: make(chan struct{})}
	q.wake.L = &q.mu
	return q
}

// reserve makes room for n bytes of a payload. If there is none it reports false.
func (q *tapQueue) reserve(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending+int64(n) > q.max {
		return false
	}
	q.pending += int64(n)
	return true
}

// release gives room back.
func (q *tapQueue) release(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending -= int64(n)
}

// put adds an event, or counts it as missed. For its payload there is room.
func (q *tapQueue) put(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) >= maxEvents || q.closed {
		q.missed++
		q.pending -= int64(len(e.Payload))
		return
	}
	e.Missed, q.missed = q.missed, 0
	q.events = append(q.events, e)
	q.wake.Signal()
}

func (q *tapQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Signal()
}

// run tells the tap of each event until the queue is closed and empty.
func (q *tapQueue) run(tap func(Event)) {
	done := false
	var events []Event // that were taken
	defer func() {
		if done {
			close(q.told)
			return
		}
		// The tap has ended this goroutine.
		for _, e := range events {
			q.release(len(e.Payload))
		}
		q.mu.Lock()
		q.missed += uint64(len(events))
		q.mu.Unlock()
		go q.run(tap)
	}()
	for {
		q.mu.Lock()
		for len(q.events) == 0 && !q.closed {
			q.wake.Wait()
		}
		events, q.events = q.events, nil
		q.mu.Unlock()
		if len(events) == 0 {
			done = true
			return
		}
		for len(events) > 0 {
			e := events[0]
			events[0] = Event{}
			events = events[1:]
			q.release(len(e.Payload))
			tap(e)
		}
	}
}
