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
	apps    map[string]*count
	fronts  map[string]*frontSlots // by id
	turn    []*frontApp            // those whose calls wait; who waits longest is first
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

// frontSlots is what is known of a front.
type frontSlots struct {
	conns int // connections; without one it is forgotten
	yours int // those of all apps
	kept  int
	apps  map[string]*frontApp

	refused bool          // it was told more than is true
	urgent  chan struct{} // closed when it may have to be told at once
}

func newFrontSlots() *frontSlots {
	return &frontSlots{apps: map[string]*frontApp{}, urgent: make(chan struct{})}
}

// frontApp is what is known of a front and an app.
type frontApp struct {
	front   *frontSlots
	app     *count
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
	return &slots{changed: make(chan struct{}), apps: map[string]*count{}, fronts: map[string]*frontSlots{}}
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
			s.apps[name], changed = &count{slots: n}, true
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
	for _, mine := range f.apps {
		s.setWaiting(mine, 0, 0)
	}
	s.handOut()
	s.tellChange()
}

// of returns what is known of a front and an app of the host. The lock is held.
func (s *slots) of(f *frontSlots, app string) *frontApp {
	a := f.apps[app]
	if a == nil {
		a = &frontApp{front: f, app: s.apps[app]}
		f.apps[app] = a
	}
	return a
}

// slot is a taken slot.
type slot struct {
	slots *slots
	of    *frontApp
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
	mine := s.of(f, app)
	switch {
	case a.taken >= a.slots || s.all.taken >= s.all.slots, mine.kept == 0 && s.free(a) <= 0:
		return nil, reasonBusy, s.noteRefusal(f)
	case mine.kept > 0:
		s.release(mine, 1)
	}
	a.taken++
	s.all.taken++
	mine.yours++
	mine.budget.start()
	f.yours++
	f.wake()
	s.tellChange()
	return &slot{slots: s, of: mine, mine: true}, "", 0
}

// free returns how many more requests of an app can run. The lock is held.
func (s *slots) free(app *count) int { return min(app.free(), s.all.free()) }

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
	t.of.yours--
	t.of.front.yours--
	t.of.budget.finish()
	t.of.front.wake()
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
	t.of.app.taken--
	s.all.taken--
	s.handOut()
	s.tellChange()
}

// wait notes how many calls of an app wait at a front, and how many run here as the front
// knows. Those of which nothing is known here are on their way, and need what is kept.
func (s *slots) wait(f *frontSlots, app string, waiting, running int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps[app] == nil || f.conns == 0 {
		return
	}
	mine := s.of(f, app)
	s.setWaiting(mine, waiting, max(running-mine.yours, 0))
	s.handOut()
	s.tellChange()
}

// setWaiting notes how many calls wait and how many are on their way. The lock is held.
func (s *slots) setWaiting(mine *frontApp, waiting, coming int) {
	switch i := slices.Index(s.turn, mine); {
	case waiting > 0 && i < 0:
		s.turn = append(s.turn, mine)
	case waiting == 0 && i >= 0:
		s.turn = slices.Delete(s.turn, i, i+1)
	}
	mine.waiting = waiting
	if mine.kept > waiting+coming {
		s.release(mine, mine.kept-waiting-coming)
	}
}

// handOut keeps free slots for the calls that wait. The lock is held.
func (s *slots) handOut() {
	for i := s.next(); i >= 0; i = s.next() {
		mine := s.turn[i]
		s.turn = append(slices.Delete(s.turn, i, i+1), mine)
		s.keep(mine)
		mine.front.wake()
	}
	for _, mine := range s.turn {
		if s.free(mine.app) > 0 { // nobody else wants it
			mine.front.wake()
		}
	}
}

// next returns for whom the next slot is kept: of the fronts with the fewest slots here
// the one that waits longest. It is negative if there is no slot or no need. The lock is
// held.
func (s *slots) next() int {
	next, fewest := -1, 0
	for i, mine := range s.turn {
		n := mine.front.yours + mine.front.kept
		if mine.kept < mine.waiting && s.free(mine.app) > 0 && (next < 0 || n < fewest) && s.isWanted(mine.front, mine.app) {
			next, fewest = i, n
		}
	}
	return next
}

// isWanted reports whether calls of other fronts wait that could have a slot of an app in
// place of a front. They may be of other apps: these have the same workers. The lock is
// held.
func (s *slots) isWanted(f *frontSlots, app *count) bool {
	return slices.ContainsFunc(s.turn, func(other *frontApp) bool {
		return other.front != f && (other.app == app || other.app.free() > 0)
	})
}

// keep keeps a slot for a front. The lock is held.
func (s *slots) keep(mine *frontApp) {
	s.addKept(mine, 1)
	mine.granted++
	if mine.keep == nil {
		mine.keep = time.AfterFunc(keepTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if mine.kept > 0 {
				s.release(mine, mine.kept)
				s.handOut()
				s.tellChange()
			}
		})
	}
	mine.keep.Reset(keepTime)
}

// release ends the keeping of n slots. The lock is held.
func (s *slots) release(mine *frontApp, n int) {
	s.addKept(mine, -n)
	if mine.kept == 0 && mine.keep != nil {
		mine.keep.Stop()
	}
}

// addKept counts slots that are kept. The lock is held.
func (s *slots) addKept(mine *frontApp, n int) {
	mine.kept += n
	mine.front.kept += n
	mine.app.kept += n
	s.all.kept += n
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
		mine := s.of(f, app)
		mine.budget.set(share, mine.yours)
	}
	return l
}

// awaitNews waits until a front must be told of its load again. That is at once if
// calls wait there that could run, and if it was told more than is true. All else can
// be late: many fronts would get many messages.
func (s *slots) awaitNews(ctx context.Context, f *frontSlots, told load, hosts int) {
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
func (s *slots) lazyPause(hosts int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(lazyPause, time.Duration(max(len(s.fronts), hosts))*lazyShare), loadInterval)
}

// canRun reports whether calls wait at a front that can run now, though it does not
// know. The lock is held.
func (s *slots) canRun(f *frontSlots) bool {
	for _, mine := range s.turn {
		if mine.front != f {
			continue
		}
		told := mine.budget
		told.set(s.share(f, mine.app, mine), mine.yours)
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
	for name, app := range s.apps {
		l.Apps[name] = s.share(f, app, f.apps[name])
	}
	return l
}

// share returns the share of an app for a front. mine is what is known of both, or nil.
// The lock is held.
func (s *slots) share(f *frontSlots, app *count, mine *frontApp) share {
	one := share{Slots: app.slots, Free: s.free(app), Wanted: s.isWanted(f, app)}
	if one.Wanted {
		one.Free = 0
	}
	if mine != nil {
		one.Yours, one.Granted = mine.yours, mine.granted
		one.Free += mine.kept
	}
	return one
}
