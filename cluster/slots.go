package cluster

import (
	"context"
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
	passing int // frames that are answered; a slot may be given back before
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

	refused bool          // it was told more than is true
	urgent  chan struct{} // closed when it may have to be told at once
}

func newFrontSlots() *frontSlots {
	return &frontSlots{apps: map[string]*frontApp{}, urgent: make(chan struct{})}
}

// frontApp is what is known of a front and an app.
type frontApp struct {
	yours   int         // requests that run and whose caller has not left
	waiting int         // calls that wait at the front
	kept    int         // slots that are kept for them
	keep    *time.Timer // ends that
	granted uint64      // how often a slot was kept
	budget  budget      // of the front, by what it was told last and what it has done since
}

// keepTime is how long a slot is kept for a front. Then it is the next one's turn.
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

// tellChange wakes the goroutines that wait for any change. The lock is held.
func (s *slots) tellChange() {
	s.seq++
	close(s.changed)
	s.changed = make(chan struct{})
}

// wake wakes the goroutine that tells a front of the load, and wakeAll all of these. An
// agent can have many fronts, so a change wakes only those that it concerns at once. The
// lock is held.
func (f *frontSlots) wake() {
	close(f.urgent)
	f.urgent = make(chan struct{})
}

func (s *slots) wakeAll() {
	for _, f := range s.fronts {
		f.wake()
	}
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
		s.wakeAll()
	}
}

// leave makes the agent take nothing new.
func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.tellChange()
	s.wakeAll()
}

// isIdle reports whether nothing is answered. If something is, the channel is closed at
// the next change.
func (s *slots) isIdle() (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passing == 0, s.changed
}

// begin notes a frame that is to be answered, end that this is done.
func (s *slots) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passing++
}

func (s *slots) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passing--
	if s.leaving {
		s.tellChange()
	}
}

// enter notes a connection of a front, exit its end.
func (s *slots) enter(id string) *frontSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fronts[id]
	if f == nil {
		f = newFrontSlots()
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
		s.setWaiting(f, app, 0)
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
	}
	mine := f.of(app)
	switch {
	case a.taken >= a.slots || s.all.taken >= s.all.slots, mine.kept == 0 && min(a.free(), s.all.free()) <= 0:
		return nil, reasonBusy, s.noteRefusal(f)
	case mine.kept > 0:
		s.release(mine, a, 1)
	}
	a.taken++
	s.all.taken++
	mine.yours++
	mine.budget.start()
	f.yours++
	f.wake()
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
	mine := t.front.of(t.app)
	mine.yours--
	t.front.yours--
	mine.budget.finish()
	t.front.wake()
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

// wait notes how many calls of an app wait at a front.
func (s *slots) wait(f *frontSlots, app string, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if a == nil || f.conns == 0 {
		return
	}
	s.setWaiting(f, app, waiting)
	s.handOut()
	s.tellChange()
}

// setWaiting is wait, without what follows from it. The lock is held.
func (s *slots) setWaiting(f *frontSlots, app string, waiting int) {
	a, mine := s.apps[app], f.of(app)
	switch i := slices.Index(a.turn, f); {
	case waiting > 0 && i < 0:
		a.turn = append(a.turn, f)
	case waiting <= 0 && i >= 0:
		a.turn = slices.Delete(a.turn, i, i+1)
	}
	mine.waiting = waiting
	if mine.kept > max(waiting, 0) {
		s.release(mine, a, mine.kept-max(waiting, 0))
	}
}

// handOut keeps free slots for the calls that wait. If they do so at one front only,
// nothing needs to be kept. The lock is held.
func (s *slots) handOut() {
	for app, a := range s.apps {
		if len(a.turn) == 1 && min(a.free(), s.all.free()) > 0 {
			a.turn[0].wake()
		}
		for len(a.turn) > 1 && min(a.free(), s.all.free()) > 0 {
			i := a.next(app)
			if i < 0 {
				break
			}
			f := a.turn[i]
			a.turn = append(slices.Delete(a.turn, i, i+1), f)
			s.keep(f.of(app), a)
			f.wake()
		}
	}
}

// next returns whose turn it is: of the fronts that have the fewest slots here the one
// that waits longest. It is negative if a slot is kept for each call that waits.
func (a *appSlots) next(app string) int {
	next, fewest := -1, 0
	for i, f := range a.turn {
		mine := f.of(app)
		if n := mine.yours + mine.kept; mine.kept < mine.waiting && (next < 0 || n < fewest) {
			next, fewest = i, n
		}
	}
	return next
}

