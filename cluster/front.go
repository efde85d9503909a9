package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/rarelog"
	"github.com/gunicorn-go/dirty/internal/usercode"
	"github.com/gunicorn-go/dirty/server"
)

// The defaults of [FrontConfig].
const (
	DefaultMaxQueue = 1000
	DefaultMaxWait  = 30 * time.Second
	DefaultMaxCalls = 256
)

// FrontConfig says what a [Front] does. The zero value of each field but of Members,
// TLS and Plain stands for the default that its comment gives.
type FrontConfig struct {
	// Members tells where the agents are. It is needed.
	Members Members

	// TLS is the certificate. It is needed, unless Plain is set.
	TLS *TLS

	// Plain makes the front speak plain TCP, to agents that do: nobody checks who they
	// are, and whoever is on the way can read everything. TLS is not used then.
	Plain bool

	// Dial connects to the address of an agent, for networks of other kinds. It may be
	// called concurrently. TLS comes on top of it. By default it dials TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// MaxQueue is how many calls may wait for a free worker, by default
	// [DefaultMaxQueue]; a negative number is none. More are refused at once.
	MaxQueue int

	// MaxWait is how long a call waits for a free worker, by default
	// [DefaultMaxWait]. Then it is refused.
	MaxWait time.Duration

	// MaxCalls is how many calls the front has at one time on one host, and so how
	// many connections to it, by default [DefaultMaxCalls]. More wait as if no worker
	// were free.
	MaxCalls int

	// Stash keeps the tables of the stash for the callers of this front. By default
	// StashHost has them.
	Stash server.Store

	// StashHost is the host whose arbiter's stash the callers use. By default the
	// stash is refused: each arbiter has a stash of its own, and calls go to another
	// host each time.
	StashHost string

	// Limits bound the frames that pass.
	Limits dirty.Limits

	// Logger gets what callers are not told. By default the front does not log.
	Logger *slog.Logger
}

// Front sends calls to the hosts with free workers. It is a [server.FrameHandler], for
// clients at a socket of package server, and has a [Front.Dialer] for clients in the
// same process.
//
// If no worker is free, calls wait in the order in which they came. A call whose caller
// leaves waits no longer. A call that no host can take gets a [dirty.ErrNoWorkers] that
// says why. It has not run, see [client.SafeToRetry].
//
// Its methods may be called concurrently.
type Front struct {
	cfg    FrontConfig
	local  *server.Server // of clients in this process
	stash  *client.Client // of the Store; nil: there is none
	keeper *server.Server // of the Store
	log    *rarelog.Logger

	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	listed bool // Members have given a list
	hosts  []*host
	queue  queue

	queueChanged chan struct{} // tells tellAgents that other numbers of calls wait
}

// NewFront returns a front, which connects to the agents from now on. End it with
// Close.
func NewFront(cfg FrontConfig) (*Front, error) {
	switch {
	case cfg.Members == nil:
		return nil, errorf("cluster.NewFront: Members is not set")
	case cfg.TLS == nil && !cfg.Plain:
		return nil, errorf("cluster.NewFront: TLS is not set; set Plain to do without")
	case cfg.MaxWait < 0 || cfg.MaxCalls < 0:
		return nil, errorf("cluster.NewFront: MaxWait %v and MaxCalls %d must not be negative", cfg.MaxWait, cfg.MaxCalls)
	}
	if err := cfg.Limits.Validate(); err != nil {
		return nil, err
	}
	if !cfg.Plain {
		if _, err := cfg.TLS.name(frontSuffix); err != nil {
			return nil, errorf("cluster.NewFront: %w", err)
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	cfg.MaxQueue = max(cmp.Or(cfg.MaxQueue, DefaultMaxQueue), 0)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, DefaultMaxWait)
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, DefaultMaxCalls)
	f := &Front{cfg: cfg, queueChanged: make(chan struct{}, 1)}
	f.local = &server.Server{FrameHandler: f, MaxConns: -1, Limits: cfg.Limits, Logger: cfg.Logger}
	if cfg.Stash != nil {
		f.keeper = &server.Server{Stash: cfg.Stash, MaxConns: -1, Limits: cfg.Limits, Logger: cfg.Logger}
		var err error
		if f.stash, err = newClient(f.keeper, client.WithTimeout(0), client.WithMaxConns(maxLocalConns), client.WithLimits(cfg.Limits)); err != nil {
			return nil, err
		}
	}
	f.life, f.end = context.WithCancel(context.Background())
	f.log = rarelog.New(cfg.Logger, nil).Until(f.life)
	f.running.Go(f.watch)
	f.running.Go(f.tellAgents)
	return f, nil
}

