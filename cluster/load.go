package cluster

import (
	"maps"

	"github.com/gunicorn-go/dirty"
)

// The requests between fronts and agents are of an app that Python cannot have: the
// name of a module has no hyphen. Its actions are these.
const (
	agentApp = "dirty-cluster:Agent"

	// actionHello is the first request of each connection of a front. The argument
	// is a hello. So the agent knows which calls are of one front. The answer is a
	// welcome.
	actionHello = "hello"

	// actionLoad streams a load whenever it changes, and each second. The argument is
	// how many agents the front has: from many it must not get much from each.
	actionLoad = "load"

	// actionWait says how many calls of an app wait at the front, and how many it has
	// sent to this agent that have not ended. The arguments are the app and the two
	// numbers. The answer is None.
	actionWait = "wait"
)

// hello is how a front introduces itself.
type hello struct {
	Front   string `dirty:"front"`   // a random text, of at most maxFrontID bytes
	Version int    `dirty:"version"` // of these requests: version
}

// welcome is how an agent introduces itself.
type welcome struct {
	Host    string `dirty:"host"`
	Boot    string `dirty:"boot"`
	Version int    `dirty:"version"`
}

// version is the version of the requests between fronts and agents.
const version = 1

// maxFrontID bounds the id of a front, in bytes.
const maxFrontID = 64

// load is how busy a host is, as its agent tells one front.
type load struct {
	Seq     uint64           `dirty:"seq"` // grows with each change
	Leaving bool             `dirty:"leaving"`
	All     share            `dirty:"all"`
	Apps    map[string]share `dirty:"apps"`
}

// share is a part of a host's slots: all of them, or those of an app.
type share struct {
	Slots int `dirty:"slots"` // workers
	Free  int `dirty:"free"`  // slots that this front may take

	// Yours are the requests of this front that run and whose caller has not left.
	// By them the front knows which of its requests the agent had seen when it sent
	// this.
	Yours int `dirty:"yours"`

	// Wanted says that calls of other fronts wait. Then Free is only what is kept for
	// this front, and Granted is how often a slot was kept for it so far.
	Wanted  bool   `dirty:"wanted"`
	Granted uint64 `dirty:"granted"`
}

// budget is how many calls a front may start on a host, all of them or of an app.
type budget struct {
	left    int
	wanted  bool
	granted uint64
}

// set takes what an agent has told a front that has sent calls which have not ended.
//
// A call that the agent has not seen yet will take a slot. One that has ended since
// then has given its slot back. Where other fronts wait, it did not give it back to
// this one, so only the slots count that were kept for this one since the last time.
func (b *budget) set(s share, calls int) {
	left := s.Free + s.Yours - calls
	if s.Wanted {
		left = int(s.Granted - b.granted)
		if b.wanted {
			left += max(b.left, 0)
		}
		left = min(left, s.Free)
	}
	*b = budget{left, s.Wanted, s.Granted}
}

// start and finish count a call.
func (b *budget) start() { b.left-- }
func (b *budget) finish() {
	if !b.wanted {
		b.left++
	}
}

// exhaust notes that there is nothing left, whatever was told.
func (b *budget) exhaust() { b.left, b.wanted = 0, true }

// equal reports whether two loads say the same.
func (l load) equal(other load) bool {
	return l.Leaving == other.Leaving && l.All == other.All && maps.Equal(l.Apps, other.Apps)
}

// refusal is in the details of an error by which an agent refuses a request that it
// has not passed on. An error that an app has passed on from elsewhere is not taken
// for one, because it does not have the id of the front.
type refusal struct {
	Front string `dirty:"refused_for"`
	Seq   uint64 `dirty:"seq"` // of the load at that time
}

// readRefusal returns the refusal in an answer, if it is one for this front.
func readRefusal(f dirty.Frame, front string) (r refusal, ok bool) {
	if f.Type != dirty.TypeError {
		return r, false
	}
	details := dirty.View(f.Payload).Get("error").Get("details")
	id, _ := details.Get("refused_for").Text()
	if string(id) != front {
		return r, false
	}
	seq, _ := details.Get("seq").Int64()
	return refusal{Front: front, Seq: uint64(seq)}, true
}

// appOf returns the app of a request, without a look at its arguments: they can be many.
// A second app in the payload, which only a hostile client sends, does not count.
func appOf(f dirty.Frame) string {
	for key, v := range dirty.View(f.Payload).Entries() {
		if string(key) == "app_path" {
			app, _ := v.Text()
			return string(app)
		}
	}
	return ""
}
