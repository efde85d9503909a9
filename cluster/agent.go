package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/rarelog"
	"github.com/gunicorn-go/dirty/server"
)

// The defaults of [AgentConfig].
const (
	DefaultAnswerTimeout = 330 * time.Second // more than gunicorn's dirty_timeout of 300
	DefaultDrainTimeout  = 30 * time.Second
)

// AgentConfig says what an [Agent] does. The zero value of each field but of TLS and
// Plain stands for the default that its comment gives.
type AgentConfig struct {
	// Arbiter are options of the clients of the local arbiter, such as
	// [client.WithSocket]. By default the socket is GUNICORN_DIRTY_SOCKET.
	Arbiter []client.Option

	// Slots is how many requests run at one time. By default the status of the
	// arbiter says how many workers have each app. Set it for a Go server, which
	// tells one worker however many requests it can handle.
	Slots int

	// TLS is the certificate. It is needed, unless Plain is set.
	TLS *TLS

	// Plain makes the agent speak plain TCP: whoever reaches its port can call it,
	// and whoever is on the way can read everything. TLS is not used then.
	Plain bool

	// Host is the name of the host. By default it is that of the certificate, or of
	// the system.
	Host string

	// Advertise is the address that fronts are to dial, for [Agent.Member]. By default
	// it is that of the listener.
	Advertise string

	// AnswerTimeout bounds the time until the arbiter's first answer, and then
	// between two chunks; by default [DefaultAnswerTimeout]. It must be longer than
	// gunicorn's dirty_timeout. gunicorn can lose a request; until this time its slot
	// stays taken.
	AnswerTimeout time.Duration

	// StopAbandoned makes the agent leave a request when its caller leaves, and give
	// its slot back. A Go server ends the handler's context then. gunicorn cannot stop
	// an action, so for it the slot must stay taken until the answer comes; that is the
	// default.
	StopAbandoned bool

	// DrainTimeout is how long [Agent.Run] waits for requests that run when it is to
	// end; by default [DefaultDrainTimeout]. A negative one is no bound.
	DrainTimeout time.Duration

	// MaxConns is how many connections there may be, by default
	// [server.DefaultMaxConns].
	MaxConns int

	// Limits bound the frames that pass.
	Limits dirty.Limits

	// Logger gets what fronts are not told. By default the agent does not log.
	Logger *slog.Logger
}

// Agent lets fronts call the workers of its host. It passes a request on when a worker
// is free, and refuses it at once when none is: a refused request has not run. A slot
// is taken until the arbiter has answered, even if the caller has left.
//
// The stash, the status and the workers of the host's arbiter can be reached through
// it too.
//
// The methods may be called concurrently. An Agent serves one listener at a time, and
// cannot be used again after Shutdown or Close.
type Agent struct {
	cfg    AgentConfig
	boot   string
	slots  *slots
	server *server.Server
	calls  *client.Client // what is forwarded
	look   *client.Client // asks for the status, on a new connection each time
	log    *rarelog.Logger

	life    context.Context
	end     context.CancelFunc
	leaving chan struct{} // closed when Shutdown or Close begins
	leave   sync.Once
	tending sync.WaitGroup
	down    chan struct{} // tells tend that the arbiter could not be reached
	looked  chan struct{} // closed when tend has looked at the arbiter once

	mu   sync.Mutex
	addr string // of the listener
}

