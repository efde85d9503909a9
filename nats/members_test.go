package dirtynats_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeAgent is an agent that only tells of itself.
type fakeAgent struct {
	member  cluster.Member
	leaving chan struct{}
}

func newFakeAgent(addr string) *fakeAgent {
	return &fakeAgent{cluster.Member{Addr: addr, Host: "host of " + addr, Boot: nuid.Next()}, make(chan struct{})}
}

func (f *fakeAgent) Member() cluster.Member   { return f.member }
func (f *fakeAgent) Leaving() <-chan struct{} { return f.leaving }

// lists collects the lists that a front is given. Agents on a loaded machine may be
// late, and be off the list for a moment.
type lists struct {
	mu   sync.Mutex
	all  []string
	news chan struct{}
}

func (l *lists) set(members []cluster.Member) {
	var addrs []string
	for _, m := range members {
		addrs = append(addrs, m.Addr)
	}
	l.mu.Lock()
	l.all = append(l.all, strings.Join(addrs, " "))
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *lists) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return "none yet"
	}
	return l.all[len(l.all)-1]
}

func (l *lists) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.After(timeout); l.last() != want; {
		select {
		case <-l.news:
		case <-deadline:
			require.Equal(t, want, l.last())
		}
	}
}

// awaitAny waits until any list was the one that is wanted, if only for a moment.
func (l *lists) awaitAny(t *testing.T, want string) {
	t.Helper()
	eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.Contains(l.all, want) {
			return errNotYet
		}
		return nil
	})
}

// background runs f until the test ends, and checks its error then.
func background(t testing.TB, f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return stop
}

func watch(t *testing.T, m *dirtynats.Members) *lists {
	l := &lists{news: make(chan struct{}, 1)}
	background(t, func(ctx context.Context) error { return m.Watch(ctx, l.set) })
	return l
}

// TestMembers checks that agents come and leave, that fronts that come later know of
// them at once, and that an outage of NATS changes nothing.
func TestMembers(t *testing.T) {
	const interval = 250 * time.Millisecond // a loaded machine must not make an agent silent for four of them
	servers := startNATS(t, 1)
	connected := func() *dirtynats.Members {
		return &dirtynats.Members{Conn: connect(t, servers.URL()), Interval: interval}
	}
	front := watch(t, connected())
	a, b := newFakeAgent("a"), newFakeAgent("b")
	stop := background(t, func(ctx context.Context) error { return connected().Announce(ctx, a) })
	background(t, func(ctx context.Context) error { return connected().Announce(ctx, b) })
	front.await(t, "a b")

	late := connected()
	late.Interval = time.Hour
	later := watch(t, late)
	later.await(t, "a b")
	other := connected()
	other.Name = "other"
	stranger := watch(t, other)

	stop() // as when the agent's program ends
	front.await(t, "b")
	later.await(t, "b")
	background(t, func(ctx context.Context) error { return connected().Announce(ctx, a) })
	front.await(t, "a b")

	require.NoError(t, servers.StopNode(0))
	c := newFakeAgent("c")
	down, err := nats.Connect(servers.URL(), append(dirtynats.ConnectOptions(), nats.RetryOnFailedConnect(true))...)
	require.NoError(t, err)
	t.Cleanup(down.Close)
	m := &dirtynats.Members{Conn: down, Interval: interval}
	background(t, func(ctx context.Context) error { return m.Announce(ctx, c) })
	time.Sleep(5 * interval) // longer than an agent may be silent
	assert.Equal(t, "a b", front.last(), "the last list stays while NATS is away")
	require.NoError(t, servers.StartNode(0))
	front.await(t, "a b c")
	close(b.leaving)
	front.await(t, "a c")
	assert.Equal(t, "none yet", stranger.last(), "agents of another cluster are not seen")
	front.mu.Lock()
	defer front.mu.Unlock()
	assert.NotContains(t, front.all, "", "the list was never empty")
}

// TestMembersSilent checks that an agent that says nothing any more is taken off.
func TestMembersSilent(t *testing.T) {
	nc := connect(t, sharedNATS(t, 1).URL())
	m := &dirtynats.Members{Conn: nc, Name: nuid.Next(), Interval: 20 * time.Millisecond}
	front := watch(t, m)
	background(t, func(ctx context.Context) error { return m.Announce(ctx, newFakeAgent("a")) })
	front.await(t, "a")
	require.NoError(t, nc.Publish("dirty.agents."+m.Name, []byte(`{"addr":"once"}`)))
	front.awaitAny(t, "a once")
	front.await(t, "a")
}