// keep keeps a slot for a front. The lock is held.
func (s *slots) keep(mine *frontApp, a *appSlots) {
	mine.kept++
	mine.granted++
	a.kept++
	s.all.kept++
	if mine.keep == nil {
		mine.keep = time.AfterFunc(keepTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if mine.kept > 0 {
				s.release(mine, a, mine.kept)
				s.handOut()
				s.tellChange()
			}
		})
	}
	mine.keep.Reset(keepTime)
}

// release ends the keeping of n slots. The lock is held.
func (s *slots) release(mine *frontApp, a *appSlots, n int) {
	mine.kept -= n
	a.kept -= n
	s.all.kept -= n
	if mine.kept == 0 && mine.keep != nil {
		mine.keep.Stop()
	}
}

// refuse notes that a front was told more than is true. It returns the number of the
// load.
func (s *slots) refuse(f *frontSlots) (seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noteRefusal(f)
}

// noteRefusal is refuse with the lock held.
func (s *slots) noteRefusal(f *frontSlots) (seq uint64) {
	f.refused = true
	f.wake()
	s.tellChange()
	return s.seq
}

// How often load is told.
const (
	loadPause    = time.Millisecond      // at least, between two messages to one front
	lazyPause    = 20 * time.Millisecond // between two that the front does not need at once
	lazyShare    = time.Millisecond      // the same for each front of an agent, and for each agent of a front
	loadInterval = time.Second           // at most
)

// tell returns the load as a front is told it now.
func (s *slots) tell(f *frontSlots) load {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.refused = false
	l := s.load(f)
	for app, share := range l.Apps {
		mine := f.of(app)
		mine.budget.set(share, mine.yours)
	}
	return l
}

// awaitNews waits until a front must be told of its load again. That is at once if
// calls wait there that could run, and if it was told more than is true. All else can
// be late: many fronts would get many messages.
func (s *slots) awaitNews(ctx context.Context, f *frontSlots, told load, hosts int64) {
	interval := time.NewTimer(loadInterval)
	defer interval.Stop()
	pause := s.lazyPause(hosts)
	lazy := time.NewTimer(pause)
	defer lazy.Stop()
	late, woken := false, false // the pause is over; something has changed since then
	for {
		s.mu.Lock()
		urgent, changed := f.urgent, s.changed
		news := f.refused || s.leaving != told.Leaving || len(s.apps) != len(told.Apps) || s.canRun(f) ||
			late && !s.load(f).equal(told)
		s.mu.Unlock()
		if news {
			return
		}
		if woken { // for nothing, so not again at once
			late, woken = false, false
			lazy.Reset(pause)
		}
		if !late {
			changed = nil
		}
		select {
		case <-urgent:
		case <-changed:
			woken = true
		case <-lazy.C:
			late = true
		case <-interval.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// lazyPause is the time between two messages to a front that can be late.
func (s *slots) lazyPause(hosts int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(lazyPause, time.Duration(max(int64(len(s.fronts)), hosts))*lazyShare), loadInterval)
}

// canRun reports whether calls wait at a front that can run now, though it does not
// know. The lock is held.
func (s *slots) canRun(f *frontSlots) bool {
	for app, a := range s.apps {
		if !slices.Contains(a.turn, f) {
			continue
		}
		mine := f.of(app)
		told := mine.budget
		told.set(s.share(f, app, a), mine.yours)
		if told.left > 0 && mine.budget.left <= 0 {
			return true
		}
	}
	return false
}

// load returns the load for a front. The lock is held.
func (s *slots) load(f *frontSlots) load {
	l := load{Seq: s.seq, Leaving: s.leaving, Apps: make(map[string]share, len(s.apps))}
	l.All = share{Slots: s.all.slots, Free: s.all.free(), Yours: f.yours}
	for app, a := range s.apps {
		l.Apps[app] = s.share(f, app, a)
	}
	return l
}

// share returns the share of an app for a front. The lock is held.
func (s *slots) share(f *frontSlots, app string, a *appSlots) share {
	one := share{Slots: a.slots, Free: min(a.free(), s.all.free())}
	one.Wanted = len(a.turn) > 1 || len(a.turn) == 1 && a.turn[0] != f
	if one.Wanted {
		one.Free = 0
	}
	if mine := f.apps[app]; mine != nil {
		one.Yours, one.Granted = mine.yours, mine.granted
		one.Free += mine.kept
	}
	return one
}
