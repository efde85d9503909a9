package dirtytest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Fault is something that goes wrong with a request or its answer, see
// [Server.Fault]. The functions of this package make faults; the zero value does
// nothing.
type Fault struct {
	// request is called before the request is handled.
	request func(x *exchange) verdict
	// reply is called with each whole frame of the answer and returns the bytes
	// that are sent in its place.
	reply func(x *exchange, frame []byte) ([]byte, verdict)
}

// verdict is what becomes of a connection after a step.
type verdict int

const (
	goOn   verdict = iota
	answer         // the fault has answered the request
	hang           // nothing more is sent, and the connection stays open
	hangUp         // the connection is closed once the bytes are sent
)

// exchange is a request and what was sent of its answer so far.
type exchange struct {
	ctx     context.Context // ends with the connection
	server  *Server
	send    func([]byte) error
	request Request
	sent    int // bytes of the answer
	frames  int // frames of the answer, before the present one
}

// sleep waits for a time. The error says that ctx has ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause waits for a time, or until the connection ends.
func (x *exchange) pause(d time.Duration) verdict {
	if sleep(x.ctx, d) != nil {
		return hangUp
	}
	return goOn
}

// Delay waits for a time before the request is handled.
func Delay(d time.Duration) Fault {
	return Fault{request: func(x *exchange) verdict { return x.pause(d) }}
}

// Hang neither handles the request nor answers it. The connection stays open until
// the client leaves. That is what happens to a request that gunicorn has lost.
func Hang() Fault { return Fault{request: func(*exchange) verdict { return hang }} }

// CloseBefore closes the connection before the request is handled.
func CloseBefore() Fault { return Fault{request: func(*exchange) verdict { return hangUp }} }

// CloseAfter closes the connection after n bytes of the answer, or after the whole
// answer if it is shorter. With 0 it closes once the request was handled.
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

// Reply answers with the error that [dirty.NewErrorReply] makes of err. The request
// is not handled.
func Reply(err error) Fault {
	return Fault{request: func(x *exchange) verdict {
		frame, encodeErr := dirty.AppendMessage(nil, dirty.NewErrorReply(x.request.RequestID, err))
		if encodeErr != nil || x.send(frame) != nil {
			return hangUp
		}
		return answer
	}}
}

// Garbage sends bytes that are not a frame in place of the answer's first frame.
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

// StaleReply sends the latest other answer, with its id, in place of this one, and
// keeps this one for the next request with this fault. gunicorn up to 26.0 does so
// after a timeout. If there was no other answer yet, nothing is sent.
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
// connection. A negative n is taken as 0.
func Truncate(n int) Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		return frame[:max(len(frame)-max(n, 0), 0)], hangUp
	})
}

// OversizeHeader sends, in place of the answer, a header with a length of one byte
// more than the protocol allows, and then nothing more.
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

// SlowChunks waits for a time before each frame of a stream. Other answers are not
// delayed.
func SlowChunks(d time.Duration) Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		if t := typeOf(frame); t != dirty.TypeChunk && t != dirty.TypeEnd {
			return frame, goOn
		}
		return frame, x.pause(d)
	}}
}

// BadUTF8 sends, in place of the answer's first frame, a frame of the same type with
// a string that is not UTF-8.
func BadUTF8() Fault {
	return first(func(_ *exchange, frame []byte) ([]byte, verdict) {
		const payload = "\x21\x00\x00\x00\x01\x11\x00\x00\x00\x06result\x11\x00\x00\x00\x02\xff\xfe"
		frame = append(frame[:dirty.HeaderSize], payload...)
		binary.BigEndian.PutUint32(frame[4:], uint32(len(payload)))
		return frame, goOn
	})
}

// first returns a fault of the answer's first frame.
func first(reply func(x *exchange, frame []byte) ([]byte, verdict)) Fault {
	return Fault{reply: func(x *exchange, frame []byte) ([]byte, verdict) {
		if x.frames > 0 {
			return frame, goOn
		}
		return reply(x, frame)
	}}
}

func typeOf(frame []byte) dirty.MessageType { return dirty.MessageType(frame[3]) }

// isFinal reports whether a frame is the last one of its answer.
func isFinal(frame []byte) bool {
	switch typeOf(frame) {
	case dirty.TypeChunk:
		return false
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeEnd:
		return true
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
		return true // not an answer at all, so nothing of it can follow
	}
	return true
}

// Rule is faults for the requests that a [Match] chooses, see [Server.Fault]. Its
// methods may be called concurrently, and while requests come.
type Rule struct {
	match  Match
	faults []Fault

	mu    sync.Mutex
	times int        // how often it still applies; negative: no bound
	prob  float64    // from 0 to 1
	rng   *rand.Rand // nil: it always applies
	hits  int
}

// Times bounds how often the rule applies from now on. A negative n is no bound,
// which is the default. It returns the rule.
func (r *Rule) Times(n int) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = n
	return r
}

// Prob makes the rule apply to a request with the probability p, from 0 to 1. The
// same seed makes the same choices. It returns the rule.
func (r *Rule) Prob(p float64, seed uint64) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prob, r.rng = p, rand.New(rand.NewPCG(seed, seed))
	return r
}

// Hits returns how often the rule has applied so far.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// applies reports whether the rule applies to a request, and counts it.
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
