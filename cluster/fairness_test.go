package cluster_test

import (
	"context"
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

// TestFairness checks that fronts with few callers get their share beside fronts with
// many, and that little of the slots is lost. Each front has at least as many callers
// as its share.
func TestFairness(t *testing.T) {
	const hosts, slots, work, whole = 3, 8, 10 * time.Millisecond, time.Second / 2
	for _, fronts := range []int{1, 4, 16} {
		t.Run(fmt.Sprintf("%d fronts", fronts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{t: t}
				mux := server.NewMux()
				mux.Handle(app, "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
					time.Sleep(work)
					return w.Respond(nil)
				}))
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
						n = 8 * share // a few fronts have many callers
					}
					for range n {
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
				time.Sleep(whole)
				total, least := int64(0), int64(1<<60)
				for i := range counts {
					total += counts[i].Load()
					least = min(least, counts[i].Load())
				}
				close(stop)
				callers.Wait()
				s.end()
				slices.Sort(times)
				used := float64(total) * float64(work) / float64(whole) / (hosts * slots)
				fair := float64(least) * float64(fronts) / float64(total)
				t.Logf("%.2f of what the slots allow, the front with the fewest calls has %.2f of its share, p50 %v, p99 %v",
					used, fair, times[len(times)/2], times[len(times)*99/100])
				assert.Greater(t, used, 0.85)
				assert.Greater(t, fair, 0.5)
			})
		})
	}
}
