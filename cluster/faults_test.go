package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gate holds calls of the action "hold" until it is opened, and tells of each that
// begins and ends.
type gate struct {
	begun, ended chan string
	open         chan struct{}
	once         sync.Once
}

func newGate() *gate {
	return &gate{begun: make(chan string, 100), ended: make(chan string, 100), open: make(chan struct{})}
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// mux returns the app of a host, with the gate.
func (g *gate) mux(host string) *server.Mux {
	mux := newMux(host)
	mux.Handle(app, "hold", server.Func(func(context.Context, struct{}) (string, error) {
		g.begun <- host
		<-g.open // whatever the context does: an action cannot be stopped
		g.ended <- host
		return host, nil
	}))
	mux.Handle(app, "drip", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			g.begun <- host
			if yield(host, nil) {
				select {
				case <-g.open:
				case <-ctx.Done():
				}
			}
			g.ended <- host
		}
	}))
	return mux
}

// receive returns what comes next.
func receive[T any](tb testing.TB, what string, from <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		require.FailNow(tb, "nothing came", what)
	}
	return v
}

// result is what became of a call.
type result struct {
	value string
	err   error
}

// call calls in the background.
func call(ctx context.Context, c *client.Client, action string) <-chan result {
	done := make(chan result, 1)
	go func() {
		v, err := client.Call[string](ctx, c, app, action)
		done <- result{v, err}
	}()
	return done
}

// stream streams in the background, up to the end.
func stream(ctx context.Context, c *client.Client, action string) <-chan result {
	done := make(chan result, 1)
	go func() {
		var r result
		for v, err := range client.StreamOf[string](ctx, c, app, action) {
			r.err = err
			if err == nil {
				r.value = v
			}
		}
		done <- r
	}()
	return done
}

// awaitUp waits until hosts are up, by what a front knows.
func awaitUp(tb testing.TB, f *cluster.Front, n int) {
	tb.Helper()
	awaitStatus(tb, f, func(s cluster.Status) bool {
		up := 0
		for _, h := range s.Hosts {
			if h.State == "up" && h.Slots > 0 {
				up++
			}
		}
		return up == n
	})
}

// awaitStatus waits until a front's status is as it should be.
func awaitStatus(tb testing.TB, f *cluster.Front, ok func(cluster.Status) bool) {
	tb.Helper()
	require.Eventually(tb, func() bool { return ok(f.Status()) }, patience, time.Millisecond, "%+v", f)
}

// TestFaultsInCall checks what the caller sees of faults during a call and a stream: it
// does not know the outcome, and it knows that soon.
func TestFaultsInCall(t *testing.T) {
	for name, fault := range map[string]func(h *host, r *relay){
		"the agent dies":           func(_ *host, r *relay) { r.cut() },
		"the agent is closed":      func(h *host, _ *relay) { go h.agent.Close() },
		"the arbiter dies":         func(h *host, _ *relay) { h.stop() },
		"the network is swallowed": func(_ *host, r *relay) { r.swallow() },
	} {
		for kind, start := range map[string]func(context.Context, *client.Client, string) <-chan result{"hold": call, "drip": stream} {
			t.Run(name+" in "+kind, func(t *testing.T) {
				t.Parallel()
				ctx, ca, g := testContext(t), newAuthority(t), newGate()
				h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
				t.Cleanup(g.release) // before the host ends
				r := startRelay(t, h.member.Addr)
				_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(cluster.Member{Addr: r.addr()})})
				done := start(ctx, c, kind)
				receive(t, "the call", g.begun)
				begin := time.Now()
				fault(h, r)
				got := receive(t, "its end", done)
				assert.ErrorIs(t, got.err, client.ErrOutcomeUnknown)
				assert.False(t, client.SafeToRetry(got.err))
				assert.Less(t, time.Since(begin), soon)
				g.release()
			})
		}
	}
}

