package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/proxy"
)

// What is remembered for the page at most.
const (
	maxWebCalls   = 1000     // calls that have ended
	maxWebOpen    = 100      // calls in progress that are shown
	maxWebFrames  = 200      // frames of a call: the first ones, and the last one
	maxWebValue   = 16 << 10 // bytes of the value of a frame
	maxWebValues  = 32 << 20 // bytes of all values
	maxWebActions = 100      // actions with figures of their own
	maxWebSeconds = 300      // seconds in the charts
	maxWebName    = 200      // bytes of the name of an action
)

// The names of figures that are not of one action.
const (
	webAllActions   = "all actions"
	webOtherActions = "other actions"
	webNoName       = "(no name)" // of a request that does not tell it, or late
)

// webCollector makes of events what the page shows. It may be used concurrently.
type webCollector struct {
	values bool // keep values

	mu        sync.Mutex
	calls     callTracker
	open      map[*watchedCall]*webCall
	ended     []*webCall // the oldest first
	endedEver uint64     // how many have ended; the number of the last of them
	byID      map[uint64]*webCall
	lastID    uint64
	held      int    // bytes of values
	missed    uint64 // events
	broken    uint64 // events of bytes that are no frames

	actions []*webAction // the first one is of all actions
	byName  map[string]*webAction
	seconds []webSecond // those with calls, the oldest first
	second  int64       // the one that runs, in Unix time
}

// webCall is a call and its frames.
type webCall struct {
	*watchedCall
	id      uint64 // counts calls from 1
	name    string
	frames  []webFrame
	skipped int // frames that are not in frames
	held    int // bytes of values
}

// webFrame is a frame of a call.
type webFrame struct {
	since  time.Duration // its request
	dir    capture.Direction
	header dirty.Header
	value  []byte // its payload or the beginning of it; nil if it is not kept
}

// webAction has the figures of an action.
type webAction struct {
	index              int // in the list of actions
	name               string
	calls              uint64 // that have ended
	errors, unanswered uint64 // of them
	latency            *hdrhistogram.Histogram
	times              webTimes // of latency, as of the last second that is over
	secondCalls        int      // in the second that runs
	secondLatency      *hdrhistogram.Histogram
}

