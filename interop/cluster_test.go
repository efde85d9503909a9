//go:build unix

package interop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	goserver "github.com/gunicorn-go/dirty/server"
)

// hosts is how many gunicorns there are behind a front. Each has one worker.
const hosts = 3

// gunicorns are several gunicorns, each with an agent, and a front of all of them.
type gunicorns struct {
	servers []*gunicorn
	agents  []*cluster.Agent
	links   []*fragileListener // of the agents
	front   *cluster.Front
	client  *client.Client
	socket  string // of the front
}

// fragileListener is a listener whose connections a test kills.
type fragileListener struct {
	net.Listener
	mu    sync.Mutex
	conns []*net.TCPConn
}

func (l *fragileListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, nc.(*net.TCPConn))
	}
	return nc, err
}

// kill resets one connection, whichever. It reports false if there was none that was open.
func (l *fragileListener) kill() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return false
	}
	i := rand.IntN(len(l.conns))
	nc := l.conns[i]
	l.conns = slices.Delete(l.conns, i, i+1)
	err := nc.SetLinger(0) // an error if it was closed
	_ = nc.Close()
	return err == nil
}

// startCluster starts gunicorns, agents and a front.
func startCluster(t *testing.T, p python) *gunicorns {
	t.Helper()
	c := &gunicorns{socket: filepath.Join(shortFolder(t), "front")}
	var members []cluster.Member
	for i := range hosts {
		g := fresh(t, p, options{Workers: 1})
		a, err := cluster.NewAgent(cluster.AgentConfig{Plain: true, Host: fmt.Sprintf("gpu%d", i),
			Arbiter: []client.Option{client.WithSocket(g.socket)}})
		require.NoError(t, err)
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l := &fragileListener{Listener: tcp}
		c.links = append(c.links, l)
		served := make(chan error, 1)
		go func() { served <- a.Serve(l) }()
		t.Cleanup(func() {
			assert.NoError(t, a.Close())
			assert.ErrorIs(t, <-served, goserver.ErrServerClosed)
		})
		c.servers, c.agents = append(c.servers, g), append(c.agents, a)
		members = append(members, cluster.Member{Addr: l.Addr().String()})
	}
	var err error
	c.front, err = cluster.NewFront(cluster.FrontConfig{Plain: true, Members: cluster.Static(members...)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.front.Close()) })
	c.client, err = c.front.Client(client.WithTimeout(maxWait))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.client.Close()) })
	s := &goserver.Server{FrameHandler: c.front}
	l, err := goserver.Listen(c.socket, 0)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, goserver.ErrServerClosed)
	})
	c.awaitSlots(t, hosts)
	return c
}

// awaitSlots waits until the front knows of so many workers.
func (c *gunicorns) awaitSlots(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("the front knows of %d workers", n), func() bool {
		slots := 0
		for _, h := range c.front.Status().Hosts {
			slots += h.Slots
		}
		return slots == n
	})
}

// begun returns how often an action has begun for each token.
func (c *gunicorns) begun() map[string]int {
	n := map[string]int{}
	for _, g := range c.servers {
		told, _ := g.events.now()
		for _, event := range told {
			if token, ok := strings.CutPrefix(event, "begin "); ok {
				n[token]++
			}
		}
	}
	return n
}

// holding returns the argument for the action hold_while, and a function by which such
// actions end. They end with the test at the latest.
func holding(t *testing.T) (path string, release func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "hold")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	release = func() { _ = os.Remove(path) }
	t.Cleanup(release)
	return path, release
}

// TestClusterPythonClients runs gunicorn's own clients, sync and async, through a front
// before three gunicorns.
func TestClusterPythonClients(t *testing.T) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		c := startCluster(t, p)
		out, err := exec.Command(p.path, "-B", "cluster_clients.py", c.socket).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
}

// TestClusterCalls checks with our client that calls spread over three gunicorns, and
// that the status is that of all of them.
func TestClusterCalls(t *testing.T) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		c := startCluster(t, p)
		hold, release := holding(t)
		var calls sync.WaitGroup
		for range 2 * hosts { // half of them wait for a free worker
			calls.Go(func() {
				_, err := c.client.Execute(t.Context(), app, "hold_while", token(t), hold)
				assert.NoError(t, err)
			})
		}
		until(t, "an action runs on each host", func() bool {
			return !slices.ContainsFunc(c.servers, func(g *gunicorn) bool { return g.events.count("begin") == 0 })
		})
		release()
		calls.Wait()
		var mu sync.Mutex
		workers := map[int]int{}
		for range 30 {
			calls.Go(func() {
				pid, err := client.Call[int](t.Context(), c.client, app, "pid")
				assert.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				workers[pid]++
			})
		}
		calls.Wait()
		assert.Len(t, workers, hosts)

		status, err := c.client.Status(t.Context())
		require.NoError(t, err)
		assert.Len(t, status.Workers, hosts)
		assert.Equal(t, hosts, status.Serving(app))
		streamed := 0
		for v, err := range client.StreamOf[[]int](t.Context(), c.client, app, "numbered", 7, 1000) {
			require.NoError(t, err)
			require.Equal(t, []int{7, streamed}, v)
			streamed++
		}
		assert.Equal(t, 1000, streamed)
		large := make([]byte, 60<<20)
		n, err := client.Call[int](t.Context(), c.client, app, "size", large)
		require.NoError(t, err)
		assert.Equal(t, len(large), n)
	})
}

