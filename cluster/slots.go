package cluster

import (
	"slices"
	"sync"
	"time"
)

// slots counts which workers of a host are taken, for which app and front.
//
// If calls wait at several fronts, a slot that becomes free is kept for one of them, in
// turn. Otherwise a front with many calls would take each slot again that it gives
// back, since it knows first.
type slots struct {
	mu      sync.Mutex
	seq     uint64
	changed chan struct{} // closed at the next change
	leaving bool
	all     count
	apps    map[string]*appSlots
	fronts  map[string]*frontSlots // by id
}

// count is how many slots there are, and what became of them.
type count struct {
	slots int // workers
	taken int
	kept  int // for fronts in whose turn they became free
}

// free is how many slots anybody may take. It is negative while more requests run than
// there are workers.
func (c count) free() int { return c.slots - c.taken - c.kept }

// appSlots are the slots of an app.
type appSlots struct {
	count
	turn []*frontSlots // the fronts where calls wait; the next one is first
}

// frontSlots is what is known of a front.
type frontSlots struct {
	conns int // connections; without one it is forgotten
	yours int
	apps  map[string]*frontApp
}

// frontApp is what is known of a front and an app.
type frontApp struct {
	yours int         // requests that run and whose caller has not left
	kept  *time.Timer // a slot is kept until then; nil: none
}

// keepTime is how long a slot is kept for a front. A front that does not use it is
// taken to have no waiting calls any more.
const keepTime = 50 * time.Millisecond

// The reasons to refuse a request.
const (
	reasonBusy    = "no worker is free"
	reasonLeaving = "the agent is being stopped"
	reasonNoApp   = "no worker has the app"
	reasonArbiter = "the arbiter is not there"
)

func newSlots() *slots {
	return &slots{changed: make(chan struct{}), apps: map[string]*appSlots{}, fronts: map[string]*frontSlots{}}
}

// tellChange wakes those who tell the load. The lock is held.
func (s *slots) tellChange() {
	s.seq++
	close(s.changed)
	s.changed = make(chan struct{})
}

// set sets how many workers there are, and how many of them have which app. Apps that
// are not there any more stay, with no slots.
func (s *slots) set(all int, apps map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.all.slots != all
	s.all.slots = all
	for name, a := range s.apps {
		if n := apps[name]; n != a.slots {
			a.slots, changed = n, true
		}
	}
	for name, n := range apps {
		if s.apps[name] == nil {
			s.apps[name], changed = &appSlots{count: count{slots: n}}, true
		}
	}
	if changed {
		s.handOut()
		s.tellChange()
	}
}

// leave makes the agent take nothing new.
func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.tellChange()
}

// isIdle reports whether no request runs. If one does, the channel is closed at the
// next change.
func (s *slots) isIdle() (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.taken == 0, s.changed
}

// enter notes a connection of a front, exit its end.
func (s *slots) enter(id string) *frontSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fronts[id]
	if f == nil {
		f = &frontSlots{apps: map[string]*frontApp{}}
		s.fronts[id] = f
	}
	f.conns++
	return f
}

func (s *slots) exit(id string, f *frontSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.conns--
	if f.conns > 0 {
		return
	}
	delete(s.fronts, id)
	for app := range s.apps {
		s.stopWaiting(f, app)
	}
	s.handOut()
	s.tellChange()
}

// of returns what is known of the front and an app. The lock is held.
func (f *frontSlots) of(app string) *frontApp {
	a := f.apps[app]
	if a == nil {
		a = &frontApp{}
		f.apps[app] = a
	}
	return a
}

// slot is a taken slot.
type slot struct {
	slots *slots
	front *frontSlots
	app   string
	mine  bool // it counts as one of the front's
	given bool
}