// Dialer returns a Dialer for [client.WithDialer]. Its connections lead to the front
// in this process; the path does not matter. See [Front.Client].
func (f *Front) Dialer() client.Dialer { return dialInMemory(f.local) }

// Client returns a client that calls through the front. The options are those of
// [client.New].
func (f *Front) Client(opts ...client.Option) (*client.Client, error) {
	return newClient(f.local, opts...)
}

// Close ends the front at once. Callers of what runs do not know the outcome. It waits
// for Members.Watch to return, but for a second at most.
func (f *Front) Close() error {
	f.mu.Lock()
	f.closed = true
	for app := range f.queue.apps {
		f.refuseAll(app, "the front is closed")
	}
	f.mu.Unlock()
	f.end()
	err := f.local.Close()
	if f.stash != nil {
		_ = f.stash.Close() // always nil
		err = errors.Join(err, f.keeper.Close())
	}
	f.running.Wait()
	f.log.WriteRest()
	f.cfg.TLS.writeRest()
	return err
}

// ServeFrame answers a frame of a caller, for [server.Server.FrameHandler].
func (f *Front) ServeFrame(ctx context.Context, w *server.ResponseWriter, frame dirty.Frame) error {
	switch frame.Type {
	case dirty.TypeRequest:
		if app := appOf(frame); app != statusApp {
			return f.call(ctx, w, frame, app)
		}
		return w.Respond(f.Status())
	case dirty.TypeStatus:
		return w.Respond(f.workers(ctx))
	case dirty.TypeStash:
		return f.useStash(ctx, w, frame)
	case dirty.TypeManage:
		return &dirty.RemoteError{Type: dirty.ClassError,
			Message: "a front of several hosts adds and removes no workers: ask the host itself, or use Front.Manage; nothing was changed"}
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
	}
	return &dirty.RemoteError{Type: dirty.ClassWorker, Message: "Unknown message type: " + frame.Type.String()}
}

// call sends a request to one host after the other, until one takes it.
func (f *Front) call(ctx context.Context, w *server.ResponseWriter, frame dirty.Frame, app string) error {
	var until time.Time // how long it may wait
	for again := false; ; again = true {
		l, err := f.acquire(ctx, app, &until, again)
		if err != nil {
			return err
		}
		taken, err := f.try(ctx, w, frame, app, l)
		if taken {
			return err
		}
	}
}

// try sends a request to a host. It reports whether that has taken it, or may have.
func (f *Front) try(ctx context.Context, w *server.ResponseWriter, frame dirty.Frame, app string, l *link) (taken bool, err error) {
	defer func() { f.release(l, app) }()
	answers := &frontAnswers{ResponseWriter: w, id: l.id}
	err = forward(ctx, l.calls, frame, answers)
	taken = !answers.refused
	if answers.refused {
		f.noteRefusal(l, app, answers.refusal)
	}
	if isUnsent(err) && ctx.Err() == nil {
		taken = false
		f.noteFailure(l, err)
	}
	return taken, err
}

// frontAnswers passes an agent's answers on, but for a refusal.
type frontAnswers struct {
	*server.ResponseWriter
	id      string // of the link
	refused bool
	refusal refusal
}

// Frame passes an answer on. A large one goes to FrameFrom, which it has from the
// ResponseWriter.
func (a *frontAnswers) Frame(f dirty.Frame) error {
	if r, ok := readRefusal(f, a.id); ok {
		a.refusal, a.refused = r, true
		return nil
	}
	return a.ResponseWriter.Frame(f)
}

