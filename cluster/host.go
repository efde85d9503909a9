package cluster

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// host is an agent as a front sees it. The lock of the front guards all but the
// context.
type host struct {
	front  *Front
	member Member
	end    context.CancelFunc

	link    *link // nil while the agent is not connected
	tried   bool  // it is known whether the agent can be reached
	retired bool  // it is no member any more: what runs may end
	err     error // why there is no link

	had    map[string]share // the apps of a link that was lost
	lostAt time.Time        // when
}

// link is the connections to an agent, from the first message of its load to its
// silence. A new process of the agent's is another link.
type link struct {
	host    *host
	id      string         // by which the agent knows the calls of this link
	calls   *client.Client // the calls
	control *client.Client // the load, and what an agent is told

	name    string // of the host
	boot    string // of the agent's process
	load    load
	running int // calls of this front that have not ended
	budget  budget
	apps    map[string]*linkApp

	waiting map[string]int // what the agent is to be told
	tell    chan struct{}  // that waiting has changed
}

// linkApp is an app of a host.
type linkApp struct {
	running int // calls of this front that have not ended
	budget  budget
}

// The bounds of the connections to an agent.
const (
	silence      = 3 * time.Second // an agent that says nothing for so long is dropped
	dialTimeout  = 2 * time.Second
	idleTime     = time.Minute // of connections that wait for the next call
	maxReconnect = time.Second // the longest pause between two attempts

	answerTimeout = 30 * time.Second // for the rest of the answers of an agent that has ended
	minReconnect  = 20 * time.Millisecond

	maxLoadSize = 1 << 20 // bytes of a message about load
)

// addHost begins to connect to an agent. The lock is held.
func (f *Front) addHost(m Member) {
	ctx, end := context.WithCancel(f.life)
	h := &host{front: f, member: m, end: end}
	f.hosts = append(f.hosts, h)
	f.running.Go(func() { h.run(ctx) })
}

// countHosts returns how many hosts there are.
func (f *Front) countHosts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.hosts)
}

// run keeps the agent connected.
func (h *host) run(ctx context.Context) {
	defer h.remove()
	pause := minReconnect
	for ctx.Err() == nil {
		heard, err := h.connect(ctx)
		if heard {
			pause = minReconnect
		}
		if h.lost(err) && ctx.Err() == nil {
			h.front.log.WriteRarely(slog.LevelWarn, agentsAtOnce, "dirty: an agent is not connected", slog.String("addr", h.member.Addr), slog.Any("error", err))
		}
		sleep(ctx, pause/2+rand.N(pause))
		pause = min(2*pause, maxReconnect)
	}
}

// agentsAtOnce is how many agents may be lost at once with a line for each.
const agentsAtOnce = 10

// connect connects, and listens to the load until the agent is silent.
func (h *host) connect(ctx context.Context) (heard bool, err error) {
	l := &link{host: h, id: cryptorand.Text(), apps: map[string]*linkApp{},
		waiting: map[string]int{}, tell: make(chan struct{}, 1)}
	limits := h.front.cfg.Limits
	l.calls, err = h.newClient(l, client.WithLimits(limits), client.WithMaxConns(h.front.cfg.MaxCalls+extraConns),
		client.WithMaxIdle(h.front.cfg.MaxCalls, idleTime))
	if err != nil {
		return false, err
	}
	defer l.calls.Close()
	l.control, err = h.newClient(l, client.WithLimits(dirty.Limits{MaxPayload: maxLoadSize}),
		client.WithStreamTimeout(silence), client.WithMaxIdle(1, idleTime))
	if err != nil {
		return false, err
	}
	defer l.control.Close()
	for {
		begin := time.Now()
		n, err := l.listen(ctx)
		heard = heard || n > 0
		if err == errEnded {
			l.awaitAnswers(ctx)
		}
		// If only this one connection was lost, the agent answers on another.
		if n == 0 || err == errEnded || errors.Is(err, client.ErrTimeout) {
			return heard, err
		}
		if time.Since(begin) < loadInterval {
			sleep(ctx, minReconnect) // in case it goes on like this
		}
	}
}

// errEnded is the end of an agent that has nothing left to do.
var errEnded = errors.New("the agent has ended")

// awaitAnswers waits for the rest of answers that an agent had written when it ended.
func (l *link) awaitAnswers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for l.countRunning() > 0 && sleep(ctx, minReconnect) {
	}
}

// countRunning returns how many calls run.
func (l *link) countRunning() int {
	l.host.front.mu.Lock()
	defer l.host.front.mu.Unlock()
	return l.running
}