// TestIdleHostFails checks that callers notice nothing when a host fails on which
// nothing runs, if another one is there.
func TestIdleHostFails(t *testing.T) {
	for name, fault := range map[string]func(h *host, r *relay){
		"the agent dies":           func(_ *host, r *relay) { _ = r.l.Close(); r.cut() },
		"the agent leaves":         func(h *host, _ *relay) { _ = h.agent.Shutdown(context.Background()) },
		"the arbiter dies":         func(h *host, _ *relay) { h.stop() },
		"the network is swallowed": func(_ *host, r *relay) { r.swallow() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, ca := testContext(t), newAuthority(t)
			first := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 1})
			second := startHost(t, "gpu2", newMux("gpu2"), cluster.AgentConfig{TLS: ca.agent("gpu2"), Slots: 4})
			r := startRelay(t, first.member.Addr)
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(cluster.Member{Addr: r.addr()}, second.member)})
			awaitUp(t, f, 2)
			for range 10 { // the second has more free slots, so all go there
				v, err := client.Call[string](ctx, c, app, "host")
				require.NoError(t, err)
				require.Equal(t, "gpu2", v)
			}
			fault(first, r)
			for until := time.Now().Add(time.Second); time.Now().Before(until); {
				v, err := client.Call[string](ctx, c, app, "host")
				require.NoError(t, err)
				require.Equal(t, "gpu2", v)
			}
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Hosts[0].Slots == 0 || s.Hosts[1].Slots == 0 })
		})
	}
}

// TestArbiterReturns checks that a call waits for the only arbiter while it is started
// anew.
func TestArbiterReturns(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	awaitUp(t, f, 1)
	h.stop()
	done := call(ctx, c, "host")
	awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == 1 && s.Hosts[0].Slots == 0 })
	startArbiter(t, h.path, &server.Server{Handler: newMux("gpu1 again")})
	got := receive(t, "the answer", done)
	require.NoError(t, got.err)
	assert.Equal(t, "gpu1 again", got.value)
}

// TestAgentReturns checks that a call waits for the only agent while it is started anew.
func TestAgentReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a call does not wait long for it
		s := &simulation{t: t}
		s.add("gpu1", 1, newMux("gpu1"))
		c := s.front()
		awaitUp(t, s.fronts[0], 1)
		s.ends[0]()
		done := call(context.Background(), c, "host")
		awaitStatus(t, s.fronts[0], func(s cluster.Status) bool { return s.Hosts[0].State == "down" && s.Waiting == 1 })
		s.add("gpu1", 1, newMux("gpu1 again"))
		got := receive(t, "the answer", done)
		require.NoError(t, got.err)
		assert.Equal(t, "gpu1 again", got.value)
		s.ends = s.ends[1:]
		s.end()
	})
}

// TestAgentStaysAway checks that calls wait for an agent that has gone for a few seconds
// only, and that from then on they are refused at once.
func TestAgentStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{t: t}
		s.add("gpu1", 1, newMux("gpu1"))
		c := s.front()
		_, err := client.Call[string](context.Background(), c, app, "host")
		require.NoError(t, err)
		s.ends[0]()
		for _, want := range []time.Duration{3 * time.Second, 0} {
			begin := time.Now()
			_, err = client.Call[string](context.Background(), c, app, "host")
			require.ErrorIs(t, err, dirty.ErrNoWorkers)
			assert.True(t, client.SafeToRetry(err))
			assert.InDelta(t, want, time.Since(begin), float64(100*time.Millisecond))
		}
		s.ends = s.ends[1:]
		s.end()
	})
}

// TestSlotOfAbandonedCall checks that a slot stays taken when the caller leaves, until
// the arbiter has answered; or is given back at once where the server stops the action.
func TestSlotOfAbandonedCall(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprintf("StopAbandoned %v", stop), func(t *testing.T) {
			ctx, ca, g := testContext(t), newAuthority(t), newGate()
			h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), StopAbandoned: stop})
			t.Cleanup(g.release)
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
			leaving, leave := context.WithCancel(ctx)
			done := call(leaving, c, "hold")
			receive(t, "the call", g.begun)
			leave()
			assert.ErrorIs(t, receive(t, "its end", done).err, context.Canceled)
			if stop {
				next := call(ctx, c, "host")
				require.NoError(t, receive(t, "the next call", next).err)
				return
			}
			next := call(ctx, c, "host")
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == 1 })
			_, free := h.agent.Load()
			assert.Zero(t, free)
			select {
			case r := <-next:
				require.FailNow(t, "the next call ran beside the abandoned one", "%v", r)
			case <-time.After(200 * time.Millisecond):
			}
			g.release()
			require.NoError(t, receive(t, "the next call", next).err)
		})
	}
}

// TestAbandonedStream checks that a stream stops when its caller leaves, and gives its
// slot back.
func TestAbandonedStream(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	mux, ended := newMux("gpu1"), make(chan bool, 1)
	mux.Handle(app, "endless", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := 0; yield(n, nil); n++ {
			}
			ended <- true
		}
	}))
	h := startHost(t, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1")})
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	for _, err := range client.StreamOf[int](ctx, c, app, "endless") {
		require.NoError(t, err)
		break
	}
	receive(t, "the end of the stream", ended)
	_, err := client.Call[string](ctx, c, app, "host")
	require.NoError(t, err)
}