// TestMembersBeforeServe checks that an agent which does not serve yet is told of as soon
// as it does.
func TestMembersBeforeServe(t *testing.T) {
	nc := connect(t, sharedNATS(t, 1).URL())
	m := &dirtynats.Members{Conn: nc, Name: nuid.Next(), Interval: time.Hour}
	front := watch(t, m)
	agent, err := cluster.NewAgent(cluster.AgentConfig{Arbiter: []client.Option{client.WithSocket("/nobody/listens.sock")}, Plain: true})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	background(t, func(ctx context.Context) error { return m.Announce(ctx, agent) })
	l, err := cluster.Listen("127.0.0.1:0")
	require.NoError(t, err)
	eventually(t, func() error { // Announce has begun
		_, err := nc.Request("dirty.agents."+m.Name+".ask", nil, time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		return nil
	})
	background(t, func(ctx context.Context) error { return agent.Run(ctx, l) })
	front.await(t, l.Addr().String())
}

func TestMembersErrors(t *testing.T) {
	nc := connect(t, sharedNATS(t, 1).URL())
	closed := connect(t, sharedNATS(t, 1).URL())
	closed.Close()
	for want, m := range map[string]*dirtynats.Members{
		"Members has no Conn":     {},
		"the name of the cluster": {Conn: nc, Name: "a.b"},
		"Interval is -1ns":        {Conn: nc, Interval: -1},
		"nats: connection closed": {Conn: closed},
	} {
		assert.ErrorContains(t, m.Watch(t.Context(), nil), want)
		assert.ErrorContains(t, m.Announce(t.Context(), newFakeAgent("a")), want)
	}
	ending := connect(t, sharedNATS(t, 1).URL())
	m := &dirtynats.Members{Conn: ending, Name: nuid.Next(), Interval: 10 * time.Millisecond}
	front := &lists{news: make(chan struct{}, 1)}
	ended := make(chan error, 2)
	go func() { ended <- m.Watch(t.Context(), front.set) }()
	go func() { ended <- m.Announce(t.Context(), newFakeAgent("a")) }()
	front.await(t, "a")
	ending.Close()
	for range 2 {
		assert.ErrorIs(t, <-ended, nats.ErrConnectionClosed)
	}
}

// TestMembersOfCluster lets a front of package cluster find real agents over NATS.
func TestMembersOfCluster(t *testing.T) {
	ctx := newContext(t)
	servers := sharedNATS(t, 1)
	name := nuid.Next()
	members := func() *dirtynats.Members {
		return &dirtynats.Members{Conn: connect(t, servers.URL()), Name: name, Interval: 50 * time.Millisecond}
	}
	front, err := cluster.NewFront(cluster.FrontConfig{Members: members(), Plain: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = front.Close() })
	c, err := front.Client(client.WithTimeout(timeout))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })

	var stops []func()
	for host := range 2 {
		stops = append(stops, startAgent(t, members(), fmt.Sprintf("gpu%d", host)))
	}
	seen := map[string]bool{}
	eventually(t, func() error {
		got, err := client.Call[string](ctx, c, "app:Model", "host")
		seen[got] = err == nil
		if !seen["gpu0"] || !seen["gpu1"] {
			return errNotYet
		}
		return err
	})
	stops[0]()
	for range 20 {
		got, err := client.Call[string](ctx, c, "app:Model", "host")
		require.NoError(t, err)
		assert.Equal(t, "gpu1", got)
	}
}

// startAgent starts a Go server with an agent that announces itself.
func startAgent(t *testing.T, m *dirtynats.Members, host string) (stop func()) {
	mux := server.NewMux()
	mux.Handle("app:Model", "host", server.Func(func(context.Context, struct{}) (string, error) { return host, nil }))
	path := serveAt(t, &server.Server{Handler: mux})
	agent, err := cluster.NewAgent(cluster.AgentConfig{
		Arbiter: []client.Option{client.WithSocket(path)}, Slots: 2, Plain: true, Host: host, DrainTimeout: timeout,
	})
	require.NoError(t, err)
	l, err := cluster.Listen("127.0.0.1:0")
	require.NoError(t, err)
	stopAgent := background(t, func(ctx context.Context) error { return agent.Run(ctx, l) })
	stopTelling := background(t, func(ctx context.Context) error { return m.Announce(ctx, agent) })
	return func() {
		stopAgent()
		stopTelling()
	}
}