// acquire picks a host with a free slot, and waits for one if there is none.
func (f *Front) acquire(ctx context.Context, app string, until *time.Time, again bool) (*link, error) {
	if until.IsZero() {
		*until = time.Now().Add(f.cfg.MaxWait)
	} else if !time.Now().Before(*until) { // hosts have refused it all the time
		return nil, tooLong(app, f.cfg.MaxWait)
	}
	f.mu.Lock()
	if f.queue.next(app) == nil || again {
		if l := f.pick(app); l != nil {
			l.start(app)
			f.mu.Unlock()
			return l, nil
		}
	}
	if reason := f.whyNot(app, again); reason != "" {
		f.mu.Unlock()
		return nil, refused(app, reason)
	}
	waiter := f.queue.push(app, again)
	f.tellWaiting()
	f.mu.Unlock()
	err := waiter.await(ctx, *until, f.cfg.MaxWait)
	if err == nil {
		return waiter.to, nil
	}
	f.leave(waiter)
	return nil, err
}

// leave takes a call out that waits no more. If it has got a slot at that moment, it
// gives the slot back.
func (f *Front) leave(w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !w.isServed() {
		f.queue.remove(w)
		f.tellWaiting()
	} else if w.to != nil {
		f.finish(w.to, w.app)
	}
}

// whyNot returns why a call must not wait, or "". The lock is held.
func (f *Front) whyNot(app string, again bool) string {
	switch {
	case f.closed:
		return "the front is closed"
	case !f.mayCome(app):
		return "no host has it"
	case f.queue.length >= f.cfg.MaxQueue && !again:
		return fmt.Sprintf("%d calls wait already, which is the most", f.queue.length)
	}
	return ""
}

// refused is the error of a call that was sent nowhere.
func refused(app, reason string) error {
	return &dirty.RemoteError{Type: dirty.ClassNoWorkersAvailable, Details: map[string]any{"app_path": app},
		Message: "No workers available for app: " + app + ": " + reason + "; nothing ran"}
}

// pick returns the host with the most free slots for an app, any of them if there are
// several, and nil if there is none. If very many hosts have free slots it looks only at
// some of them, at random. The lock is held.
func (f *Front) pick(app string) *link {
	if len(f.hosts) == 0 {
		return nil
	}
	var best *link
	most, equal, seen := 0, 0, 0
	first := rand.IntN(len(f.hosts))
	for i := range f.hosts {
		h := f.hosts[(first+i)%len(f.hosts)]
		n := h.free(app)
		if n <= 0 {
			continue
		}
		if n > most {
			most, equal = n, 0
		}
		if n == most {
			equal++
			if rand.IntN(equal) == 0 {
				best = h.link
			}
		}
		if seen++; seen == maxPick {
			break
		}
	}
	return best
}

// maxPick is among how many hosts with free slots one is picked.
const maxPick = 64

// mayCome reports whether a slot for an app may become free: a host has the app, or it
// is not known yet what a host has. The lock is held.
func (f *Front) mayCome(app string) bool {
	return !f.listed || slices.ContainsFunc(f.hosts, func(h *host) bool { return h.mayHave(app) })
}

// release notes that a call to a host has ended.
func (f *Front) release(l *link, app string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(l, app)
}

// finish is release with the lock held.
func (f *Front) finish(l *link, app string) {
	l.finish(app)
	f.serve(l)
	l.host.endIfRetired()
}

// serve gives the free slots of a host to the calls that wait. The lock is held.
func (f *Front) serve(l *link) {
	for app := range f.queue.apps {
		for w := f.queue.next(app); w != nil && l.host.link == l && l.host.free(app) > 0; w = f.queue.next(app) {
			l.start(app)
			f.queue.serve(w, l, nil)
			f.tellWaiting()
		}
	}
}

// refuseHopeless ends the waits for apps that no host has any more. The lock is held.
func (f *Front) refuseHopeless() {
	for app := range f.queue.apps {
		if !f.mayCome(app) {
			f.refuseAll(app, "no host has it any more")
		}
	}
}