// TestClusterAbandonedCall checks that a worker whose caller has left gets no other
// call before it is free: an action cannot be stopped.
func TestClusterAbandonedCall(t *testing.T) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		c := startCluster(t, p)
		hold, _ := holding(t)
		ctx, leave := context.WithCancel(t.Context())
		held := token(t)
		left := make(chan error, 1)
		go func() {
			_, err := c.client.Execute(ctx, app, "hold_while", held, hold)
			left <- err
		}()
		until(t, "the action has begun", func() bool { return c.begun()[held] == 1 })
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		for range 10 * hosts {
			_, err := c.client.Execute(t.Context(), app, "identity", 1)
			require.NoError(t, err, "it may wait behind the abandoned action, which does not end")
		}
	})
}

var (
	killsFlag = flag.Int("cluster.kills", 50, "how many connections TestClusterConnectionsKilled kills")
	callsFlag = flag.Int("cluster.calls", 500, "how many calls TestClusterConnectionsKilled makes at least")
)

// TestClusterConnectionsKilled kills connections between the front and the agents at
// random, under load.
func TestClusterConnectionsKilled(t *testing.T) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		c := startCluster(t, p)
		kills := 0
		c.checkOnce(t, 0.002, func(calls func() int) {
			for kills < *killsFlag || calls() < *callsFlag {
				// The kills are spread over the calls.
				if kills < *killsFlag && calls() >= kills**callsFlag / *killsFlag && c.links[rand.IntN(hosts)].kill() {
					kills++
				}
				time.Sleep(time.Millisecond)
			}
		})
		t.Logf("%d connections were killed", kills)
	})
}

// TestClusterArbiterKilled kills arbiters under load. They come back, and their workers
// are used again.
func TestClusterArbiterKilled(t *testing.T) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) {
		c := startCluster(t, p)
		c.checkOnce(t, 0.02, func(func() int) {
			for _, g := range c.servers {
				g.signal(t, g.arbiterPID(t), syscall.SIGKILL)
				time.Sleep(time.Second)
			}
		})
	})
}

// checkOnce makes calls of so many seconds while a function runs, which can ask how many
// have ended. Each call has a token, and the workers tell of each that begins: none begins
// twice. What is said not to have run has not.
func (c *gunicorns) checkOnce(t *testing.T, seconds float64, fail func(calls func() int)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var answered, never []string
	unknown := 0
	var calls sync.WaitGroup
	for range 2 * hosts {
		calls.Go(func() {
			for ctx.Err() == nil {
				mine := token(t)
				bound, cancel := context.WithTimeout(t.Context(), 5*time.Second) // gunicorn can lose calls
				v, err := client.Call[string](bound, c.client, app, "hold", mine, seconds)
				cancel()
				mu.Lock()
				switch {
				case err == nil:
					assert.Equal(t, mine, v)
					answered = append(answered, mine)
				case client.SafeToRetry(err):
					never = append(never, mine)
				default:
					unknown++
					var remote *dirty.RemoteError
					assert.True(t, errors.Is(err, client.ErrOutcomeUnknown) || errors.As(err, &remote), "%v", err)
				}
				mu.Unlock()
			}
		})
	}
	fail(func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(answered) + len(never) + unknown
	})
	stop()
	calls.Wait()
	c.awaitSlots(t, hosts)
	var begun map[string]int
	until(t, "the workers have told of all calls that were answered", func() bool {
		begun = c.begun()
		return !slices.ContainsFunc(answered, func(token string) bool { return begun[token] == 0 })
	})
	for token, n := range begun {
		assert.Equal(t, 1, n, token)
	}
	for _, token := range answered {
		assert.Equal(t, 1, begun[token])
	}
	for _, token := range never {
		assert.Zero(t, begun[token])
	}
	t.Logf("%d calls answered, %d did not run, %d unknown or failed", len(answered), len(never), unknown)
	assert.Greater(t, len(answered), 30)
}
