package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
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

var figuresFlag = flag.Bool("cluster.figures", false, "measure the figures of docs/CLUSTER.md")

// The load by which ways to balance are compared: few workers, and calls of which some
// take much longer than the others.
const (
	balanceHosts   = 3
	balanceCallers = 2
	shortWork      = 10 * time.Millisecond
	longWork       = 400 * time.Millisecond
	longEvery      = 6 // on average
)

// worker handles calls one at a time, as a gunicorn worker does: those that come
// meanwhile wait.
func worker() server.Handler {
	var busy sync.Mutex
	mux := server.NewMux()
	mux.Handle(app, "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		busy.Lock()
		defer busy.Unlock()
		time.Sleep(time.Duration(r.Args[0].(int64)))
		return w.Respond(nil)
	}))
	return mux
}

// timeShortCalls makes calls from several callers, and returns how long the short ones
// took at the median and at the 95th percentile.
func timeShortCalls(t *testing.T, each int, pick func() *client.Client) (p50, p95 time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var times []time.Duration
	var callers sync.WaitGroup
	for range balanceCallers {
		callers.Go(func() {
			for range each {
				work := shortWork
				if rand.IntN(longEvery) == 0 {
					work = longWork
				}
				begin := time.Now()
				_, err := pick().Execute(context.Background(), app, "work", int64(work))
				assert.NoError(t, err)
				if work == shortWork {
					mu.Lock()
					times = append(times, time.Since(begin))
					mu.Unlock()
				}
			}
		})
	}
	callers.Wait()
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*95/100]
}

// TestBalance checks that short calls do not wait behind long ones while a worker is
// free, and that they do if each call goes to a random host.
func TestBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{t: t}
		for i := range balanceHosts {
			s.add(fmt.Sprintf("gpu%d", i), 1, worker())
		}
		c := s.front()
		p50, p95 := timeShortCalls(t, 300, func() *client.Client { return c })
		s.end()
		t.Logf("a front: p50 %v, p95 %v", p50, p95)
		assert.Less(t, p50, 12*time.Millisecond)
		assert.Less(t, p95, 12*time.Millisecond)

		s = &simulation{t: t}
		var clients []*client.Client
		for i := range balanceHosts {
			one := &simulation{t: t}
			one.add(fmt.Sprintf("gpu%d", i), 1, worker())
			clients = append(clients, one.front())
			s.ends = append(s.ends, one.end)
		}
		p50, p95 = timeShortCalls(t, 300, func() *client.Client { return clients[rand.IntN(len(clients))] })
		s.end()
		t.Logf("a random host: p50 %v, p95 %v", p50, p95)
		assert.Greater(t, p95, 100*time.Millisecond)
	})
}

// TestBalanceFigures compares a front, HAProxy and a random host over TCP.
func TestBalanceFigures(t *testing.T) {
	if !*figuresFlag {
		t.Skip("only for figures: go test -run Figures -v ./cluster -cluster.figures")
	}
	ca := newAuthority(t)
	var members []cluster.Member
	var addrs []string
	var direct []*client.Client
	for i := range balanceHosts {
		name := fmt.Sprintf("gpu%d", i+1)
		h := startHost(t, name, worker(), cluster.AgentConfig{TLS: ca.agent(name)})
		members, addrs = append(members, h.member), append(addrs, h.member.Addr)
		direct = append(direct, dialSocket(t, h.path))
	}
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(members...)})
	awaitUp(t, f, balanceHosts)
	socket := filepath.Join(folder(t), "s")
	startHAProxy(t, ca, socket, addrs...)
	h, err := client.New(client.WithSocket(socket), client.WithMaxIdle(0, 0), client.WithWaitForServer(patience))
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	awaitHAProxy(t, h)
	for _, way := range []struct {
		name string
		pick func() *client.Client
	}{
		{"a front", func() *client.Client { return c }},
		{"HAProxy", func() *client.Client { return h }},
		{"a random host", func() *client.Client { return direct[rand.IntN(len(direct))] }},
	} {
		p50, p95 := timeShortCalls(t, 150, way.pick)
		t.Logf("%s: p50 %v, p95 %v", way.name, p50.Round(time.Millisecond), p95.Round(time.Millisecond))
	}
}

// TestThroughputFigures has 64 callers of one front call 3 hosts with 8 slots each over TCP,
// for 10 ms each. 2,400 calls a second are possible; what the machine allows is measured
// without calls. It states the best of several runs.
func TestThroughputFigures(t *testing.T) {
	if !*figuresFlag {
		t.Skip("only for figures: go test -run Figures -v ./cluster -cluster.figures")
	}
	const hosts, slots, callers, runs, whole = 3, 8, 64, 10, time.Second
	ca := newAuthority(t)
	mux := server.NewMux()
	mux.Handle(app, "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		time.Sleep(shortWork)
		return w.Respond(nil)
	}))
	var members []cluster.Member
	for i := range hosts {
		name := fmt.Sprintf("gpu%d", i+1)
		members = append(members, startHost(t, name, mux, cluster.AgentConfig{TLS: ca.agent(name), Slots: slots}).member)
	}
	measure := func(callers int, one func(caller int)) (perSecond float64) {
		for range runs {
			var done atomic.Int64
			var running sync.WaitGroup
			begin := time.Now()
			for caller := range callers {
				running.Go(func() {
					for time.Since(begin) < whole {
						one(caller)
						done.Add(1)
					}
				})
			}
			running.Wait()
			perSecond = max(perSecond, float64(done.Load())/time.Since(begin).Seconds())
		}
		return perSecond
	}
	t.Logf("the work without calls: %.0f/s in the best of %d runs", measure(hosts*slots, func(int) { time.Sleep(shortWork) }), runs)
	for _, fronts := range []int{1, 2, 4} {
		var clients []*client.Client
		for i := range fronts {
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front(fmt.Sprintf("web%d", i)), Members: cluster.Static(members...)},
				client.WithMaxConns(callers), client.WithMaxIdle(callers, time.Minute))
			awaitUp(t, f, hosts)
			clients = append(clients, c)
		}
		perSecond := measure(callers, func(caller int) {
			_, err := clients[caller%fronts].Execute(context.Background(), app, "work")
			assert.NoError(t, err)
		})
		t.Logf("%d fronts: %.0f calls/s in the best of %d runs", fronts, perSecond, runs)
	}
}
