package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/proxy"
)

// What is remembered of calls at most.
const (
	maxLoggedFrames = 200      // of a call: the first ones, and the last one
	maxLoggedValue  = 16 << 10 // bytes of the value of a frame
	maxLoggedValues = 32 << 20 // bytes of all values
	maxLoggedName   = 200      // bytes of the name of what was called
)

// noName stands for the name of a request that does not tell it, or late.
const noName = "(no name)"

// callLog remembers the last calls that have passed, with their frames. It may not be
// used concurrently.
type callLog struct {
	most   int               // calls that have ended
	values bool              // keep values
	onEnd  func(*loggedCall) // told of each call that has ended; may be nil

	tracker   callTracker
	open      map[*watchedCall]*loggedCall
	ended     []*loggedCall // the oldest first
	endedEver uint64        // how many have ended; the number of the last of them
	byID      map[uint64]*loggedCall
	lastID    uint64
	held      int    // bytes of values
	missed    uint64 // events
	broken    uint64 // events of bytes that are no frames
}

// loggedCall is a call and its frames.
type loggedCall struct {
	*watchedCall
	id      uint64 // counts calls from 1
	name    string // visible, and not long
	frames  []loggedFrame
	skipped int // frames that are not in frames
	held    int // bytes of values
}

// loggedFrame is a frame of a call.
type loggedFrame struct {
	since  time.Duration // its request
	dir    capture.Direction
	header dirty.Header
	value  []byte // its payload or the beginning of it; nil if it is not kept
}

func newCallLog(most int, values bool, onEnd func(*loggedCall)) *callLog {
	l := &callLog{most: most, values: values, onEnd: onEnd, byID: map[uint64]*loggedCall{}}
	l.forgetOpen()
	return l
}

// event is told of what passes a proxy.
func (l *callLog) event(e proxy.Event) {
	if e.Missed > 0 {
		// The end of a call may be among them. A call without an end would be shown
		// for ever.
		l.missed += e.Missed
		l.forgetOpen()
	}
	switch e.Kind {
	case proxy.Frame:
		l.frame(e.Conn, e.Direction, e.Header, e.App, e.Action, e.Payload, e.Time)
	case proxy.Bytes:
		l.broken++
	case proxy.Closed:
		l.tracker.close(e.Conn)
	case proxy.Opened:
	}
}

// frame is told of a frame. app and action are of a request; at is zero in a recording.
func (l *callLog) frame(conn uint32, dir capture.Direction, h dirty.Header, app, action string, payload []byte, at time.Time) {
	switch dir {
	case capture.ToArbiter:
		l.tracker.request(conn, h, app, action, payload, at)
	case capture.FromArbiter:
		l.tracker.answer(conn, h, payload, at)
	}
}

// forgetOpen forgets the calls in progress.
func (l *callLog) forgetOpen() {
	for _, call := range l.open {
		l.dropValues(call)
		delete(l.byID, call.id)
	}
	l.open = map[*watchedCall]*loggedCall{}
	l.tracker = callTracker{frame: l.addFrame, report: l.end, forgotten: l.tracker.forgotten}
}

// addFrame keeps a frame of a call in progress.
func (l *callLog) addFrame(watched *watchedCall, dir capture.Direction, h dirty.Header, payload []byte, at time.Time) {
	call := l.open[watched]
	if call == nil {
		l.lastID++
		call = &loggedCall{watchedCall: watched, id: l.lastID, name: cmp.Or(shortName(watched.name()), noName)}
		l.open[watched], l.byID[call.id] = call, call
	}
	f := loggedFrame{since: at.Sub(watched.start), dir: dir, header: h}
	if len(call.frames) == maxLoggedFrames {
		last := &call.frames[maxLoggedFrames-1]
		l.release(call, len(last.value))
		*last = loggedFrame{}
		call.frames = call.frames[:maxLoggedFrames-1]
		call.skipped++
	}
	if l.values && payload != nil {
		f.value = l.keepValue(call, payload)
	}
	call.frames = append(call.frames, f)
}

// keepValue returns a copy of the beginning of a payload, or nil if there is no room.
func (l *callLog) keepValue(call *loggedCall, payload []byte) []byte {
	payload = payload[:min(len(payload), maxLoggedValue)]
	if l.held+len(payload) > maxLoggedValues {
		// A quarter is freed at once, so that this is seldom.
		for i := 0; i < len(l.ended) && l.held > maxLoggedValues*3/4; i++ {
			l.dropValues(l.ended[i])
		}
	}
	if l.held+len(payload) > maxLoggedValues {
		return nil // calls in progress hold it all
	}
	l.held += len(payload)
	call.held += len(payload)
	return append(make([]byte, 0, len(payload)), payload...)
}

func (l *callLog) dropValues(call *loggedCall) {
	l.release(call, call.held)
	for i := range call.frames {
		call.frames[i].value = nil
	}
}

func (l *callLog) release(call *loggedCall, n int) {
	call.held -= n
	l.held -= n
}

// end keeps a call that has ended.
func (l *callLog) end(watched *watchedCall) {
	call := l.open[watched]
	delete(l.open, watched)
	if l.onEnd != nil {
		l.onEnd(call)
	}
	if len(l.ended) == l.most {
		oldest := l.ended[0]
		l.dropValues(oldest)
		delete(l.byID, oldest.id)
		l.ended[0] = nil
		l.ended = l.ended[1:]
	}
	l.ended = append(l.ended, call)
	l.endedEver++
}

// inProgress returns the calls in progress, the oldest first.
func (l *callLog) inProgress() []*loggedCall {
	open := make([]*loggedCall, 0, len(l.open))
	for _, call := range l.open {
		open = append(open, call)
	}
	slices.SortFunc(open, func(a, b *loggedCall) int { return cmp.Compare(a.id, b.id) })
	return open
}

// shortName makes a name, which is a client's and can be anything, short and visible.
func shortName(name string) string {
	if len(name) > maxLoggedName {
		name = strings.ToValidUTF8(name[:maxLoggedName], "") + "…"
	}
	return printable(name)
}

// text returns the value of a frame in the notation of decode, or "" if it is not kept.
func (f loggedFrame) text() string {
	switch {
	case len(f.value) == 0:
		return ""
	case len(f.value) < int(f.header.Length):
		return cutValueText(f.value)
	}
	return valueText(f.value)
}

// valueText returns a payload as text, with a word on what is wrong with it.
func valueText(payload []byte) string {
	var text strings.Builder
	writeBroken(&text, payload)
	return text.String()
}

// cutValueText returns the beginning of a payload as text. Of the string or bytes in
// which it is cut there is what it has.
func cutValueText(payload []byte) string {
	var text strings.Builder
	w := &valueWriter{out: &text, dec: dirty.NewDecoder(payload)}
	var cut *dirty.ProtocolError
	if errors.As(w.value(0), &cut) && cut.Offset >= 0 && cut.Offset+prefixSize < int64(len(payload)) {
		rest := payload[cut.Offset+prefixSize:]
		switch dirty.Kind(payload[cut.Offset]) {
		case dirty.KindString:
			text.WriteByte('"')
			writeEscaped(&text, string(rest), `"\`)
		case dirty.KindBytes:
			fmt.Fprintf(&text, "h'%x", rest)
		}
	}
	return text.String() + "…"
}
