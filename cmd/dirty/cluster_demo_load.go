package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty/client"
)

const (
	demoCallers = 12
	// demoLoad and demoCalls are how long calls are made before and after something
	// happens, and how many there are at least: a busy machine makes few in that time.
	demoLoad  = 300 * time.Millisecond
	demoCalls = 100
)

// tally is what became of calls.
type tally struct {
	hosts    map[string]int // answers of each
	answered []int          // the numbers of these calls
	neverRan []int          // calls that have not run, by their error
	unknown  int
	slowest  time.Duration
}

// load calls from several callers at once, while it does something else, and a bit
// longer. It checks how often each call has run.
func (d *clusterDemo) load(meanwhile func() error) (*tally, error) {
	t := &tally{hosts: map[string]int{}}
	ctx, stop := context.WithCancel(d.ctx)
	defer stop()
	var mu sync.Mutex
	var failed error
	var callers sync.WaitGroup
	for range demoCallers {
		callers.Go(func() {
			for ctx.Err() == nil {
				n := int(d.last.Add(1))
				begin := time.Now()
				host, err := client.Call[string](d.ctx, d.client, clusterApp, "work", n)
				mu.Lock()
				t.slowest = max(t.slowest, time.Since(begin))
				switch {
				case err == nil:
					t.hosts[host]++
					t.answered = append(t.answered, n)
				case client.SafeToRetry(err):
					t.neverRan = append(t.neverRan, n)
				case errors.Is(err, client.ErrOutcomeUnknown):
					t.unknown++
				default:
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	made := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(t.answered) + len(t.neverRan) + t.unknown
	}
	await := func() error {
		enough := made() + demoCalls
		err := sleep(d.ctx, demoLoad)
		for err == nil && made() < enough {
			err = sleep(d.ctx, time.Millisecond)
		}
		return err
	}
	err := await()
	if err == nil {
		err = meanwhile()
	}
	err = errors.Join(err, await())
	stop()
	callers.Wait()
	return t, errors.Join(err, failed, d.check(t))
}

// check compares what the callers were told with how often their calls have run.
func (d *clusterDemo) check(t *tally) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, times := range d.runs {
		if times > 1 {
			return fmt.Errorf("call %d has run %d times", n, times)
		}
	}
	for _, n := range t.answered {
		if d.runs[n] != 1 {
			return fmt.Errorf("call %d was answered and has run %d times", n, d.runs[n])
		}
	}
	for _, n := range t.neverRan {
		if d.runs[n] != 0 {
			return fmt.Errorf("call %d is said not to have run, and has", n)
		}
	}
	return nil
}

// tell says what became of calls.
func (d *clusterDemo) tell(t *tally) {
	d.say("    %d callers made %d calls: %d answered (gpu1 %d, gpu2 %d, gpu3 %d), the slowest in %d ms;", demoCallers,
		len(t.answered)+len(t.neverRan)+t.unknown, len(t.answered), t.hosts["gpu1"], t.hosts["gpu2"], t.hosts["gpu3"], t.slowest.Milliseconds())
	d.say("    the outcome of %d is unknown to their callers, %d did not run, none ran twice", t.unknown, len(t.neverRan))
}
