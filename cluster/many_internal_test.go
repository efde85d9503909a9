package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// many is a number of hosts or fronts of which nobody should notice much.
const many = 1000

// newLinkedMany returns a front with many hosts that are connected and have so many slots.
func newLinkedMany(hosts, slots int, app string) *Front {
	f := &Front{cfg: FrontConfig{MaxCalls: DefaultMaxCalls, MaxQueue: DefaultMaxQueue, MaxWait: DefaultMaxWait}, listed: true}
	all := share{Slots: slots, Free: slots}
	for i := range hosts {
		h := &host{front: f, end: func() {}}
		h.link = &link{host: h, id: fmt.Sprint(i), apps: map[string]*linkApp{}, waiting: map[string]int{}, tell: make(chan struct{}, 1)}
		f.hosts = append(f.hosts, h)
		h.link.setLoad(load{All: all, Apps: map[string]share{app: all}})
	}
	return f
}

// acquireNow gets a slot of a host, of which one is free.
func acquireNow(tb testing.TB, f *Front, app string) *link {
	var until time.Time
	l, err := f.acquire(context.Background(), app, &until, false)
	require.NoError(tb, err)
	return l
}

// TestPickSpreads checks that calls spread evenly over more hosts than a front looks at for
// one call, and that it finds the last free slot of all.
func TestPickSpreads(t *testing.T) {
	const hosts, slots, app = 4 * maxPick, 4, "app:A"
	f := newLinkedMany(hosts, slots, app)
	for range 2 * hosts {
		acquireNow(t, f, app)
	}
	few := 0
	for _, h := range f.hosts {
		if h.link.running < 2 {
			few++
		}
	}
	assert.Less(t, few, hosts/4, "hosts with fewer than two of their four slots taken")
	for range (slots - 2) * hosts {
		acquireNow(t, f, app)
	}
	assert.Nil(t, f.pick(app))
}

// TestToldWaiting checks that agents are told how many calls wait, up to the number of
// their slots, and that none is woken if it was told so before.
func TestToldWaiting(t *testing.T) {
	const slots, app = 2, "app:A"
	f := newLinkedMany(2, slots, app)
	isWoken := func(l *link) bool {
		select {
		case <-l.tell:
			return true
		default:
			return false
		}
	}
	var waiters []*waiter
	for _, step := range []struct {
		waiting int
		told    int
		woken   bool
	}{{0, 0, false}, {1, 1, true}, {1, 1, false}, {2, 2, true}, {5, 2, false}, {1, 1, true}, {0, 0, true}} {
		for ; len(waiters) < step.waiting; waiters = append(waiters, f.queue.push(app, false)) {
		}
		for ; len(waiters) > step.waiting; waiters = waiters[1:] {
			f.queue.remove(waiters[0])
		}
		assert.Equal(t, 2, f.noteWaiting())
		for _, h := range f.hosts {
			assert.Equal(t, step.told, h.link.waiting[app], step)
			assert.Equal(t, step.woken, isWoken(h.link), step)
		}
	}
}

// BenchmarkManyHosts measures what a front does for a call beside sending it. If all hosts
// are busy, each call waits for one that ends; "telling" is the part of that which is done
// for many calls together.
func BenchmarkManyHosts(b *testing.B) {
	const slots, app = 4, "app:A"
	for name, busy := range map[string]int{"free": 0, "half busy": many * slots / 2, "one free": many*slots - 1, "busy": many * slots} {
		b.Run(name, func(b *testing.B) {
			f := newLinkedMany(many, slots, app)
			var running []*link
			for range busy {
				running = append(running, acquireNow(b, f, app))
			}
			for b.Loop() {
				if busy < many*slots {
					running = append(running, acquireNow(b, f, app))
					f.release(running[0], app)
				} else {
					f.mu.Lock()
					w := f.queue.push(app, false)
					f.tellWaiting()
					f.mu.Unlock()
					f.release(running[0], app)
					running = append(running, w.to)
				}
				running = running[1:]
			}
		})
	}
	b.Run("telling", func(b *testing.B) {
		f := newLinkedMany(many, slots, app)
		for b.Loop() {
			w := f.queue.push(app, false)
			f.noteWaiting()
			f.queue.remove(w)
			f.noteWaiting()
		}
	})
}

// BenchmarkManyFronts measures what an agent does for a request beside passing it on, while
// calls of many fronts wait for its slots.
func BenchmarkManyFronts(b *testing.B) {
	const slots, app = 8, "app:A"
	s := newSlots()
	s.set(slots, map[string]int{app: slots})
	for i := range many {
		s.wait(s.enter(fmt.Sprint(i)), app, 1, 0)
	}
	var running []*slot
	take := func() {
		for _, mine := range slices.Backward(s.turn) {
			if mine.kept > 0 {
				taken, reason, _ := s.take(mine.front, app)
				require.NotNil(b, taken, reason)
				running = append(running, taken)
				return
			}
		}
		b.Fatal("no slot is kept")
	}
	for range slots {
		take()
	}
	for b.Loop() {
		running[0].give()
		running = running[1:]
		take()
	}
}