// TestDrain checks that an agent that leaves takes nothing new and ends what runs.
func TestDrain(t *testing.T) {
	for kind, start := range map[string]func(context.Context, *client.Client, string) <-chan result{"hold": call, "drip": stream} {
		t.Run(kind, func(t *testing.T) {
			ctx, ca, g := testContext(t), newAuthority(t), newGate()
			h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 4})
			t.Cleanup(g.release)
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
			running := start(ctx, c, kind)
			receive(t, "the call", g.begun)
			ended := make(chan error, 1)
			go func() { ended <- h.agent.Shutdown(ctx) }()
			receive(t, "the leaving", h.agent.Leaving())
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Hosts[0].State == "leaving" })
			leaving, leave := context.WithCancel(ctx)
			next := call(leaving, c, "host")
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == 1 })
			leave()
			assert.ErrorIs(t, receive(t, "the next call", next).err, context.Canceled)
			select {
			case <-ended:
				require.FailNow(t, "the agent has not waited")
			default:
			}
			g.release()
			got := receive(t, "the answer", running)
			require.NoError(t, got.err)
			assert.Equal(t, "gpu1", got.value)
			assert.NoError(t, receive(t, "the end", ended))
		})
	}
}

// TestDrainHasABound checks that a shutdown ends with its context, and that the caller
// of what ran then knows that it does not know.
func TestDrainHasABound(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	t.Cleanup(g.release)
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	running := call(ctx, c, "hold")
	receive(t, "the call", g.begun)
	short, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.agent.Shutdown(short) }()
	receive(t, "the leaving", h.agent.Leaving())
	cancel()
	assert.ErrorIs(t, receive(t, "the end", ended), context.Canceled)
	assert.ErrorIs(t, receive(t, "the call's end", running).err, client.ErrOutcomeUnknown)
}

// TestMemberLeaves checks that calls on a host go on that is no member any more, and
// that it gets no new ones.
func TestMemberLeaves(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 4})
	t.Cleanup(g.release)
	members := newChangingMembers(h.member)
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: members})
	running := call(ctx, c, "hold")
	receive(t, "the call", g.begun)
	members.change()
	_, err := client.Call[string](ctx, c, app, "host")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	g.release()
	require.NoError(t, receive(t, "the answer", running).err)
	awaitStatus(t, f, func(s cluster.Status) bool { return len(s.Hosts) == 0 })
	members.change(h.member)
	awaitUp(t, f, 1)
	_, err = client.Call[string](ctx, c, app, "host")
	require.NoError(t, err)
}

// changingMembers are Members that a test changes.
type changingMembers struct {
	mu   sync.Mutex
	list []cluster.Member
	set  func([]cluster.Member)
}

func newChangingMembers(list ...cluster.Member) *changingMembers { return &changingMembers{list: list} }

