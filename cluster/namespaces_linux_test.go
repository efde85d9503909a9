package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// namespaces are one network namespace for the fronts and one for each of two agents, with a
// link from the fronts to each agent. No address is used outside of them.
type namespaces struct {
	t      *testing.T
	ca     *authority
	dir    string
	agents []*remote
	fronts string // their namespace

	bridges []*process // one on each link, or none
}

// remote is a host in a namespace of its own. Its server needs no network.
type remote struct {
	name, namespace, addr, socket string
	server                        *process
	link                          string // the end of its link where the fronts are
}

// lan is the name that an agent's end of its link has in its namespace.
const lan = "lan"

// startNamespaces makes the namespaces and starts the agents. If there is a bridge, each
// link leads over one; it says what that does, see runBridge. A machine that cannot make
// namespaces skips the test, and says so loudly.
func startNamespaces(t *testing.T, bridge ...string) *namespaces {
	t.Helper()
	for _, tool := range []string{"ip", "tc"} {
		needTool(t, tool)
	}
	if os.Getuid() != 0 {
		skipLoudly(t, "only root can make network namespaces")
	}
	n := &namespaces{t: t, ca: newAuthority(t), dir: folder(t), fronts: fmt.Sprintf("dirty%d-web1", os.Getpid())}
	n.ca.front("web1")
	n.add(n.fronts)
	for i, name := range []string{"gpu1", "gpu2"} {
		r := &remote{name: name, namespace: fmt.Sprintf("dirty%d-%s", os.Getpid(), name), link: name, socket: filepath.Join(n.dir, name)}
		n.add(r.namespace)
		n.connect(r, bridge)
		for namespace, end := range map[string][]string{
			n.fronts:    {r.link, fmt.Sprintf("192.0.2.%d/30", 4*i+1)},
			r.namespace: {lan, fmt.Sprintf("192.0.2.%d/30", 4*i+2)},
		} {
			n.must("ip", "-n", namespace, "address", "add", end[1], "dev", end[0])
			n.must("ip", "-n", namespace, "link", "set", end[0], "up")
		}
		n.ca.agent(name)
		r.server = startProcess(t, "server", r.socket, name)
		r.addr = n.start(r.namespace, "agent", r.socket, name, fmt.Sprintf("192.0.2.%d:9500", 4*i+2), n.ca.dir).line
		n.agents = append(n.agents, r)
	}
	return n
}

// connect makes the link of a host, over a bridge if there is one.
func (n *namespaces) connect(r *remote, bridge []string) {
	n.t.Helper()
	if len(bridge) == 0 {
		n.link(n.fronts, r.link, r.namespace, lan)
		return
	}
	between := r.namespace + "-bridge"
	n.add(between)
	n.link(n.fronts, r.link, between, "near")
	n.link(between, "far", r.namespace, lan)
	for _, end := range []string{"near", "far"} {
		n.must("ip", "-n", between, "link", "set", end, "up")
	}
	// Without this one lost frame would be up to 64 KiB.
	n.must("ip", "-n", n.fronts, "link", "set", r.link, "gso_max_segs", "1")
	n.must("ip", "-n", r.namespace, "link", "set", lan, "gso_max_segs", "1")
	n.bridges = append(n.bridges, n.start(between, append(append([]string{"bridge"}, bridge...), "near", "far")...))
}

// link makes a link between two namespaces. Its ends have names.
func (n *namespaces) link(from, fromEnd, to, toEnd string) {
	n.t.Helper()
	if out, err := runTool("ip", "link", "add", "name", fromEnd, "netns", from, "type", "veth", "peer", "name", toEnd, "netns", to); err != nil {
		skipLoudly(n.t, "no link between namespaces: %s", out)
	}
}

// release ends the calls of "hold" on a host. It asks the server itself.
func (r *remote) release(ctx context.Context, t *testing.T) {
	t.Helper()
	c, err := client.New(client.WithSocket(r.socket))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Execute(ctx, app, "release")
	require.NoError(t, err)
}

// runTool runs a command and returns what it prints.
func runTool(words ...string) (string, error) {
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	return string(out), err
}

// must runs a command that must succeed.
func (n *namespaces) must(words ...string) string {
	n.t.Helper()
	out, err := runTool(words...)
	require.NoError(n.t, err, "%v: %s", words, out)
	return out
}

// add adds a namespace. It is removed at the end of the test, with its links.
func (n *namespaces) add(namespace string) {
	n.t.Helper()
	if out, err := runTool("ip", "netns", "add", namespace); err != nil {
		skipLoudly(n.t, "no network namespace: %s", out)
	}
	n.t.Cleanup(func() {
		out, err := runTool("ip", "netns", "delete", namespace)
		assert.NoError(n.t, err, out)
	})
}

// start starts a process in a namespace.
func (n *namespaces) start(namespace string, what ...string) *process {
	n.t.Helper()
	return startCommand(n.t, exec.Command("ip", "netns", "exec", namespace, os.Args[0]), what...)
}

// front starts a front, waits until it has reached both agents, and returns a client of it.
func (n *namespaces) front(ctx context.Context, name string) *client.Client {
	n.t.Helper()
	socket := filepath.Join(n.dir, name)
	what := []string{"front", socket, n.ca.dir}
	for _, r := range n.agents {
		what = append(what, r.name+"="+r.addr)
	}
	n.start(n.fronts, what...)
	c, err := client.New(client.WithSocket(socket))
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = c.Close() })
	n.await(ctx, c, func(s cluster.Status) bool {
		return countUp(s) == len(n.agents) && countFree(s) == len(n.agents)*processSlots
	})
	return c
}

