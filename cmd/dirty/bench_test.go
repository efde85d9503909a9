package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestBenchTimesFromIntendedStart: when a call is slow, those that had to wait behind
// it count with their wait.
func TestBenchTimesFromIntendedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		m := &measurement{
			benchFlags: benchFlags{callers: 1, duration: time.Second, rate: 10},
			latency:    newHistogram(),
			call: func(ctx context.Context) error {
				if calls++; calls == 1 {
					return sleep(ctx, 500*time.Millisecond)
				}
				return nil
			},
		}
		m.run(t.Context())
		assert.Equal(t, 10, calls)
		// The calls of 0.1 to 0.4 s had to wait until 0.5 s.
		assert.InDelta(t, 500_000, m.latency.Max(), 1000)
		assert.InDelta(t, 100_000, m.latency.ValueAtQuantile(60), 200)
		assert.InDelta(t, 0, m.latency.ValueAtQuantile(50), 200)
	})
}

// TestBenchFailures: failures are counted by kind and have no time.
func TestBenchFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		m := &measurement{
			benchFlags: benchFlags{callers: 3, duration: time.Second},
			latency:    newHistogram(),
			failures:   map[string]int64{},
			call: func(ctx context.Context) error {
				_ = sleep(ctx, 100*time.Millisecond)
				return boom
			},
		}
		m.run(t.Context())
		assert.Equal(t, map[string]int64{"other": 30}, m.failures)
		assert.Equal(t, boom, m.firstError)
		assert.Zero(t, m.latency.TotalCount())
	})
}

// TestHistogram: the bars are as long as their parts of the longest one.
func TestHistogram(t *testing.T) {
	h := newHistogram()
	for value, n := range map[int64]int64{0: 1, 3: 50, 4: 100, 7: 100, 1000: 1} {
		assert.NoError(t, h.RecordValues(value, n))
	}
	var out strings.Builder
	printHistogram(&out, h)
	lines := strings.Split(out.String(), "\n")
	assert.Len(t, lines, 12)
	assert.Regexp(t, `^< 1µs +# +1$`, lines[0])
	assert.Regexp(t, `^< 4µs +#{13} +50$`, lines[2])
	assert.Regexp(t, `^< 8µs +#{50} 200$`, lines[3])
	assert.Regexp(t, `^< 16µs +0$`, lines[4])
	assert.Regexp(t, `^< 1.024ms +# +1$`, lines[10])
}