// countRunningOf returns how many calls of an app run.
func (l *link) countRunningOf(app string) int {
	l.host.front.mu.Lock()
	defer l.host.front.mu.Unlock()
	if a := l.apps[app]; a != nil {
		return a.running
	}
	return 0
}

// listen listens to the load until something is wrong with the connection. It returns
// how many messages came.
func (l *link) listen(ctx context.Context) (n int, err error) {
	ctx, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { l.tellAgent(ctx) })
	defer telling.Wait()
	defer stop()
	for next, err := range client.StreamOf[load](ctx, l.control, agentApp, actionLoad, l.host.front.countHosts()) {
		if err != nil {
			return n, err
		}
		n++
		l.host.setLoad(l, next)
	}
	return n, errEnded
}

// extraConns are connections beside those of the calls: for the stash, and to manage
// workers.
const extraConns = 32

// newClient returns a client of the agent. Calls have no bound here: an agent bounds
// its requests, and one that is silent is dropped.
func (h *host) newClient(l *link, opts ...client.Option) (*client.Client, error) {
	ours := []client.Option{client.WithSocket(h.member.Addr), client.WithDialer(l.dial),
		client.WithPeerCheck(false), client.WithDialTimeout(dialTimeout), client.WithTimeout(0), client.WithStreamTimeout(0)}
	return client.New(append(ours, opts...)...)
}

// remove takes the host from the front.
func (h *host) remove() {
	f := h.front
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts = slices.DeleteFunc(f.hosts, func(other *host) bool { return other == h })
	f.refuseHopeless()
}

// lost notes that the agent is not connected. It reports whether that is new.
func (h *host) lost(err error) bool {
	f := h.front
	f.mu.Lock()
	defer f.mu.Unlock()
	isNew := h.link != nil || !h.tried
	if h.link != nil {
		h.had, h.lostAt = h.link.load.Apps, time.Now()
		time.AfterFunc(silence, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refuseHopeless()
		})
	}
	h.link, h.tried, h.err = nil, true, err
	h.endIfRetired()
	f.refuseHopeless()
	return isNew
}

// setLoad notes what the agent has told.
func (h *host) setLoad(l *link, next load) {
	f := h.front
	f.mu.Lock()
	defer f.mu.Unlock()
	h.link, h.tried, h.err = l, true, nil
	l.setLoad(next)
	f.serve(l)
	l.noteWaiting(&f.queue)
	f.refuseHopeless()
}

// retire takes no new calls to the host, and ends it when those that run have ended.
// The lock is held.
func (h *host) retire() {
	h.retired = true
	h.endIfRetired()
}

// endIfRetired ends a host that is no member and has no calls. The lock is held.
func (h *host) endIfRetired() {
	if h.retired && (h.link == nil || h.link.running == 0) {
		h.end()
	}
}

// isOther reports whether a member at the same address is another agent than this one.
// The lock is held.
func (h *host) isOther(m Member) bool {
	if h.member.Boot == "" {
		h.member.Boot = m.Boot // only now it is known
	}
	return h.retired || h.member.Host != m.Host || m.Boot != "" && m.Boot != h.member.Boot
}

// name returns the name of the host, as far as it is known. The lock is held.
func (h *host) name() string {
	if h.link != nil {
		return h.link.name
	}
	return h.member.Host
}

// mayHave reports whether the host has an app, or may have it soon: it is not reached
// yet, or it leaves or was lost just now, and may be starting anew. The lock is held.
func (h *host) mayHave(app string) bool {
	apps, may := h.had, time.Since(h.lostAt) < silence
	switch {
	case h.retired:
		return false
	case h.link != nil:
		apps, may = h.link.load.Apps, true
	case !h.tried:
		return true
	}
	_, has := apps[app]
	return has && may
}

// free returns how many calls of an app the host can take now. The lock is held.
func (h *host) free(app string) int {
	l := h.link
	if l == nil || h.retired || l.load.Leaving {
		return 0
	}
	a := l.apps[app]
	if a == nil {
		return 0
	}
	free := min(a.budget.left, h.front.cfg.MaxCalls-l.running)
	if !a.budget.wanted || l.budget.wanted { // else a slot is kept
		free = min(free, l.budget.left)
	}
	return free
}

// setLoad notes what the agent has told. An app that it does not name any more is
// forgotten, unless calls of it run. The lock is held.
func (l *link) setLoad(next load) {
	l.load = next
	l.budget.set(next.All, l.running)
	for app, a := range l.apps {
		if _, told := next.Apps[app]; !told && a.running == 0 {
			delete(l.apps, app)
		} else if !told {
			a.budget.exhaust()
		}
	}
	for app, share := range next.Apps {
		a := l.apps[app]
		if a == nil {
			a = &linkApp{}
			l.apps[app] = a
		}
		a.budget.set(share, a.running)
	}
}

