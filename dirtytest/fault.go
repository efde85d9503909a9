package dirtytest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Fault is something that goes wrong with the answer to a request. Several
// faults of one [Server.Fault] are applied in order.
type Fault struct {
	// request is called when the request has come, before it is handled.
	request func(x *exchange) verdict
	// reply is called with each frame of the answer, whole, and returns what is
	// sent in its place.
	reply func(x *exchange, frame []byte) ([]byte, verdict)
}

// verdict is what becomes of a connection after a step.
type verdict int

const (
	goOn   verdict = iota
	answer         // the request was answered by the fault
	hang           // nothing more is sent; the connection stays open
	hangUp         // the connection is closed, after what is to be sent
)

// exchange is a request and what was sent for it so far.
type exchange struct {
	ctx     context.Context // ends with the connection
	server  *Server
	send    func([]byte) error
	request Request
	sent    int // bytes of the answer
	frames  int // of the answer, before the present one
}

// pause waits, unless the connection ends.
func (x *exchange) pause(d time.Duration) verdict {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return goOn
	case <-x.ctx.Done():
		return hangUp
	}
}

// Delay waits before the request is handled.
func Delay(d time.Duration) Fault {
	return Fault{request: func(x *exchange) verdict { return x.pause(d) }}
}

// Hang handles nothing and answers nothing. The connection stays open until the
// client leaves: a request that gunicorn has lost.
func Hang() Fault { return Fault{request: func(*exchange) verdict { return hang }} }

// CloseBefore closes the connection before the request is handled.
func CloseBefore() Fault { return Fault{request: func(*exchange) verdict { return hangUp }} }

// CloseAfter closes the connection after n bytes of the answer; with 0, when the
// request was handled. If the answer is shorter it is closed behind it.
func CloseAfter(n int) Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		if left := n - x.sent; left < len(frame) {
			return frame[:max(left, 0)], hangUp
		}
		if isFinal(frame) {
			return frame, hangUp
		}
		return frame, goOn
	}}
}

// Reply answers with an error in gunicorn's terms, as [dirty.NewErrorReply] makes
// it of err. The request is not handled.
func Reply(err error) Fault {
	return Fault{request: func(x *exchange) verdict {
		frame, encodeErr := dirty.AppendMessage(nil, dirty.NewErrorReply(x.request.RequestID, err))
		if encodeErr != nil || x.send(frame) != nil {
			return hangUp
		}
		return answer
	}}
}

// Garbage sends bytes that are no frame in place of the answer's first frame.
func Garbage() Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		for i := range frame {
			frame[i] = byte(0xa5 + 7*i)
		}
		return frame, goOn
	})
}

// WrongID sends the answer with the id of another request.
func WrongID() Fault {
	return Fault{reply: func(_ *exchange, frame []byte) ([]byte, verdict) {
		id := binary.BigEndian.Uint64(frame[8:])
		binary.BigEndian.PutUint64(frame[8:], id^0x5555_5555_5555_5555)
		return frame, goOn
	}}
}

// StaleReply sends the last answer to somebody else, with its id, in place of this
// one, and keeps this one for the next: what gunicorn up to 26.0 does after a timeout.
// If there was no other answer yet, nothing is sent.
func StaleReply() Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		stale := x.server.swapLast(frame)
		if stale == nil {
			return nil, hang
		}
		return stale, goOn
	}}
}

// Truncate sends the answer's first frame without its last n bytes, and closes the
// connection.
func Truncate(n int) Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		return frame[:max(len(frame)-n, 0)], hangUp
	})
}

// OversizeHeader sends a header that announces one byte more than the protocol
// allows, in place of the answer.
func OversizeHeader() Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		binary.BigEndian.PutUint32(frame[4:], dirty.MaxPayloadSize+1)
		return frame[:dirty.HeaderSize], hang
	})
}

// NoEnd sends a stream without its END, and then nothing more.
func NoEnd() Fault {
	return Fault{reply: func(_ *exchange, frame []byte) ([]byte, verdict) {
		if typeOf(frame) == dirty.TypeEnd {
			return nil, hang
		}
		return frame, goOn
	}}
}

// SlowChunks waits before each frame of a stream.
func SlowChunks(d time.Duration) Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		if t := typeOf(frame); t != dirty.TypeChunk && t != dirty.TypeEnd {
			return frame, goOn
		}
		return frame, x.pause(d)
	}}
}

// BadUTF8 sends, in place of the answer's first frame, one whose text is no UTF-8.
func BadUTF8() Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		const payload = "\x21\x00\x00\x00\x01\x11\x00\x00\x00\x06result\x11\x00\x00\x00\x02\xff\xfe"
		frame = append(frame[:dirty.HeaderSize], payload...)
		binary.BigEndian.PutUint32(frame[4:], uint32(len(payload)))
		return frame, goOn
	})
}

// first is a fault of the answer's first frame.
func first(reply func(x *exchange, frame []byte) ([]byte, verdict)) Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		if x.frames > 0 {
			return frame, goOn
		}
		return reply(x, frame)
	}}
}

func typeOf(frame []byte) dirty.MessageType { return dirty.MessageType(frame[3]) }

// isFinal reports whether no frame follows for the same request.
func isFinal(frame []byte) bool { return typeOf(frame) != dirty.TypeChunk }

// Rule is faults for the requests that a [Match] chooses, made by [Server.Fault].
// Its methods may be called concurrently.
type Rule struct {
	match  Match
	faults []Fault

	mu    sync.Mutex
	times int // that are left; negative: no bound
	prob  float64
	rng   *rand.Rand
	hits  int
}

// Times bounds how often the rule applies. It returns the rule.
func (r *Rule) Times(n int) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = n
	return r
}

// Prob makes the rule apply to a request with probability p, from 0 to 1. The same
// seed makes the same choices. It returns the rule.
func (r *Rule) Prob(p float64, seed uint64) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prob, r.rng = p, rand.New(rand.NewPCG(seed, seed))
	return r
}

// Hits returns how often the rule was applied so far.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// applies reports whether the rule is to be applied to a request.
func (r *Rule) applies(request Request) bool {
	if !r.match(request) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == 0 || r.rng != nil && r.rng.Float64() >= r.prob {
		return false
	}
	if r.times > 0 {
		r.times--
	}
	r.hits++
	return true
}