// webTimes are the percentiles and the maximum of times in microseconds, 0 if there
// are none.
type webTimes struct {
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

func webTimesOf(h *hdrhistogram.Histogram) webTimes {
	return webTimes{h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.Max()}
}

// webSecond is a second of the charts.
type webSecond struct {
	Second int64      `json:"second"` // Unix time
	Points []webPoint `json:"points"`
}

// webPoint is what an action did in a second.
type webPoint struct {
	Action   int `json:"action"` // its index
	Calls    int `json:"calls"`  // that ended
	webTimes     // of those that were answered
}

func newWebCollector(values bool) *webCollector {
	c := &webCollector{
		values: values,
		byID:   map[uint64]*webCall{},
		byName: map[string]*webAction{},
		second: time.Now().Unix(),
	}
	c.forgetOpen()
	c.addAction(webAllActions)
	return c
}

// tap is told of an event.
func (c *webCollector) tap(e proxy.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll(e.Time)
	if e.Missed > 0 {
		// The end of a call may be among them. A call without an end would be shown
		// for ever.
		c.missed += e.Missed
		c.forgetOpen()
	}
	switch e.Kind {
	case proxy.Frame:
		switch e.Direction {
		case capture.ToArbiter:
			c.calls.request(e.Conn, e.Header, e.App, e.Action, e.Payload, e.Time)
		case capture.FromArbiter:
			c.calls.answer(e.Conn, e.Header, e.Payload, e.Time)
		}
	case proxy.Bytes:
		c.broken++
	case proxy.Closed:
		c.calls.close(e.Conn)
	case proxy.Opened:
	}
}

// forgetOpen forgets the calls in progress.
func (c *webCollector) forgetOpen() {
	for _, call := range c.open {
		c.dropValues(call)
		delete(c.byID, call.id)
	}
	c.open = map[*watchedCall]*webCall{}
	c.calls = callTracker{frame: c.addFrame, report: c.end, forgotten: c.calls.forgotten}
}

// addFrame keeps a frame of a call in progress.
func (c *webCollector) addFrame(watched *watchedCall, dir capture.Direction, h dirty.Header, payload []byte, at time.Time) {
	call := c.open[watched]
	if call == nil {
		c.lastID++
		call = &webCall{watchedCall: watched, id: c.lastID, name: cmp.Or(webName(watched.name()), webNoName)}
		c.open[watched], c.byID[call.id] = call, call
	}
	f := webFrame{since: at.Sub(watched.start), dir: dir, header: h}
	if len(call.frames) == maxWebFrames {
		last := &call.frames[maxWebFrames-1]
		c.release(call, len(last.value))
		*last = webFrame{}
		call.frames = call.frames[:maxWebFrames-1]
		call.skipped++
	}
	if c.values && payload != nil {
		f.value = c.keepValue(call, payload)
	}
	call.frames = append(call.frames, f)
}

// keepValue returns a copy of the beginning of a payload, or nil if there is no room.
func (c *webCollector) keepValue(call *webCall, payload []byte) []byte {
	payload = payload[:min(len(payload), maxWebValue)]
	if c.held+len(payload) > maxWebValues {
		// A quarter is freed at once, so that this is seldom.
		for i := 0; i < len(c.ended) && c.held > maxWebValues*3/4; i++ {
			c.dropValues(c.ended[i])
		}
	}
	if c.held+len(payload) > maxWebValues {
		return nil // calls in progress hold it all
	}
	c.held += len(payload)
	call.held += len(payload)
	return append(make([]byte, 0, len(payload)), payload...)
}

func (c *webCollector) dropValues(call *webCall) {
	c.release(call, call.held)
	for i := range call.frames {
		call.frames[i].value = nil
	}
}

func (c *webCollector) release(call *webCall, n int) {
	call.held -= n
	c.held -= n
}

// end counts a call that has ended, and keeps it.
func (c *webCollector) end(watched *watchedCall) {
	call := c.open[watched]
	delete(c.open, watched)
	for _, a := range []*webAction{c.actions[0], c.action(call.name)} {
		a.add(watched)
	}
	if len(c.ended) == maxWebCalls {
		oldest := c.ended[0]
		c.dropValues(oldest)
		delete(c.byID, oldest.id)
		c.ended[0] = nil
		c.ended = c.ended[1:]
	}
	c.ended = append(c.ended, call)
	c.endedEver++
}

func (a *webAction) add(call *watchedCall) {
	a.calls++
	a.secondCalls++
	switch call.outcome {
	case noAnswer:
		a.unanswered++
		return
	case "error":
		a.errors++
	}
	us := min(max(call.last, 0), maxLatency).Microseconds()
	_ = a.latency.RecordValue(us) // it is within the bounds
	_ = a.secondLatency.RecordValue(us)
}

// action returns the figures of an action.
func (c *webCollector) action(name string) *webAction {
	if a := c.byName[name]; a != nil {
		return a
	}
	if len(c.actions) > maxWebActions { // with that of all actions
		name = webOtherActions
		if a := c.byName[name]; a != nil {
			return a
		}
	}
	return c.addAction(name)
}

func (c *webCollector) addAction(name string) *webAction {
	newHistogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency.Microseconds(), 2) }
	a := &webAction{index: len(c.actions), name: name, latency: newHistogram(), secondLatency: newHistogram()}
	c.actions = append(c.actions, a)
	if a.index > 0 {
		c.byName[name] = a
	}
	return a
}

// roll ends the second that runs, if it is over.
func (c *webCollector) roll(now time.Time) {
	second := now.Unix()
	if second <= c.second {
		return
	}
	ended := webSecond{Second: c.second}
	for _, a := range c.actions {
		if a.secondCalls == 0 {
			continue
		}
		ended.Points = append(ended.Points, webPoint{a.index, a.secondCalls, webTimesOf(a.secondLatency)})
		a.times = webTimesOf(a.latency)
		a.secondCalls = 0
		a.secondLatency.Reset()
	}
	if ended.Points != nil {
		c.seconds = append(c.seconds, ended)
	}
	c.second = second
	for len(c.seconds) > 0 && c.seconds[0].Second < second-maxWebSeconds {
		c.seconds = c.seconds[1:]
	}
}

// webName makes a name, which is a client's and can be anything, short and visible.
func webName(name string) string {
	if len(name) > maxWebName {
		name = strings.ToValidUTF8(name[:maxWebName], "") + "…"
	}
	return printable(name)
}

// webCursor is how far a viewer has seen. The zero value has seen nothing.
type webCursor struct {
	second int64
	ended  uint64
}

// webUpdate is what a viewer is told of calls.
type webUpdate struct {
	Now        int64           `json:"now"` // milliseconds of Unix time
	Calls      uint64          `json:"calls"`
	Missed     uint64          `json:"missed"`
	Broken     uint64          `json:"broken"`
	Actions    []webActionView `json:"actions"`
	Seconds    []webSecond     `json:"seconds"` // new ones
	Until      int64           `json:"until"`   // the last second that is over
	Ended      []webCallView   `json:"ended"`   // new ones, the oldest first
	InProgress int             `json:"inProgress"`
	Open       []webCallView   `json:"open"` // the oldest of those in progress
}