// NewAgent returns an agent. It looks at its arbiter from now on, so it must be ended
// with Shutdown or Close. The arbiter need not be there yet.
func NewAgent(cfg AgentConfig) (*Agent, error) {
	host, err := os.Hostname()
	switch {
	case cfg.Plain:
	case cfg.TLS == nil:
		return nil, errorf("cluster.NewAgent: TLS is not set; set Plain to do without")
	default:
		host, err = cfg.TLS.name(agentSuffix)
	}
	if cfg.Host == "" && err != nil {
		return nil, errorf("cluster.NewAgent: %w", err)
	}
	cfg.Host = cmp.Or(cfg.Host, host)
	if cfg.Slots < 0 || cfg.AnswerTimeout < 0 {
		return nil, errorf("cluster.NewAgent: Slots %d and AnswerTimeout %v must not be negative", cfg.Slots, cfg.AnswerTimeout)
	}
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, DefaultAnswerTimeout)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout)
	a := &Agent{cfg: cfg, boot: rand.Text(), slots: newSlots(),
		leaving: make(chan struct{}), down: make(chan struct{}, 1), looked: make(chan struct{})}
	a.calls, err = client.New(append(cfg.Arbiter[:len(cfg.Arbiter):len(cfg.Arbiter)],
		client.WithLimits(cfg.Limits), client.WithTimeout(cfg.AnswerTimeout), client.WithStreamTimeout(cfg.AnswerTimeout),
		client.WithMaxConns(maxLocalConns), client.WithMaxIdle(maxLocalIdle, client.DefaultIdleTime))...)
	if err != nil {
		return nil, err
	}
	// An idle connection would keep gunicorn from stopping in time.
	a.look, err = client.New(append(cfg.Arbiter[:len(cfg.Arbiter):len(cfg.Arbiter)],
		client.WithTimeout(lookTimeout), client.WithMaxIdle(0, 0))...)
	if err != nil {
		return nil, errors.Join(err, a.calls.Close())
	}
	a.life, a.end = context.WithCancel(context.Background())
	a.log = rarelog.New(cfg.Logger, nil).Until(a.life)
	a.server = &server.Server{FrameHandler: agentHandler{a}, MaxConns: cfg.MaxConns, Limits: cfg.Limits,
		Logger: cfg.Logger, ConnContext: a.connContext}
	a.tending.Go(a.tend)
	return a, nil
}

const (
	maxLocalConns = 1 << 16 // the slots bound the requests, MaxConns all others
	maxLocalIdle  = 64      // connections to the arbiter
	lookTimeout   = 2 * time.Second
)

// Member returns where the agent is, for Members that it tells of itself. Addr is ""
// before it serves, if it has no Advertise.
func (a *Agent) Member() Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Member{Addr: cmp.Or(a.cfg.Advertise, a.addr), Host: a.cfg.Host, Boot: a.boot}
}

// Leaving is closed when the agent takes no new requests any more. Members that it
// tells of itself should not have it from then on.
func (a *Agent) Leaving() <-chan struct{} { return a.leaving }

// Load returns how many requests can run at one time and how many more could now.
func (a *Agent) Load() (slots, free int) {
	a.slots.mu.Lock()
	defer a.slots.mu.Unlock()
	return a.slots.all.slots, max(a.slots.all.free(), 0)
}

// Run serves a listener, as Serve does, until ctx ends. Then it shuts down, for which
// it takes [AgentConfig.DrainTimeout] at most. It returns nil if all that ran has ended.
// It returns early with an error if it cannot serve.
func (a *Agent) Run(ctx context.Context, l net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- a.Serve(l) }()
	select {
	case err := <-served:
		return errors.Join(err, a.Close())
	case <-ctx.Done():
	}
	drain := context.WithoutCancel(ctx)
	if a.cfg.DrainTimeout > 0 {
		var cancel context.CancelFunc
		drain, cancel = context.WithTimeout(drain, a.cfg.DrainTimeout)
		defer cancel()
	}
	err := a.Shutdown(drain)
	<-served
	return err
}

// Serve serves a listener, such as that of [Listen], and closes it in the end. Its
// connections must not have TLS yet. It returns [server.ErrServerClosed] after Shutdown or Close.
func (a *Agent) Serve(l net.Listener) error {
	a.mu.Lock()
	a.addr = l.Addr().String()
	a.mu.Unlock()
	if a.cfg.Plain {
		return a.server.Serve(l)
	}
	return a.server.Serve(newHandshakes(l, a.cfg.TLS.server(), func(from net.Addr, err error) {
		a.log.WriteRarely(slog.LevelWarn, 1, "dirty: a connection was refused", slog.String("from", from.String()), slog.Any("error", err))
	}))
}

// Shutdown makes the agent take no new requests, tells the fronts, waits for those
// that run, and ends. If ctx ends before that, it ends at once, and the callers of what
// runs do not know the outcome.
func (a *Agent) Shutdown(ctx context.Context) error {
	a.startLeaving()
	err := a.drain(ctx)
	return errors.Join(err, a.Close())
}

// Close ends the agent at once. What runs goes on in the arbiter, but nobody gets its
// result.
func (a *Agent) Close() error {
	a.startLeaving()
	a.end()
	err := a.server.Close()
	_ = a.calls.Close() // always nil
	_ = a.look.Close()
	a.tending.Wait()
	// It waits for handlers, which have nothing to wait for any more.
	err = errors.Join(err, a.server.Shutdown(context.Background()))
	a.log.WriteRest()
	a.cfg.TLS.writeRest()
	return err
}