// refuseAll ends the waits for an app. The lock is held.
func (f *Front) refuseAll(app, reason string) {
	for w := f.queue.next(app); w != nil; w = f.queue.next(app) {
		f.queue.serve(w, nil, refused(app, reason))
		f.tellWaiting()
	}
}

// tellWaiting has the agents told soon how many calls wait.
func (f *Front) tellWaiting() {
	select {
	case f.queueChanged <- struct{}{}:
	default:
	}
}

// tellAgents has the agents told how many calls wait, whenever that has changed. The first
// change is told at once. Those that follow are told together: there is a number for each
// host.
func (f *Front) tellAgents() {
	for {
		select {
		case <-f.queueChanged:
		case <-f.life.Done():
			return
		}
		sleep(f.life, time.Duration(f.noteWaiting())*waitShare)
	}
}

// waitShare is the time between two changes that are told, for each host.
const waitShare = 5 * time.Microsecond

// noteWaiting notes for each host what its agent is to be told. It returns how many there are.
func (f *Front) noteWaiting() (hosts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.hosts {
		if h.link != nil {
			h.link.noteWaiting(&f.queue)
		}
	}
	return len(f.hosts)
}

// useStash answers a message for the stash.
func (f *Front) useStash(ctx context.Context, w *server.ResponseWriter, frame dirty.Frame) error {
	switch {
	case f.stash != nil:
		return forward(ctx, f.stash, frame, w)
	case f.cfg.StashHost == "":
		return &dirty.RemoteError{Type: dirty.ClassStash,
			Message: "this front has no stash: set a Stash or a StashHost for it; nothing was changed"}
	}
	l, err := f.named(f.cfg.StashHost)
	if err != nil {
		return &dirty.RemoteError{Type: dirty.ClassStash, Message: "the stash cannot be reached: " + err.Error() + "; nothing was changed"}
	}
	return forward(ctx, l.calls, frame, w)
}

// Manage adds or removes workers of one host, by name. The error of a host that is not
// there says so; others are those of [client.Client.AddWorkers].
func (f *Front) Manage(ctx context.Context, host string, op dirty.ManageOp, count int) (*client.ScaleResult, error) {
	l, err := f.named(host)
	if err != nil {
		return nil, err
	}
	switch op {
	case dirty.ManageAdd:
		return l.calls.AddWorkers(ctx, count)
	case dirty.ManageRemove:
		return l.calls.RemoveWorkers(ctx, count)
	}
	return nil, errorf("there is no manage operation %d", op)
}

// named returns the connection to a host, by name.
func (f *Front) named(name string) (*link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.hosts {
		if h.link != nil && h.name() == name {
			return h.link, nil
		}
	}
	return nil, fmt.Errorf("there is no host %q", name)
}

// watch keeps the hosts the same as those of the Members.
func (f *Front) watch() {
	for f.life.Err() == nil {
		err := usercode.CallUntil(f.life, patience, userCode{}, "Members.Watch", func() error { return f.cfg.Members.Watch(f.life, f.setMembers) })
		if f.life.Err() == nil {
			f.log.Write(slog.LevelWarn, "dirty: the list of agents cannot be watched, it stays as it is", slog.Any("error", err))
		}
		sleep(f.life, watchPause)
	}
}

// watchPause is the time between two calls of Members.Watch.
const watchPause = time.Second

// setMembers takes a new list.
func (f *Front) setMembers(members []Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.listed = true
	wanted := map[string]Member{}
	for _, m := range members {
		wanted[m.Addr] = m
	}
	for _, h := range slices.Clone(f.hosts) {
		m, stays := wanted[h.member.Addr]
		if stays && !h.isOther(m) {
			delete(wanted, m.Addr)
			continue
		}
		h.retire()
	}
	for _, m := range members {
		if _, isNew := wanted[m.Addr]; isNew {
			delete(wanted, m.Addr)
			f.addHost(m)
		}
	}
	f.refuseHopeless()
}