// webActionView is an action.
type webActionView struct {
	Name       string `json:"name"`
	Calls      uint64 `json:"calls"`
	Errors     uint64 `json:"errors"`
	Unanswered uint64 `json:"unanswered"`
	webTimes
}

// webCallView is a call; times are in microseconds.
type webCallView struct {
	ID       uint64 `json:"id"`
	Start    int64  `json:"start"` // milliseconds of Unix time
	Conn     uint32 `json:"conn"`
	Name     string `json:"name"`
	Outcome  string `json:"outcome"` // empty while it is in progress
	Class    string `json:"class"`
	Answered bool   `json:"answered"`
	Chunks   int    `json:"chunks"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	First    int64  `json:"first"` // until the first frame of its answer
	Took     int64  `json:"took"`  // until the last one, or until now
}

// update returns what is new since a cursor, and the next cursor.
func (c *webCollector) update(cursor webCursor) (webUpdate, webCursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.roll(now)
	u := webUpdate{
		Now:        now.UnixMilli(),
		Calls:      c.actions[0].calls,
		Missed:     c.missed + uint64(c.calls.forgotten),
		Broken:     c.broken,
		Until:      c.second - 1,
		InProgress: len(c.open),
	}
	for _, a := range c.actions {
		u.Actions = append(u.Actions, webActionView{a.name, a.calls, a.errors, a.unanswered, a.times})
	}
	for _, s := range c.seconds {
		if s.Second > cursor.second {
			u.Seconds = append(u.Seconds, s)
		}
	}
	fresh := min(c.endedEver-cursor.ended, uint64(len(c.ended)))
	for _, call := range c.ended[len(c.ended)-int(fresh):] {
		u.Ended = append(u.Ended, call.view(now))
	}
	open := make([]*webCall, 0, len(c.open))
	for _, call := range c.open {
		open = append(open, call)
	}
	slices.SortFunc(open, func(a, b *webCall) int { return cmp.Compare(a.id, b.id) })
	for _, call := range open[:min(len(open), maxWebOpen)] {
		u.Open = append(u.Open, call.view(now))
	}
	return u, webCursor{c.second - 1, c.endedEver}
}

func (call *webCall) view(now time.Time) webCallView {
	v := webCallView{
		ID: call.id, Start: call.start.UnixMilli(), Conn: call.conn, Name: call.name,
		Outcome: call.outcome, Class: webName(call.class), Answered: call.answered,
		Chunks: call.chunks, Sent: call.sent, Received: call.arrived,
		First: call.first.Microseconds(), Took: call.last.Microseconds(),
	}
	if call.outcome == "" {
		v.Took = now.Sub(call.start).Microseconds()
	}
	return v
}

// webDetails is a call with its frames.
type webDetails struct {
	Call    webCallView    `json:"call"`
	Frames  []webFrameView `json:"frames"`
	Skipped int            `json:"skipped"` // frames before the last one
}

// webFrameView is a frame.
type webFrameView struct {
	Since  int64  `json:"since"` // the request, in microseconds
	Dir    string `json:"dir"`   // ">" to the arbiter, "<" from it
	Type   string `json:"type"`
	ID     string `json:"id"` // of the request, in hexadecimal digits
	Length int64  `json:"length"`
	Value  string `json:"value"` // in the notation of decode; empty if it is not kept
	Shown  int    `json:"shown"` // how many bytes of the payload Value tells of
}

// details returns a call, if it is remembered.
func (c *webCollector) details(id uint64) (d webDetails, ok bool) {
	c.mu.Lock()
	call := c.byID[id]
	if call == nil {
		c.mu.Unlock()
		return d, false
	}
	d.Call, d.Skipped = call.view(time.Now()), call.skipped
	frames := slices.Clone(call.frames) // their values do not change
	c.mu.Unlock()
	for _, f := range frames {
		v := webFrameView{
			Since: f.since.Microseconds(), Dir: f.dir.String(), Type: f.header.Type.String(),
			ID: fmt.Sprintf("%016x", f.header.RequestID), Length: int64(f.header.Length), Shown: len(f.value),
		}
		switch {
		case len(f.value) == 0:
		case len(f.value) < int(f.header.Length):
			v.Value = webCutValue(f.value)
		default:
			v.Value = webValue(f.value)
		}
		d.Frames = append(d.Frames, v)
	}
	return d, true
}

// webValue returns a payload as text, with a word on what is wrong with it.
func webValue(payload []byte) string {
	var text strings.Builder
	writeBroken(&text, payload)
	return text.String()
}

// webCutValue returns the beginning of a payload as text. Of the string or bytes in
// which it is cut there is what it has.
func webCutValue(payload []byte) string {
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
