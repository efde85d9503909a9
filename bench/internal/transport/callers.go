package transport

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

var callerModes = []mode{modeOf(modeBare), modeOf(modeConn), modeOf(modeTwoTwo), messageMode}

// callers measures several connections, with one request in flight on each.
func (p plan) callers(place string, r *Results) error {
	text := strings.Repeat("x", 20)
	size, err := frameSize(echoRequest(text))
	if err != nil {
		return err
	}
	for _, conns := range []int{1, 8, 64} {
		err := withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, m := range callerModes {
				_, ends, err := peers.open(m, job{Size: size}, conns)
				if err != nil {
					return err
				}
				cases = append(cases, rounds.Case{Name: m.name, Run: func(n int) error {
					return share(n, conns, func(i, n int) error { return echoes(ends[i], n) })
				}})
			}
			call, _, err := openLibrary(peers, conns)
			if err != nil {
				return err
			}
			cases = append(cases, rounds.Case{Name: callLibrary, Run: func(n int) error {
				return share(n, conns, func(i, n int) error {
					for range n {
						if err := call(i, text); err != nil {
							return err
						}
					}
					return nil
				})
			}})
			results, err := p.measure(cases)
			r.callers = append(r.callers, set{place: place, size: size, conns: conns, results: results})
			return err
		})
		if err != nil {
			return fmt.Errorf("%d connections: %w", conns, err)
		}
	}
	return nil
}

// share does n things, divided among so many goroutines.
func share(n, workers int, do func(worker, n int) error) error {
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		if mine := n*(i+1)/workers - n*i/workers; mine > 0 {
			group.Go(func() { errs[i] = do(i, mine) })
		}
	}
	group.Wait()
	return errors.Join(errs...)
}