// start and finish count a call. The lock is held.
func (l *link) start(app string) {
	l.running++
	l.budget.start()
	l.apps[app].running++
	l.apps[app].budget.start()
}

func (l *link) finish(app string) {
	l.running--
	l.budget.finish()
	l.apps[app].running--
	l.apps[app].budget.finish()
}

// noteRefusal notes that an agent had no free slot at that load.
func (f *Front) noteRefusal(l *link, app string, r refusal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Seq >= l.load.Seq {
		l.apps[app].budget.exhaust() // until the next load
	}
}

// noteFailure notes that nothing could be sent to an agent. It is not tried again
// before it tells of itself.
func (f *Front) noteFailure(l *link, err error) {
	f.mu.Lock()
	l.budget.exhaust()
	f.mu.Unlock()
	f.log.WriteRarely(slog.LevelWarn, 1, "dirty: a call could not be sent", slog.String("addr", l.host.member.Addr), slog.Any("error", err))
}

// noteWaiting has the agent told how many calls of each app wait, up to the number of its
// slots, if that is not what it was to be told before. The lock of the front is held.
func (l *link) noteWaiting(q *queue) {
	changed := false
	note := func(app string) {
		waiting := min(q.waiting(app), l.load.Apps[app].Slots)
		if l.waiting[app] != waiting {
			l.waiting[app], changed = waiting, true
		}
	}
	for app := range l.waiting {
		note(app)
	}
	for app := range q.apps {
		note(app)
	}
	if changed {
		select {
		case l.tell <- struct{}{}:
		default:
		}
	}
}

// dial connects to the agent, and introduces the front.
func (l *link) dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := l.host.front.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	name := l.host.member.Host
	if !l.host.front.cfg.Plain {
		cfg, err := l.host.front.cfg.TLS.client(name)
		if err != nil {
			_ = nc.Close()
			return nil, err
		}
		c, err := clientConn(ctx, nc, cfg)
		if err != nil {
			return nil, err
		}
		name = agentName(c)
		nc = c
	}
	w, err := l.introduce(ctx, nc)
	if err == nil {
		err = l.meet(w, name)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("the agent at %s: %w", addr, err)
	}
	return nc, nil
}

// agentName returns the name in the certificate of an agent. It was checked.
func agentName(c net.Conn) string {
	state := c.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState()
	name, _ := nameOf(state.PeerCertificates[0], agentSuffix)
	return name
}

// introduce makes the first request of a connection.
func (l *link) introduce(ctx context.Context, nc net.Conn) (w welcome, err error) {
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	c := dirty.NewConn(nc, dirty.WithLimits(dirty.Limits{MaxPayload: maxLoadSize}))
	request := dirty.NewRequest(rand.Uint64(), agentApp, actionHello, []any{hello{Front: l.id, Version: version}}, nil)
	if err := c.WriteMessage(request); err != nil {
		return w, err
	}
	f, err := c.ReadFrame()
	if err != nil {
		return w, err
	}
	if text, isError := dirty.View(f.Payload).Get("error").Get("message").Text(); isError && f.Type == dirty.TypeError {
		return w, fmt.Errorf("it refuses this front: %.300s", text)
	}
	if f.Type != dirty.TypeResponse || f.RequestID != request.ID {
		return w, fmt.Errorf("it has answered with %v, so it is no agent of version %d", f.Type, version)
	}
	return w, dirty.View(f.Payload).Get("result").Unmarshal(&w)
}

// meet notes which agent has answered. All connections are to one process of it.
func (l *link) meet(w welcome, name string) error {
	l.host.front.mu.Lock()
	defer l.host.front.mu.Unlock()
	if l.boot != "" && l.boot != w.Boot {
		return errors.New("it was started anew")
	}
	l.name, l.boot = cmp.Or(name, w.Host), w.Boot
	return nil
}

// tellAgent tells the agent how many calls wait, whenever that has changed. What
// could not be told is told a second later.
func (l *link) tellAgent(ctx context.Context) {
	told := map[string]int{}
	tick := time.NewTicker(loadInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.tell:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for app, waiting := range l.wanted() {
			if n, known := told[app]; known && n == waiting {
				continue
			}
			bound, cancel := context.WithTimeout(ctx, silence)
			_, err := l.control.Execute(bound, agentApp, actionWait, app, waiting, l.countRunningOf(app))
			cancel()
			if err == nil {
				told[app] = waiting
			}
		}
	}
}

// wanted returns what the agent is to be told.
func (l *link) wanted() map[string]int {
	l.host.front.mu.Lock()
	defer l.host.front.mu.Unlock()
	return maps.Clone(l.waiting)
}