func (m *changingMembers) Watch(ctx context.Context, set func([]cluster.Member)) error {
	m.mu.Lock()
	m.set = set
	set(m.list)
	m.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (m *changingMembers) change(list ...cluster.Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = list
	m.set(list)
}

// TestAgentRefuses checks that an agent refuses at once what it cannot pass on, also for a
// caller that is no front.
func TestAgentRefuses(t *testing.T) {
	ctx, g := testContext(t), newGate()
	h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{Plain: true, Host: "gpu1"})
	t.Cleanup(g.release)
	c, err := client.New(client.WithSocket(h.member.Addr), client.WithPeerCheck(false), client.WithDialer(
		func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check := func(app, want string) {
		t.Helper()
		_, err := c.Execute(ctx, app, "host")
		require.ErrorIs(t, err, dirty.ErrNoWorkers)
		assert.True(t, client.SafeToRetry(err))
		assert.ErrorContains(t, err, "on host gpu1 "+want+"; nothing ran")
	}
	require.Eventually(t, func() bool {
		_, free := h.agent.Load()
		return free == 1
	}, patience, time.Millisecond, "the agent does not know of its worker")
	holding := call(ctx, c, "hold")
	receive(t, "the call", g.begun)
	check(app, "no worker is free")
	check("no:App", "no worker has the app")
	g.release()
	require.NoError(t, receive(t, "the call that held", holding).err)
}

// TestQueueLimits checks that each limit of a queue has its error, and that nothing has
// run then.
func TestQueueLimits(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	t.Cleanup(g.release)
	members := cluster.Static(h.member)
	_, holder := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: members})
	holding := call(ctx, holder, "hold")
	receive(t, "the call", g.begun)
	for name, test := range map[string]struct {
		cfg     cluster.FrontConfig
		waiting int // calls that wait already
		want    string
	}{
		"too many wait": {cluster.FrontConfig{MaxQueue: 2}, 2, "2 calls wait already, which is the most; nothing ran"},
		"none may wait": {cluster.FrontConfig{MaxQueue: -1}, 0, "0 calls wait already, which is the most; nothing ran"},
		"too long":      {cluster.FrontConfig{MaxWait: 50 * time.Millisecond}, 0, "no worker became free within 50ms; nothing ran"},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.TLS, test.cfg.Members = ca.front("web2"), members
			f, c := startFront(t, test.cfg)
			awaitStatus(t, f, func(s cluster.Status) bool {
				return len(s.Hosts) == 1 && s.Hosts[0].State == "up" && s.Hosts[0].Free == 0
			})
			leaving, leave := context.WithCancel(ctx)
			defer leave()
			var waiting []<-chan result
			for range test.waiting {
				waiting = append(waiting, call(leaving, c, "host"))
			}
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == test.waiting })
			_, err := client.Call[string](ctx, c, app, "host")
			require.ErrorIs(t, err, dirty.ErrNoWorkers)
			assert.True(t, client.SafeToRetry(err))
			assert.ErrorContains(t, err, test.want)
			leave()
			for _, w := range waiting {
				assert.ErrorIs(t, receive(t, "a call that has left", w).err, context.Canceled)
			}
			awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == 0 })
		})
	}
	g.release()
	require.NoError(t, receive(t, "the call that held", holding).err)
}

// TestConnectionLimits checks that a call for which there may be no further connection
// waits as if no worker were free, and that nothing has run if that takes too long.
func TestConnectionLimits(t *testing.T) {
	for name, test := range map[string]struct {
		agent cluster.AgentConfig
		front cluster.FrontConfig
	}{
		"of the agent": {cluster.AgentConfig{MaxConns: 2}, cluster.FrontConfig{}}, // one of them is for the load
		"of the front": {cluster.AgentConfig{}, cluster.FrontConfig{MaxCalls: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, ca, g := testContext(t), newAuthority(t), newGate()
			test.agent.TLS, test.agent.Slots = ca.agent("gpu1"), 4
			h := startHost(t, "gpu1", g.mux("gpu1"), test.agent)
			t.Cleanup(g.release)
			test.front.TLS, test.front.Members, test.front.MaxWait = ca.front("web1"), cluster.Static(h.member), 100*time.Millisecond
			f, c := startFront(t, test.front)
			awaitUp(t, f, 1)
			holding := call(ctx, c, "hold")
			receive(t, "the call", g.begun)
			_, err := client.Call[string](ctx, c, app, "host")
			require.ErrorIs(t, err, dirty.ErrNoWorkers)
			assert.True(t, client.SafeToRetry(err))
			assert.ErrorContains(t, err, "no worker became free within 100ms; nothing ran")
			g.release()
			require.NoError(t, receive(t, "the call that held", holding).err)
			require.Eventually(t, func() bool {
				_, err := client.Call[string](ctx, c, app, "host")
				return err == nil
			}, patience, time.Millisecond)
		})
	}
}

// TestQueueOrder checks that calls run in the order in which they came.
func TestQueueOrder(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	var mu sync.Mutex
	var order []int
	mux := g.mux("gpu1")
	mux.Handle(app, "note", server.Func(func(_ context.Context, n int) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, n)
		return nil, nil
	}))
	h := startHost(t, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1")})
	t.Cleanup(g.release)
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	holding := call(ctx, c, "hold")
	receive(t, "the call", g.begun)
	var calls sync.WaitGroup
	for i := range 10 {
		calls.Go(func() {
			_, err := c.Execute(ctx, app, "note", i)
			assert.NoError(t, err)
		})
		awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == i+1 })
	}
	g.release()
	require.NoError(t, receive(t, "the call that held", holding).err)
	calls.Wait()
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
}

