package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
)

var (
	hostsFlag  = flag.Int("cluster.hosts", 30, "how many hosts TestManyHosts has")
	frontsFlag = flag.Int("cluster.fronts", 5, "how many fronts TestManyHosts has")
)

// TestManyHosts checks with many hosts and fronts that calls hardly wait while a third
// of the workers is free, and how many messages the load takes. Nearly all calls take
// 10 ms, every twentieth 200 ms.
func TestManyHosts(t *testing.T) {
	const slots, short, long, every, whole = 4, 10 * time.Millisecond, 200 * time.Millisecond, 20, time.Second
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{t: t}
		mux := server.NewMux()
		mux.Handle(app, "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			time.Sleep(time.Duration(r.Args[0].(int64)))
			return w.Respond(nil)
		}))
		for i := range *hostsFlag {
			s.add(fmt.Sprintf("gpu%d", i), slots, mux)
		}
		var mu sync.Mutex
		var waits []time.Duration
		var callers sync.WaitGroup
		stop := make(chan struct{})
		perFront := *hostsFlag * slots * 2 / 3 / *frontsFlag
		for range *frontsFlag {
			c := s.front()
			for range perFront {
				callers.Go(func() {
					for n := rand.IntN(every); ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						work := short
						if n%every == 0 {
							work = long
						}
						begin := time.Now()
						_, err := c.Execute(context.Background(), app, "work", int64(work))
						assert.NoError(t, err)
						mu.Lock()
						waits = append(waits, time.Since(begin)-work)
						mu.Unlock()
					}
				})
			}
		}
		time.Sleep(whole / 2) // until all are connected
		mu.Lock()
		waits = nil
		mu.Unlock()
		before := s.network.writes.Load()
		time.Sleep(whole)
		mu.Lock()
		calls := slices.Clone(waits)
		mu.Unlock()
		messages := s.network.writes.Load() - before - 2*int64(len(calls))
		close(stop)
		callers.Wait()
		s.end()
		slices.Sort(calls)
		p99 := calls[len(calls)*99/100]
		perLink := float64(messages) / whole.Seconds() / float64(*hostsFlag**frontsFlag)
		t.Logf("%d hosts of %d workers, %d fronts: %d calls/s, beside their work p50 %v, p99 %v, at most %v; about %.1f load messages a second from each agent to each front",
			*hostsFlag, slots, *frontsFlag, len(calls), calls[len(calls)/2], p99, calls[len(calls)-1], perLink)
		assert.Less(t, p99, 5*time.Millisecond)
		assert.Less(t, perLink, 60.0)
	})
}
