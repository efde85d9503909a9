package dirtynats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty/cluster"
	"github.com/nats-io/nats.go"
)

// DefaultInterval is the default of Members.Interval.
const DefaultInterval = 5 * time.Second

const (
	// silentIntervals is how many intervals an agent may be silent.
	silentIntervals = 4
	// MaxMembers bounds how many agents a front keeps. More are ignored.
	MaxMembers = 10_000
	// maxAnnouncement bounds an announcement in bytes. Larger ones are ignored.
	maxAnnouncement = 4 << 10
	// servePause is the time between two looks whether an agent serves already.
	servePause = 10 * time.Millisecond
	// farewellTimeout bounds how long Announce tries to say that the agent leaves.
	farewellTimeout = time.Second
)

// Members are [cluster.Members] that tell of themselves over NATS: each agent runs
// Announce, and each front uses the same Members. Plain NATS is enough, without
// JetStream.
//
// An agent is on the list at once when it starts, and off it at once when it leaves. One
// that falls silent for four intervals is taken off, but only if others were heard in
// that time. If nobody is heard, NATS is away, and the last list stays.
//
// An agent publishes to dirty.agents.NAME, and subscribes to dirty.agents.NAME.ask, where
// it answers. A front subscribes to the first and to its inbox, and publishes to the
// second.
//
// Whoever may publish in NATS can add addresses to the list. So give fronts
// certificates, by which they know agents: see [cluster.TLS].
//
// The methods may be called concurrently.
type Members struct {
	// Conn is the connection to NATS. It is needed, and is not closed.
	Conn *nats.Conn

	// Name tells one cluster from another: letters, digits, "-" and "_". The empty one
	// stands for "default".
	Name string

	// Interval is the time between two announcements of an agent; by default
	// DefaultInterval. Fronts and agents must have the same one.
	Interval time.Duration
}

var _ cluster.Members = (*Members)(nil)

// Agent is what Announce tells of, such as a [cluster.Agent].
type Agent interface {
	Member() cluster.Member
	Leaving() <-chan struct{}
}

var _ Agent = (*cluster.Agent)(nil)

// announcement is what an agent says of itself.
type announcement struct {
	Addr    string `json:"addr"`
	Host    string `json:"host,omitempty"`
	Boot    string `json:"boot,omitempty"`
	Leaving bool   `json:"leaving,omitempty"`
}

var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// Validate returns an error if a field has a value that Watch and Announce refuse.
func (m *Members) Validate() error {
	switch {
	case m.Conn == nil:
		return errors.New("dirtynats: Members has no Conn")
	case !clusterName.MatchString(m.name()):
		return fmt.Errorf("dirtynats: the name of the cluster is %q, not 1 to 100 of A-Z, a-z, 0-9, - and _", m.name())
	case m.Interval < 0:
		return fmt.Errorf("dirtynats: Interval is %v, less than 0", m.Interval)
	}
	return nil
}

func (m *Members) name() string { return cmp.Or(m.Name, "default") }

// subjects returns where agents announce themselves, and where fronts ask them to.
func (m *Members) subjects() (announce, ask string) {
	announce = "dirty.agents." + m.name()
	return announce, announce + ".ask"
}

func (m *Members) interval() time.Duration { return cmp.Or(m.Interval, DefaultInterval) }

// Announce tells fronts of an agent, as soon as that serves, until ctx ends or the agent
// leaves. Then it says so, and returns nil. It goes on while NATS is away. It returns an
// error if it cannot begin, or if the connection is closed for good.
func (m *Members) Announce(ctx context.Context, agent Agent) error {
	if err := m.Validate(); err != nil {
		return err
	}
	announce, ask := m.subjects()
	asked := make(chan *nats.Msg, 64)
	sub, err := m.Conn.ChanSubscribe(ask, asked)
	if err != nil {
		return fmt.Errorf("dirtynats: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	connected := m.Conn.StatusChanged(nats.CONNECTED)
	defer m.Conn.RemoveStatusListener(connected)
	ticker := time.NewTicker(servePause) // until the agent serves
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			m.leave(announce, agent)
			return nil
		case <-agent.Leaving():
			m.leave(announce, agent)
			return nil
		case request := <-asked:
			m.say(request.Reply, agent.Member(), false)
		case <-connected:
			m.say(announce, agent.Member(), false)
		case <-ticker.C:
			if m.say(announce, agent.Member(), false) {
				ticker.Reset(m.interval())
			}
			if m.Conn.IsClosed() {
				return fmt.Errorf("dirtynats: %w", nats.ErrConnectionClosed)
			}
		}
	}
}

