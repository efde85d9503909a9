package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gunicorn-go/dirty/proxy"
)

// What is remembered for the page at most.
const (
	maxWebCalls   = 1000 // calls that have ended
	maxWebOpen    = 100  // calls in progress that are shown
	maxWebActions = 100  // actions with figures of their own
	maxWebSeconds = 300  // seconds in the charts
)

// The names of figures that are not of one action.
const (
	webAllActions   = "all actions"
	webOtherActions = "other actions"
)

// webCollector turns events into what the page shows. It may be used concurrently.
type webCollector struct {
	mu      sync.Mutex // guards what follows
	calls   *callLog
	actions []*webAction // the first one is of all actions
	byName  map[string]*webAction
	seconds []webSecond // those with calls, the oldest first
	second  int64       // the one that runs, in Unix time
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
	c := &webCollector{byName: map[string]*webAction{}, second: time.Now().Unix()}
	c.calls = newCallLog(maxWebCalls, values, c.count)
	c.addAction(webAllActions)
	return c
}

// tap is told of an event.
func (c *webCollector) tap(e proxy.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roll(e.Time)
	c.calls.event(e)
}

// count counts a call that has ended.
func (c *webCollector) count(call *loggedCall) {
	for _, a := range []*webAction{c.actions[0], c.action(call.name)} {
		a.add(call.watchedCall)
	}
}

func (a *webAction) add(call *watchedCall) {
	a.calls++
	a.secondCalls++
	switch call.outcome {
	case noAnswer:
		a.unanswered++
		return
	case outcomeFailed:
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
		Missed:     c.calls.missed + uint64(c.calls.tracker.forgotten),
		Broken:     c.calls.broken,
		Until:      c.second - 1,
		InProgress: len(c.calls.open),
	}
	for _, a := range c.actions {
		u.Actions = append(u.Actions, webActionView{a.name, a.calls, a.errors, a.unanswered, a.times})
	}
	for _, s := range c.seconds {
		if s.Second > cursor.second {
			u.Seconds = append(u.Seconds, s)
		}
	}
	fresh := min(c.calls.endedEver-cursor.ended, uint64(len(c.calls.ended)))
	for _, call := range c.calls.ended[len(c.calls.ended)-int(fresh):] {
		u.Ended = append(u.Ended, call.view(now))
	}
	open := c.calls.inProgress()
	for _, call := range open[:min(len(open), maxWebOpen)] {
		u.Open = append(u.Open, call.view(now))
	}
	return u, webCursor{c.second - 1, c.calls.endedEver}
}

func (call *loggedCall) view(now time.Time) webCallView {
	v := webCallView{
		ID: call.id, Start: call.start.UnixMilli(), Conn: call.conn, Name: call.name,
		Outcome: call.outcome, Class: shortName(call.class), Answered: call.answered,
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
	call := c.calls.byID[id]
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
			ID: fmt.Sprintf("%016x", f.header.RequestID), Length: int64(f.header.Length),
			Value: f.text(), Shown: len(f.value),
		}
		d.Frames = append(d.Frames, v)
	}
	return d, true
}
