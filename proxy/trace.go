package proxy

import (
	"io"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// headSize is how many bytes of a request are looked at for its app and action.
const headSize = 4 << 10

// maxRequests is how many requests of a connection wait for their answers and are
// remembered. An arbiter answers one after the other; few clients send ahead.
const maxRequests = 1024

// trace looks at what passes on a connection and tells the tap. The nil queue
// means that nobody wants to know.
type trace struct {
	queue    *tapQueue
	conn     uint32
	payloads bool

	mu       sync.Mutex
	requests []request // not yet answered, the oldest first
}

// request is what is remembered of a request until its answer is complete.
type request struct {
	id          uint64
	app, action string
	sent        time.Time
	answered    bool // an answer has begun
	chunks      int
}

func newTrace(q *tapQueue, conn uint32, payloads bool) *trace {
	return &trace{queue: q, conn: conn, payloads: payloads}
}

func (t *trace) opened() {
	if t.queue != nil {
		t.queue.put(Event{Kind: Opened, Time: time.Now(), Conn: t.conn})
	}
}

func (t *trace) closed(err error) {
	if t.queue == nil {
		return
	}
	t.queue.put(Event{Kind: Closed, Time: time.Now(), Conn: t.conn, Err: err})
}

// direction is one direction of a connection. It finds the frames in the bytes.
type direction struct {
	trace *trace
	which capture.Direction

	broken bool // what comes are no frames

	// The frame that is passing. begun is set once its header is complete.
	head   [dirty.HeaderSize]byte
	got    int // bytes of the header, or of the payload once it has begun
	begun  bool
	header dirty.Header
	first  []byte // of the payload of a request, for its app and action
	copied []byte // of the payload, if it is wanted and there is room
}

func (t *trace) direction(which capture.Direction) *direction {
	return &direction{trace: t, which: which}
}

// observe looks at bytes that are about to be forwarded.
func (d *direction) observe(b []byte) {
	if d.trace.queue == nil {
		return
	}
	now := time.Now()
	for len(b) > 0 && !d.broken {
		if !d.begun {
			n := copy(d.head[d.got:], b)
			d.got += n
			b = b[n:]
			if d.got < len(d.head) {
				return
			}
			h, err := dirty.ParseHeader(d.head[:])
			if err != nil {
				d.fail(d.head[:], now, err)
				break
			}
			d.begin(h)
		}
		n := min(len(b), int(d.header.Length)-d.got)
		if d.first != nil {
			d.first = append(d.first, b[:min(n, headSize-len(d.first))]...)
		}
		d.copy(b[:n])
		d.got += n
		b = b[n:]
		if d.got == int(d.header.Length) {
			d.finish(now)
		}
	}
	if d.broken && len(b) > 0 {
		d.tell(Event{Kind: Bytes, Time: now}, b)
	}
}

// begin begins the payload of a frame.
func (d *direction) begin(h dirty.Header) {
	d.header, d.begun, d.got = h, true, 0
	if d.which == capture.ToArbiter {
		d.first = make([]byte, 0, min(int(h.Length), headSize))
	}
	if d.trace.payloads {
		d.copied = make([]byte, 0, min(int(h.Length), bufferSize)) // more as it arrives
	}
}

// copy copies bytes of a payload, if it is wanted and there is room for it. The
// room is taken as bytes arrive, not for the length that a header tells.
func (d *direction) copy(b []byte) {
	switch {
	case d.copied == nil:
	case d.trace.queue.reserve(len(b)):
		d.copied = append(d.copied, b...)
	default:
		d.trace.queue.release(len(d.copied))
		d.copied = nil
	}
}

// finish tells of a whole frame.
func (d *direction) finish(now time.Time) {
	e := Event{Kind: Frame, Time: now, Conn: d.trace.conn, Direction: d.which, Header: d.header, Payload: d.copied}
	switch d.which {
	case capture.ToArbiter:
		e.App, e.Action = Called(d.header.Type, d.first)
		d.trace.sent(request{id: d.header.RequestID, app: e.App, action: e.Action, sent: now})
	case capture.FromArbiter:
		d.trace.answer(&e)
	}
	d.trace.queue.put(e)
	d.begun, d.got, d.first, d.copied = false, 0, nil, nil
}

// fail tells of bytes that are no frame. What follows in this direction are no
// frames either: where the next one begins is not known.
func (d *direction) fail(b []byte, now time.Time, err error) {
	d.broken = true
	d.tell(Event{Kind: Bytes, Time: now, Err: err}, b)
}

// tell tells of bytes.
func (d *direction) tell(e Event, b []byte) {
	e.Conn, e.Direction = d.trace.conn, d.which
	if d.trace.payloads && d.trace.queue.reserve(len(b)) {
		e.Payload = append(make([]byte, 0, len(b)), b...)
	}
	d.trace.queue.put(e)
}

// end tells of a frame that is not complete at the end of a direction.
func (d *direction) end() {
	if d.trace.queue == nil || d.broken || !d.begun && d.got == 0 {
		return
	}
	if !d.begun {
		d.fail(d.head[:d.got], time.Now(), io.ErrUnexpectedEOF)
		return
	}
	d.trace.queue.release(len(d.copied))
	d.fail(append(d.head[:], d.copied...), time.Now(), io.ErrUnexpectedEOF)
}

// sent remembers a request.
func (t *trace) sent(r request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.requests) < maxRequests {
		t.requests = append(t.requests, r)
	}
}

// answer fills in which request a frame answers. An arbiter answers in order, and
// with the request's id.
func (t *trace) answer(e *Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.requests) == 0 || t.requests[0].id != e.Header.RequestID {
		return
	}
	r := &t.requests[0]
	e.App, e.Action = r.app, r.action
	a := &Answer{Since: e.Time.Sub(r.sent), First: !r.answered}
	r.answered = true
	switch e.Header.Type {
	case dirty.TypeChunk:
		r.chunks++
		a.Chunk = r.chunks
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeEnd:
		a.Last = true
		t.requests = t.requests[1:]
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
		return // no answer
	}
	e.Answer = a
}

// Called returns what a request asks for, in the words of [Event]. The payload may be
// cut short: what is behind its end is not known, and then empty. For an answer both
// are empty.
func Called(t dirty.MessageType, payload []byte) (app, action string) {
	switch t {
	case dirty.TypeRequest:
		return field(payload, "app_path"), field(payload, "action")
	case dirty.TypeStash:
		return "", "stash " + dirty.StashOp(op(payload)).String()
	case dirty.TypeStatus:
		return "", "status"
	case dirty.TypeManage:
		return "", "manage " + dirty.ManageOp(op(payload)).String()
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
	}
	return "", ""
}

// field returns a text of a dict of which only the first bytes may be there.
func field(payload []byte, key string) (text string) {
	for k, v := range dirty.View(payload).Entries() {
		if string(k) == key {
			b, _ := v.Text()
			text = string(b) // the last of equal keys counts
		}
	}
	return text
}

// op returns the number of an operation.
func op(payload []byte) (n uint8) {
	for k, v := range dirty.View(payload).Entries() {
		if string(k) != "op" {
			continue
		}
		if i, ok := v.Int64(); ok && i >= 0 && i <= 255 {
			n = uint8(i)
		}
	}
	return n
}