// say publishes an announcement, and reports whether there was something to say: an agent
// that does not serve yet has no address. It is lost while NATS is away, and said again
// later.
func (m *Members) say(subject string, member cluster.Member, leaving bool) bool {
	if member.Addr == "" || subject == "" {
		return false
	}
	data, err := json.Marshal(announcement{member.Addr, member.Host, member.Boot, leaving})
	if err == nil {
		_ = m.Conn.Publish(subject, data)
	}
	return true
}

func (m *Members) leave(subject string, agent Agent) {
	m.say(subject, agent.Member(), true)
	_ = m.Conn.FlushTimeout(farewellTimeout) // or the program ends before it is sent
}

// Watch keeps the list of the agents that announce themselves.
func (m *Members) Watch(ctx context.Context, set func([]cluster.Member)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	announce, ask := m.subjects()
	heard := make(chan *nats.Msg, MaxMembers)
	inbox := m.Conn.NewInbox()
	for _, subject := range []string{announce, inbox} {
		sub, err := m.Conn.ChanSubscribe(subject, heard)
		if err != nil {
			return fmt.Errorf("dirtynats: %w", err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	connected := m.Conn.StatusChanged(nats.CONNECTED)
	defer m.Conn.RemoveStatusListener(connected)
	ticker := time.NewTicker(m.interval())
	defer ticker.Stop()
	list := newRoster(m.interval()*silentIntervals, time.Now())
	_ = m.Conn.PublishRequest(ask, inbox, nil) // if NATS is away, it is asked on reconnecting
	for {
		changed := false
		select {
		case <-ctx.Done():
			return nil
		case msg := <-heard:
			changed = list.hear(msg.Data, time.Now())
		case <-connected:
			list.reconnected(time.Now())
			_ = m.Conn.PublishRequest(ask, inbox, nil)
		case <-ticker.C:
			changed = list.expire(time.Now())
			if m.Conn.IsClosed() {
				return fmt.Errorf("dirtynats: %w", nats.ErrConnectionClosed)
			}
		}
		if changed {
			set(list.members())
		}
	}
}

// roster is the list of a front.
type roster struct {
	silence time.Duration // how long an agent may be silent
	since   time.Time     // when the connection to NATS came up
	last    time.Time     // when any agent was heard
	entries map[string]entry
}

// entry is an agent, and when it was heard last.
type entry struct {
	member cluster.Member
	heard  time.Time
}

func newRoster(silence time.Duration, now time.Time) *roster {
	return &roster{silence: silence, since: now, last: now, entries: map[string]entry{}}
}

// hear takes an announcement, and reports whether the list has changed. Data that is no
// announcement is ignored.
func (r *roster) hear(data []byte, now time.Time) (changed bool) {
	var a announcement
	if len(data) > maxAnnouncement || json.Unmarshal(data, &a) != nil || a.Addr == "" {
		return false
	}
	r.last = now
	old, known := r.entries[a.Addr]
	if a.Leaving {
		if !known || old.member.Boot != a.Boot {
			return false // an earlier process at the same address
		}
		delete(r.entries, a.Addr)
		return true
	}
	if !known && len(r.entries) >= MaxMembers {
		return false
	}
	member := cluster.Member{Addr: a.Addr, Host: a.Host, Boot: a.Boot}
	r.entries[a.Addr] = entry{member, now}
	return !known || old.member != member
}

// reconnected says that nobody could be heard until now.
func (r *roster) reconnected(now time.Time) { r.since = now }

// expire removes agents that are silent while others are not, and reports whether there
// were any.
func (r *roster) expire(now time.Time) (changed bool) {
	if now.Sub(r.last) > r.silence/2 {
		return false // nobody is heard: NATS is away
	}
	for addr, e := range r.entries {
		if now.Sub(e.heard) > r.silence && now.Sub(r.since) > r.silence {
			delete(r.entries, addr)
			changed = true
		}
	}
	return changed
}

// members returns the list, sorted by address.
func (r *roster) members() []cluster.Member {
	var list []cluster.Member
	for e := range maps.Values(r.entries) {
		list = append(list, e.member)
	}
	slices.SortFunc(list, func(a, b cluster.Member) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}
