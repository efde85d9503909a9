package dirtynats_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOutageUnderLoad takes NATS away in each way while callers of two fronts call three
// agents. No call fails: NATS only tells where the agents are. An agent that starts
// meanwhile is found when NATS is back.
func TestOutageUnderLoad(t *testing.T) {
	const callers, enough = 4, 200 // calls during each step
	ctx, servers, name := newContext(t), startNATS(t, 3), nuid.Next()
	members := func() *dirtynats.Members {
		return &dirtynats.Members{Conn: connect(t, servers.URL()), Name: name, Interval: 50 * time.Millisecond}
	}
	for i := range 3 {
		startAgent(t, members(), fmt.Sprintf("gpu%d", i))
	}
	late := members() // it is connected while NATS is there
	var fronts []*cluster.Front
	var calls, failed atomic.Int64
	var load sync.WaitGroup
	stop := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(stop)
		load.Wait()
	})
	defer end()
	for range 2 {
		front, err := cluster.NewFront(cluster.FrontConfig{Members: members(), Plain: true, MaxWait: timeout})
		require.NoError(t, err)
		t.Cleanup(func() { _ = front.Close() })
		fronts = append(fronts, front)
		c, err := front.Client(client.WithTimeout(timeout))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		awaitHosts(t, front, 3)
		for range callers {
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := client.Call[string](ctx, c, "app:Model", "host"); !assert.NoError(t, err) {
						failed.Add(1)
					}
					calls.Add(1)
				}
			})
		}
	}
	all := func(of func(node int) error) { // at once: JetStream is not ready before most nodes run
		var nodes sync.WaitGroup
		for node := range 3 {
			nodes.Go(func() { assert.NoError(t, of(node)) })
		}
		nodes.Wait()
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"all is well", func() {}},
		{"a node is stopped", func() { require.NoError(t, servers.StopNode(0)) }},
		{"no majority", func() { require.NoError(t, servers.StopNode(1)) }},
		{"all nodes are back", func() {
			require.NoError(t, servers.StartNode(0))
			require.NoError(t, servers.StartNode(1))
		}},
		{"no NATS at all", func() { all(servers.StopNode) }},
		{"an agent starts", func() { startAgent(t, late, "gpu3") }},
		{"NATS is back", func() {
			all(servers.StartNode)
			for _, front := range fronts {
				awaitHosts(t, front, 4)
			}
		}},
	} {
		before := calls.Load()
		step.do()
		eventually(t, func() error {
			if calls.Load() < before+enough {
				return errNotYet
			}
			return nil
		})
		t.Logf("%s: %d calls", step.name, calls.Load()-before)
	}
	end()
	t.Logf("%d calls, %d failed", calls.Load(), failed.Load())
	assert.Zero(t, failed.Load())
}

// awaitHosts waits until a front has reached so many agents.
func awaitHosts(t *testing.T, front *cluster.Front, n int) {
	t.Helper()
	eventually(t, func() error {
		up := 0
		for _, h := range front.Status().Hosts {
			if h.State == "up" && h.Slots > 0 {
				up++
			}
		}
		if up != n {
			return fmt.Errorf("%d of %d hosts are up", up, n)
		}
		return nil
	})
}
