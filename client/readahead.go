package client

import (
	"net"
	"sync"

	"github.com/gunicorn-go/dirty"
)

// readAhead is a queue of frames between the goroutine that reads them and the
// caller that takes them. Frames are added until the limit is reached, so it
// holds at most one frame more than that.
type readAhead struct {
	limit int
	added chan struct{} // has a token if something was added
	taken chan struct{} // has a token if something was taken
	over  chan struct{} // closed by close

	mu     sync.Mutex
	frames []dirty.Frame
	size   int   // what they cost, in bytes
	err    error // comes after the frames
}

func newReadAhead(limit int) *readAhead {
	return &readAhead{
		limit: limit,
		added: make(chan struct{}, 1), taken: make(chan struct{}, 1), over: make(chan struct{}),
	}
}

// readAhead reads frames into the queue until the last one, or an error.
func (s *Stream) readAhead() {
	q := s.ahead
	for {
		f, err := s.turn.readWithin(true)
		q.add(f, err)
		if err != nil || f.Type != dirty.TypeChunk {
			return
		}
		for q.full() {
			select {
			case <-q.taken:
			case <-q.over:
				return
			}
		}
	}
}

// cost is what a frame counts in the queue, in bytes. It is never 0: empty
// payloads must fill the queue too.
func cost(f dirty.Frame) int { return len(f.Payload) + frameCost }

// frameCost is about the memory in bytes that a frame takes besides its payload.
const frameCost = 64

func (q *readAhead) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size >= q.limit
}

func (q *readAhead) add(f dirty.Frame, err error) {
	q.mu.Lock()
	if err != nil {
		q.err = err
	} else {
		q.frames = append(q.frames, f)
		q.size += cost(f)
	}
	q.mu.Unlock()
	signal(q.added)
}

// take waits for the next frame.
func (q *readAhead) take() (dirty.Frame, error) {
	for {
		q.mu.Lock()
		if len(q.frames) > 0 {
			f := q.frames[0]
			q.frames[0] = dirty.Frame{} // for the collector
			q.frames = q.frames[1:]
			q.size -= cost(f)
			q.mu.Unlock()
			signal(q.taken)
			return f, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			return dirty.Frame{}, err
		}
		select {
		case <-q.added:
		case <-q.over:
			return dirty.Frame{}, net.ErrClosed
		}
	}
}

// close ends the waits of both sides.
func (q *readAhead) close() { close(q.over) }

// signal leaves a token in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