// TestRefusalIsNotForged checks that an error of an app is passed on even if it is a
// refusal from elsewhere: the app has run.
func TestRefusalIsNotForged(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	var runs atomic.Int64
	mux := newMux("gpu1")
	mux.Handle(app, "refuse", server.Func(func(context.Context, struct{}) (any, error) {
		runs.Add(1)
		return nil, &dirty.RemoteError{Type: dirty.ClassNoWorkersAvailable, Message: "from elsewhere",
			Details: map[string]any{"refused_for": "another", "seq": 1}}
	}))
	h := startHost(t, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1")})
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	_, err := c.Execute(ctx, app, "refuse")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	assert.ErrorContains(t, err, "from elsewhere")
	assert.EqualValues(t, 1, runs.Load())
}

// TestStashAndManage checks where the stash is, and that workers are managed by the
// name of the host.
func TestStashAndManage(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	path := filepath.Join(folder(t), "gpu1")
	arbiter := startArbiter(t, path, &server.Server{Handler: newMux("gpu1"),
		Manage: func(_ context.Context, op dirty.ManageOp, n int) (any, error) {
			return dirty.ManageResult{Success: true, Operation: op.String(), Requested: n, TotalWorkers: 7}, nil
		}})
	h := &host{arbiter: arbiter}
	h.startAgent(cluster.AgentConfig{TLS: ca.agent("gpu1")})
	front := ca.front("web1")
	for name, test := range map[string]struct {
		cfg  cluster.FrontConfig
		want string // in the error of a put
	}{
		"no stash":     {cluster.FrontConfig{}, "this front has no stash"},
		"a store":      {cluster.FrontConfig{Stash: new(server.MemoryStore)}, ""},
		"a host":       {cluster.FrontConfig{StashHost: "gpu1"}, ""},
		"another host": {cluster.FrontConfig{StashHost: "gpu2"}, `there is no host "gpu2"; nothing was changed`},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.TLS, test.cfg.Members = front, cluster.Static(h.member)
			f, c := startFront(t, test.cfg)
			awaitUp(t, f, 1)
			table := c.Stash("t")
			err := table.Put(ctx, "k", "v")
			if test.want != "" {
				require.ErrorContains(t, err, test.want)
			} else {
				require.NoError(t, err)
				v, err := table.Get(ctx, "k")
				require.NoError(t, err)
				assert.Equal(t, "v", v)
			}
			_, err = c.AddWorkers(ctx, 1)
			assert.ErrorContains(t, err, "ask the host itself")
			r, err := f.Manage(ctx, "gpu1", dirty.ManageAdd, 2)
			require.NoError(t, err)
			assert.Equal(t, 7, r.Total)
			_, err = f.Manage(ctx, "gpu2", dirty.ManageAdd, 2)
			assert.ErrorContains(t, err, `there is no host "gpu2"`)
		})
	}
}

// TestMembersThatFail checks that a front lives with Members that do anything.
func TestMembersThatFail(t *testing.T) {
	for name, watch := range map[string]func(){
		"returns": func() {}, "panics": func() { panic(errBoom) }, "exits": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, ca := testContext(t), newAuthority(t)
			h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
			watched := make(chan struct{}, 100)
			_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: watcher(func(_ context.Context, set func([]cluster.Member)) error {
				set([]cluster.Member{h.member})
				watched <- struct{}{}
				watch()
				return errBoom
			})})
			_, err := client.Call[string](ctx, c, app, "host")
			require.NoError(t, err)
			receive(t, "the first watch", watched)
			receive(t, "the next watch", watched)
			_, err = client.Call[string](ctx, c, app, "host")
			require.NoError(t, err)
		})
	}
}

// watcher is a function as Members.
type watcher func(ctx context.Context, set func([]cluster.Member)) error

func (w watcher) Watch(ctx context.Context, set func([]cluster.Member)) error { return w(ctx, set) }

// TestFrontCloses checks that Close ends the calls that wait, and those that run.
func TestFrontCloses(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	h := startHost(t, "gpu1", g.mux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	t.Cleanup(g.release)
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	running := call(ctx, c, "hold")
	receive(t, "the call", g.begun)
	waiting := call(ctx, c, "host")
	awaitStatus(t, f, func(s cluster.Status) bool { return s.Waiting == 1 })
	require.NoError(t, f.Close())
	assert.ErrorIs(t, receive(t, "the call that ran", running).err, client.ErrOutcomeUnknown)
	assert.Error(t, receive(t, "the call that waited", waiting).err)
	_, err := client.Call[string](ctx, c, app, "host")
	assert.Error(t, err)
	assert.False(t, errors.Is(err, client.ErrOutcomeUnknown) && client.SafeToRetry(err))
}