func (a *Agent) startLeaving() {
	a.leave.Do(func() {
		close(a.leaving)
		a.slots.leave()
	})
}

// drain waits until nothing runs, and until fronts that were about to send something
// know that they must not.
func (a *Agent) drain(ctx context.Context) error {
	for {
		idle, changed := a.slots.isIdle()
		if idle {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errorf("agent shutdown: %w", context.Cause(ctx))
		}
	}
	sleep(ctx, drainGrace)
	return nil
}

// drainGrace is how long an agent that leaves still refuses requests.
const drainGrace = 100 * time.Millisecond

// How often an agent looks at its arbiter.
const (
	lookInterval     = time.Second
	lookIntervalDown = 100 * time.Millisecond
)

// tend looks at the arbiter again and again: how many workers have which app.
func (a *Agent) tend() {
	up := true // so that the first failure is logged
	looked := sync.OnceFunc(func() { close(a.looked) })
	for {
		status, err := a.look.Status(a.life)
		if a.life.Err() != nil {
			return
		}
		pause := lookInterval
		if err != nil {
			if up {
				a.log.Write(slog.LevelWarn, "dirty: the arbiter does not answer", slog.Any("error", err))
			}
			a.slots.set(0, nil)
			pause = lookIntervalDown
		} else {
			a.slots.set(a.count(status))
		}
		up = err == nil
		looked()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-a.down:
		case <-a.life.Done():
		}
		timer.Stop()
	}
}

// count counts the slots.
func (a *Agent) count(s *client.Status) (all int, apps map[string]int) {
	all = cmp.Or(a.cfg.Slots, s.Serving(""))
	apps = map[string]int{}
	names := slices.Clone(s.Apps)
	for _, w := range s.Workers {
		names = append(names, w.Apps...)
	}
	for _, app := range names {
		apps[app] = s.Serving(app)
		if apps[app] > 0 && a.cfg.Slots > 0 {
			apps[app] = a.cfg.Slots
		}
	}
	return all, apps
}

// peer is what the agent knows of a connection. One request after another comes on it.
type peer struct {
	mu    sync.Mutex
	front *frontSlots
	id    string
}

type peerKey struct{}

// connContext makes the context of a connection.
func (a *Agent) connContext(ctx context.Context, _ net.Conn) context.Context {
	p := &peer{front: newFrontSlots()}
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.id != "" {
			a.slots.exit(p.id, p.front)
		}
	})
	return context.WithValue(ctx, peerKey{}, p)
}

// agentHandler answers the frames of fronts.
type agentHandler struct{ *Agent }

// ServeFrame refuses a request or passes it on.
func (a agentHandler) ServeFrame(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
	p, app := ctx.Value(peerKey{}).(*peer), ""
	if f.Type == dirty.TypeRequest {
		if app = appOf(f); app == agentApp {
			return a.answer(ctx, w, f, p)
		}
	}
	a.slots.begin()
	defer a.slots.end()
	if f.Type != dirty.TypeRequest {
		err := forward(ctx, a.calls, f, agentAnswers{w, func() {}})
		if isUnsent(err) {
			err = &dirty.RemoteError{Type: dirty.ClassConnection, Message: "on host " + a.cfg.Host + " " + reasonArbiter}
		}
		return err
	}
	taken, reason, seq := a.slots.take(p.front, app)
	if taken == nil {
		return a.refuse(p, app, reason, seq)
	}
	defer taken.give()
	defer context.AfterFunc(ctx, taken.abandon)()
	if !a.cfg.StopAbandoned {
		ctx = context.WithoutCancel(ctx)
	}
	err := forward(ctx, a.calls, f, agentAnswers{w, taken.give})
	if isUnsent(err) {
		taken.give()
		select {
		case a.down <- struct{}{}:
		default:
		}
		a.log.WriteRarely(slog.LevelWarn, 1, "dirty: a request could not be passed on", slog.Any("error", err))
		return a.refuse(p, app, reasonArbiter, a.slots.refuse(p.front))
	}
	return err
}