// take takes a slot for a request of a front. If it cannot, it says why.
func (s *slots) take(f *frontSlots, app string) (taken *slot, reason string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	switch {
	case s.leaving:
		return nil, reasonLeaving, s.seq
	case a == nil:
		return nil, reasonNoApp, s.seq
	case a.taken >= a.slots || s.all.taken >= s.all.slots:
		return nil, reasonBusy, s.seq
	}
	mine := f.of(app)
	if mine.kept != nil {
		s.release(mine, a)
	} else if min(a.free(), s.all.free()) <= 0 {
		return nil, reasonBusy, s.seq
	}
	a.taken++
	s.all.taken++
	mine.yours++
	f.yours++
	s.tellChange()
	return &slot{slots: s, front: f, app: app, mine: true}, "", 0
}

// abandon notes that the caller has left. The slot stays taken, but the front does not
// know of it any more.
func (t *slot) abandon() {
	t.slots.mu.Lock()
	defer t.slots.mu.Unlock()
	if t.mine {
		t.disown()
		t.slots.tellChange()
	}
}

// disown takes the slot from those of the front. The lock is held.
func (t *slot) disown() {
	t.mine = false
	t.front.of(t.app).yours--
	t.front.yours--
}

// give gives the slot back. It may be called again.
func (t *slot) give() {
	s := t.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.given {
		return
	}
	t.given = true
	if t.mine {
		t.disown()
	}
	s.apps[t.app].taken--
	s.all.taken--
	s.handOut()
	s.tellChange()
}

// wait notes whether calls of an app wait at a front.
func (s *slots) wait(f *frontSlots, app string, waiting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if a == nil || f.conns == 0 {
		return
	}
	if !waiting {
		s.stopWaiting(f, app)
	} else if !slices.Contains(a.turn, f) {
		a.turn = append(a.turn, f)
	}
	s.handOut()
	s.tellChange()
}

// stopWaiting notes that no calls of an app wait at a front. The lock is held.
func (s *slots) stopWaiting(f *frontSlots, app string) {
	a := s.apps[app]
	a.turn = slices.DeleteFunc(a.turn, func(other *frontSlots) bool { return other == f })
	if mine := f.apps[app]; mine != nil && mine.kept != nil {
		s.release(mine, a)
	}
}

// handOut keeps free slots for the fronts that wait, at most one for each. If only one
// waits, nothing needs to be kept. The lock is held.
func (s *slots) handOut() {
	for app, a := range s.apps {
		for range len(a.turn) {
			if len(a.turn) < 2 || min(a.free(), s.all.free()) <= 0 {
				break
			}
			f := a.turn[0]
			a.turn = append(a.turn[1:], f)
			if mine := f.of(app); mine.kept == nil {
				s.keep(f, app, mine, a)
			}
		}
	}
}

// keep keeps a slot for a front. The lock is held.
func (s *slots) keep(f *frontSlots, app string, mine *frontApp, a *appSlots) {
	var timer *time.Timer
	timer = time.AfterFunc(keepTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if mine.kept == timer {
			s.stopWaiting(f, app)
			s.handOut()
			s.tellChange()
		}
	})
	mine.kept = timer
	a.kept++
	s.all.kept++
}

// release ends the keeping of a slot. The lock is held.
func (s *slots) release(mine *frontApp, a *appSlots) {
	mine.kept.Stop()
	mine.kept = nil
	a.kept--
	s.all.kept--
}

// load returns the load as a front is told it. The channel is closed when it has
// changed.
func (s *slots) load(f *frontSlots) (load, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := load{Seq: s.seq, Leaving: s.leaving, Apps: make(map[string]share, len(s.apps))}
	l.All = share{Slots: s.all.slots, Free: s.all.free(), Yours: f.yours}
	for app, a := range s.apps {
		mine := f.apps[app]
		one := share{Slots: a.slots, Free: min(a.free(), s.all.free())}
		if mine != nil {
			one.Yours = mine.yours
			if mine.kept != nil {
				one.Free++
				l.All.Free++
			}
		}
		one.Wanted = len(a.turn) > 1 || len(a.turn) == 1 && a.turn[0] != f
		l.Apps[app] = one
	}
	return l, s.changed
}
