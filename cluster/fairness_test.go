package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
)

var fairnessFlag = flag.Bool("cluster.fairness", false, "let TestFairness have up to 64 fronts, for a longer time")

// TestFairness checks that fronts with few callers get their share beside fronts with
// many, that little of the slots is lost, and that no call waits much longer than the
// others. Each front has at least as many callers as its share. If there are several apps,
// each worker has all of them, and the callers of a front call them in turn.
func TestFairness(t *testing.T) {
	for _, test := range []struct {
		fronts, apps int
		large        bool // only with the flag
	}{
		{1, 1, false}, {4, 1, false}, {16, 1, false}, {32, 1, true}, {64, 1, true},
		{4, 3, false}, {16, 3, false}, {64, 3, true},
	} {
		t.Run(fmt.Sprintf("%d fronts, %d apps", test.fronts, test.apps), func(t *testing.T) {
			if test.large && !*fairnessFlag {
				t.Skip("takes long, so only for figures: -cluster.fairness")
			}
			synctest.Test(t, func(t *testing.T) { checkFairness(t, test.fronts, test.apps) })
		})
	}
}

func checkFairness(t *testing.T, fronts, apps int) {
	t.Helper()
	const hosts, slots, work, warmUp = 3, 8, 10 * time.Millisecond, 100 * time.Millisecond
	const many = 8 // times its share is what a front with many callers has
	whole := time.Second / 2
	if *fairnessFlag {
		whole = 2 * time.Second
	}
	s := &simulation{t: t}
	mux := server.NewMux()
	names := make([]string, apps)
	for i := range names {
		names[i] = fmt.Sprintf("app%d:Model", i)
		mux.Handle(names[i], "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			time.Sleep(work)
			return w.Respond(nil)
		}))
	}
	for i := range hosts {
		s.add(fmt.Sprintf("gpu%d", i), slots, mux)
	}
	counts := make([]atomic.Int64, fronts)
	share := (hosts*slots + fronts - 1) / fronts
	var mu sync.Mutex
	var times []time.Duration
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for i := range fronts {
		c, n := s.front(), share+1
		if i%4 == 0 {
			n = many * share
		}
		for caller := range n {
			app := names[caller%apps]
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					from := time.Now()
					_, err := c.Execute(context.Background(), app, "work")
					assert.NoError(t, err)
					mu.Lock()
					times = append(times, time.Since(from))
					mu.Unlock()
					counts[i].Add(1)
				}
			})
		}
	}
	time.Sleep(warmUp)
	refusals := s.network.refusals.Load()
	before := make([]int64, fronts)
	for i := range counts {
		before[i] = counts[i].Load()
	}
	time.Sleep(whole)
	total, least := int64(0), int64(1<<60)
	for i := range counts {
		n := counts[i].Load() - before[i]
		total += n
		least = min(least, n)
	}
	refusals = s.network.refusals.Load() - refusals
	close(stop)
	callers.Wait()
	s.end()
	slices.Sort(times)
	used := float64(total) * float64(work) / float64(whole) / (hosts * slots)
	fair := float64(least) * float64(fronts) / float64(total)
	refused := float64(refusals) / float64(total+refusals)
	p99 := times[len(times)*99/100]
	longest := work * time.Duration(many*share*fronts) / (hosts * slots) // in a front with many callers and just its share
	t.Logf("%.2f of what the slots allow, the front with the fewest calls has %.2f of its share, %.2f of the requests were refused, p50 %v, p99 %v, at most %v",
		used, fair, refused, times[len(times)/2], p99, times[len(times)-1])
	assert.Greater(t, used, 0.85)
	assert.Greater(t, fair, 0.5)
	assert.Less(t, refused, 0.3)
	assert.Less(t, p99, longest*3/2)
}
