package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	killsFlag = flag.Int("cluster.kills", 100, "how many connections TestKilledConnections kills at random")
	callsFlag = flag.Int("cluster.calls", 1000, "how many calls TestKilledConnections makes at least")
)

// TestKilledConnections kills connections between fronts and agents at random, under
// load. Each call has a number, and the arbiters count how often each ran: none runs
// twice, each answer is the right one, and what is said not to have run has not.
func TestKilledConnections(t *testing.T) {
	const hosts, slots, fronts, callers = 3, 8, 2, 24
	ca := newAuthority(t)
	var mu sync.Mutex
	runs, never := map[int64]int{}, []int64{} // never: calls that are said not to have run
	mux := server.NewMux()
	mux.Handle(app, "square", server.Func(func(_ context.Context, n int64) (int64, error) {
		mu.Lock()
		runs[n]++
		mu.Unlock()
		if n%8 == 0 { // some take longer
			time.Sleep(time.Millisecond)
		}
		return n * n, nil
	}))
	var members []cluster.Member
	var relays []*relay
	for i := range hosts {
		name := fmt.Sprintf("gpu%d", i)
		h := startHost(t, name, mux, cluster.AgentConfig{TLS: ca.agent(name), Slots: slots})
		relays = append(relays, startRelay(t, h.member.Addr))
		members = append(members, cluster.Member{Addr: relays[i].addr()})
	}
	var last, ok, unknown, cancelled, refused atomic.Int64
	var slowest time.Duration
	killed := func() int {
		n := 0
		for _, r := range relays {
			n += int(r.kills.Load())
		}
		return n
	}
	sent := func() int64 { return last.Load() - refused.Load() } // while no host is there, calls are refused at once
	enough := func() bool { return killed() >= *killsFlag && sent() >= int64(*callsFlag) }
	var running sync.WaitGroup
	for i := range fronts {
		f, c := startFront(t, cluster.FrontConfig{TLS: ca.front(fmt.Sprintf("web%d", i)), Members: cluster.Static(members...)})
		awaitUp(t, f, hosts)
		for range callers {
			running.Go(func() {
				for !enough() {
					n := last.Add(1)
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					if n%16 == 0 { // some callers leave
						time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
					}
					begin := time.Now()
					v, err := client.Call[int64](ctx, c, app, "square", n)
					took := time.Since(begin)
					cancel()
					mu.Lock()
					ran := runs[n]
					slowest = max(slowest, took)
					mu.Unlock()
					switch {
					case err == nil:
						ok.Add(1)
						assert.Equal(t, n*n, v, "the answer")
						assert.Equal(t, 1, ran, "a call that was answered")
					case client.SafeToRetry(err):
						refused.Add(1)
						mu.Lock()
						never = append(never, n)
						mu.Unlock()
					case errors.Is(err, context.Canceled):
						cancelled.Add(1)
					case errors.Is(err, client.ErrOutcomeUnknown):
						unknown.Add(1)
					default:
						assert.NoError(t, err)
					}
				}
			})
		}
	}
	running.Go(func() {
		for !enough() {
			// One for each few answers, so that some are answered on a slow machine too.
			if n := killed(); n < *killsFlag && ok.Load() >= int64(n**callsFlag / *killsFlag / 2) {
				relays[rand.IntN(hosts)].cutOne()
			}
			time.Sleep(time.Millisecond)
		}
	})
	running.Wait()
	mu.Lock()
	defer mu.Unlock()
	for _, n := range never { // now, since it could have run later
		assert.Zero(t, runs[n], "a call that has not run")
	}
	twice := 0
	for _, n := range runs {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d connections killed, %d calls: %d ok, %d cancelled, %d unknown, %d refused, %d run twice, slowest %v",
		killed(), last.Load(), ok.Load(), cancelled.Load(), unknown.Load(), refused.Load(), twice, slowest)
	assert.Zero(t, twice)
	require.Greater(t, ok.Load(), sent()/4)
}