// await waits until the status of a front is as it should be.
func (n *namespaces) await(ctx context.Context, c *client.Client, ok func(cluster.Status) bool) {
	n.t.Helper()
	for last := (cluster.Status{}); ; time.Sleep(10 * time.Millisecond) {
		s, err := cluster.ReadStatus(ctx, c)
		require.NoError(n.t, err, "the status before: %+v", last)
		if ok(s) {
			return
		}
		last = s
	}
}

func countUp(s cluster.Status) (n int) {
	for _, h := range s.Hosts {
		if h.State == "up" {
			n++
		}
	}
	return n
}

func countFree(s cluster.Status) (n int) {
	for _, h := range s.Hosts {
		n += h.Free
	}
	return n
}

// TestNetworkHole takes the link of one of two hosts down while a call and a stream run
// on each. Those of that host end soon with an unknown outcome, and those of the other
// one go on. When the link is up again the host is used again.
func TestNetworkHole(t *testing.T) {
	ctx, n := testContext(t), startNamespaces(t)
	c := n.front(ctx, "front")
	lost, other := n.agents[0], n.agents[1]
	ended := map[string]chan result{"hold": make(chan result, 2), "drip": make(chan result, 2)}
	for kind, start := range map[string]func(context.Context, *client.Client, string) <-chan result{"hold": call, "drip": stream} {
		for range n.agents { // one for each, since the other has more free slots then
			go func() { ended[kind] <- <-start(ctx, c, kind) }()
		}
		for _, r := range n.agents {
			require.True(t, r.server.lines.Scan(), "%s has not begun on %s", kind, r.name)
		}
	}
	begin := time.Now()
	n.must("ip", "-n", lost.namespace, "link", "set", lan, "down")
	for kind, results := range ended {
		got := receive(t, kind, results)
		assert.ErrorIs(t, got.err, client.ErrOutcomeUnknown, kind)
		assert.Less(t, time.Since(begin), soon)
		t.Logf("%s: %v after %v", kind, got.err, time.Since(begin).Round(time.Millisecond))
	}
	v, err := client.Call[string](ctx, c, app, "host")
	require.NoError(t, err)
	assert.Equal(t, other.name, v)
	other.release(ctx, t)
	for kind, results := range ended {
		assert.Equal(t, result{value: other.name}, receive(t, kind, results), "it was on the other host")
	}

	n.must("ip", "-n", lost.namespace, "link", "set", lan, "up")
	n.await(ctx, c, func(s cluster.Status) bool { return countUp(s) == 2 })
	n.must("ip", "-n", other.namespace, "link", "set", lan, "down")
	n.await(ctx, c, func(s cluster.Status) bool { return countUp(s) == 1 })
	v, err = client.Call[string](ctx, c, app, "host")
	require.NoError(t, err)
	assert.Equal(t, lost.name, v)
}

// TestBadNetwork makes calls over links that delay and lose packets. All calls succeed,
// fronts are told of the load, and no host is dropped.
func TestBadNetwork(t *testing.T) {
	const delay = 25 * time.Millisecond // each way
	t.Run("a long link that loses packets", func(t *testing.T) {
		n := startNamespaces(t, delay.String(), "0.025")
		checkBadNetwork(t, n, 2*delay)
		for _, b := range n.bridges {
			lost := make(chan bool, 1)
			go func() { lost <- b.lines.Scan() }()
			assert.True(t, receive(t, "the loss of a packet", lost))
		}
	})
	t.Run("a narrow link", func(t *testing.T) {
		n := startNamespaces(t)
		for _, r := range n.agents {
			for namespace, link := range map[string]string{n.fronts: r.link, r.namespace: lan} {
				if out, err := runTool("tc", "-n", namespace, "qdisc", "add", "dev", link, "root",
					"tbf", "rate", "8mbit", "burst", "10kb", "latency", "50ms"); err != nil {
					skipLoudly(t, "the system has no tbf: %s", out)
				}
			}
		}
		checkBadNetwork(t, n, 0)
		assert.Positive(t, n.dropped(), "the links have lost no packet")
	})
}

// checkBadNetwork makes calls over bad links, of which each takes at least as long as a
// packet needs there and back.
func checkBadNetwork(t *testing.T, n *namespaces, least time.Duration) {
	t.Helper()
	ctx := testContext(t)
	c, second := n.front(ctx, "front"), n.front(ctx, "second")
	var load sync.WaitGroup
	for range 6 {
		load.Go(func() {
			for range 5 {
				begin := time.Now()
				v, err := c.Execute(ctx, app, "echo", make([]byte, 100<<10))
				if assert.NoError(t, err) {
					assert.Len(t, v.([]any)[0], 100<<10)
				}
				assert.Greater(t, time.Since(begin), least)
				s, err := cluster.ReadStatus(ctx, c)
				assert.NoError(t, err)
				assert.Equal(t, 2, countUp(s), "%+v", s)
			}
		})
	}
	load.Wait()

	held := call(ctx, c, "hold")
	n.await(ctx, second, func(s cluster.Status) bool { return countFree(s) == 2*processSlots-1 })
	for _, r := range n.agents {
		r.release(ctx, t)
	}
	require.NoError(t, receive(t, "the held call", held).err)
	n.await(ctx, second, func(s cluster.Status) bool { return countFree(s) == 2*processSlots })
}

// dropped returns how many packets the links have lost.
func (n *namespaces) dropped() (all int) {
	n.t.Helper()
	for _, namespace := range []string{n.fronts, n.agents[0].namespace, n.agents[1].namespace} {
		var qdiscs []struct{ Drops int }
		require.NoError(n.t, json.Unmarshal([]byte(n.must("tc", "-n", namespace, "-s", "-j", "qdisc", "show")), &qdiscs))
		for _, q := range qdiscs {
			all += q.Drops
		}
	}
	return all
}