// agentAnswers passes the arbiter's answers on. It calls end before the last answer is
// written, because the caller may send the next request when it has that.
type agentAnswers struct {
	*server.ResponseWriter
	end func()
}

// Frame passes an answer on.
func (a agentAnswers) Frame(f dirty.Frame) error {
	if f.Type != dirty.TypeChunk {
		a.end()
	}
	return a.ResponseWriter.Frame(f)
}

// FrameFrom passes a large answer on while it comes.
func (a agentAnswers) FrameFrom(h dirty.Header, payload io.Reader) error {
	end := a.end
	if h.Type == dirty.TypeChunk {
		end = func() {}
	}
	return passThrough(payload, int(h.Length), end, func(payload io.Reader) error {
		return a.ResponseWriter.FrameFrom(h, payload)
	})
}

// refuse returns the error for a request that was not passed on.
func (a agentHandler) refuse(p *peer, app, reason string, seq uint64) error {
	details := map[string]any{"app_path": app}
	if p.id != "" {
		details["refused_for"], details["seq"] = p.id, seq
	}
	return &dirty.RemoteError{Type: dirty.ClassNoWorkersAvailable, Details: details,
		Message: "No workers available for app: " + app + ": on host " + a.cfg.Host + " " + reason + "; nothing ran"}
}

// answer answers a request to the agent itself.
func (a agentHandler) answer(ctx context.Context, w *server.ResponseWriter, f dirty.Frame, p *peer) error {
	action, _ := dirty.View(f.Payload).Get("action").Text()
	args := dirty.View(f.Payload).Get("args")
	switch string(action) {
	case actionHello:
		var h hello
		if err := args.Index(0).Unmarshal(&h); err != nil {
			return err
		}
		switch {
		case h.Version != version:
			return errorf("the agent on host %s speaks version %d, the front version %d", a.cfg.Host, version, h.Version)
		case h.Front == "" || len(h.Front) > maxFrontID:
			return errorf("the id of a front has %d bytes, not 1 to %d", len(h.Front), maxFrontID)
		case !a.meet(ctx, p, h.Front):
			return errorf("a front introduces itself once")
		}
		return w.Respond(welcome{Host: a.cfg.Host, Boot: a.boot, Version: version})
	case actionLoad:
		hosts, _ := args.Index(0).Int64()
		return a.tellLoad(ctx, w, p, clampCount(hosts))
	case actionWait:
		app, ok := args.Index(0).Text()
		waiting, isNumber := args.Index(1).Int64()
		running, _ := args.Index(2).Int64()
		if !ok || !isNumber {
			return errorf("%s takes an app and two numbers", actionWait)
		}
		a.slots.wait(p.front, string(app), clampCount(waiting), clampCount(running))
		return nil
	}
	return errorf("an agent has no action %q", action)
}

// clampCount returns a number that a front has told as one that can be a count.
func clampCount(n int64) int { return int(min(max(n, 0), math.MaxInt32)) }

// meet notes which front a connection is of. It reports false if it knows, or if the
// connection has ended. The lock is not held while the answer is written, which can take
// long: the end of the connection waits for it.
func (a *Agent) meet(ctx context.Context, p *peer, front string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != "" || ctx.Err() != nil {
		return false
	}
	p.id, p.front = front, a.slots.enter(front)
	return true
}

// tellLoad streams the load until the front leaves or the agent ends. hosts is how many
// agents the front has.
func (a agentHandler) tellLoad(ctx context.Context, w *server.ResponseWriter, p *peer, hosts int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	select {
	case <-a.looked: // before that, it would seem that the host has no apps
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		told := a.slots.tell(p.front)
		if err := w.Chunk(told); err != nil {
			return err
		}
		sleep(ctx, loadPause)
		a.slots.awaitNews(ctx, p.front, told, hosts)
	}
	return nil
}

// forward passes a frame on to a client's peer. If it is not known whether that has
// acted, the connection of the caller is closed without an answer.
func forward(ctx context.Context, to *client.Client, f dirty.Frame, answers client.AnswerWriter) error {
	err := to.ForwardTo(ctx, f, answers)
	if errors.Is(err, client.ErrOutcomeUnknown) {
		panic(server.ErrAbortHandler)
	}
	return err
}

// isUnsent reports whether a frame could not be passed on and so has not run.
func isUnsent(err error) bool {
	var failed *client.OpError
	return errors.As(err, &failed) && !failed.Sent
}
