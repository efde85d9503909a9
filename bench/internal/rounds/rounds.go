// Package rounds measures competitors in turns. In each round every one runs
// once, so a machine that changes its speed changes it for all. Ratios are
// taken inside a round.
package rounds

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// Clock returns the time since some moment in the past.
type Clock func() time.Duration

var processStart = time.Now()

// Wall is the time on the wall. It counts waits, and whatever other programs
// take from this one.
func Wall() time.Duration { return time.Since(processStart) }

// Case is one competitor. Run does the same work n times.
type Case struct {
	Name string
	Run  func(n int) error

	// Timed takes the place of Run if the work is done in another process. It
	// returns how long the work took there, without the way there and back.
	Timed func(n int) (time.Duration, error)
}

// Sample is what one case took in one round, for one operation.
type Sample struct {
	Nanoseconds float64
	Allocs      float64 // of this process
	Bytes       float64 // allocated by this process
}

// Result is what one case took: a sample a round.
type Result struct {
	Name    string
	Samples []Sample
}

// Measure runs each case once in each of so many rounds, for about the duration
// a round, by the clock. The order changes from round to round, because the
// first may find other caches and another heap than the second.
func Measure(clock Clock, cases []Case, rounds int, duration time.Duration) ([]Result, error) {
	results := make([]Result, len(cases))
	repeats := make([]int, len(cases)) // of a case in a round
	for i, c := range cases {
		n, err := calibrate(clock, c, duration)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		results[i].Name, repeats[i] = c.Name, n
	}
	for round := range rounds {
		for turn := range cases {
			i := (round + turn) % len(cases)
			if round%2 == 1 {
				i = len(cases) - 1 - i
			}
			s, err := sample(clock, cases[i], repeats[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cases[i].Name, err)
			}
			results[i].Samples = append(results[i].Samples, s)
		}
	}
	return results, nil
}

// calibrate warms a case up and returns how many operations take about the
// duration.
func calibrate(clock Clock, c Case, duration time.Duration) (int, error) {
	const most = 1 << 30 // operations, for work that takes no time
	for n := 1; ; n *= 2 {
		s, err := sample(clock, c, n)
		if err != nil {
			return 0, err
		}
		if n >= most {
			return n, nil
		}
		if s.Nanoseconds*float64(n) >= float64(duration)/4 {
			return max(1, int(float64(duration)/s.Nanoseconds)), nil
		}
	}
}

// sample runs a case n times, from a heap without the garbage of others. To get
// that it collects, which empties pools too, so the case runs once before it
// counts.
func sample(clock Clock, c Case, n int) (Sample, error) {
	var before, after runtime.MemStats
	runtime.GC()
	if _, err := c.run(clock, 1); err != nil {
		return Sample{}, err
	}
	runtime.ReadMemStats(&before)
	took, err := c.run(clock, n)
	runtime.ReadMemStats(&after)
	per := func(x uint64) float64 { return float64(x) / float64(n) }
	return Sample{
		Nanoseconds: per(uint64(took)),
		Allocs:      per(after.Mallocs - before.Mallocs),
		Bytes:       per(after.TotalAlloc - before.TotalAlloc),
	}, err
}

func (c Case) run(clock Clock, n int) (time.Duration, error) {
	if c.Timed != nil {
		return c.Timed(n)
	}
	start := clock()
	err := c.Run(n)
	return clock() - start, err
}

// Spread is the distribution of figures over the rounds.
type Spread struct{ Low, Median, High float64 } // quartiles

// SpreadOf returns the quartiles of at least one figure.
func SpreadOf(figures []float64) Spread {
	sorted := slices.Sorted(slices.Values(figures))
	at := func(q float64) float64 {
		pos := q * float64(len(sorted)-1)
		i := int(pos)
		if i+1 == len(sorted) {
			return sorted[i]
		}
		return sorted[i] + (pos-float64(i))*(sorted[i+1]-sorted[i])
	}
	return Spread{at(0.25), at(0.5), at(0.75)}
}

// Time returns the nanoseconds of an operation.
func (r Result) Time() Spread {
	return r.spread(func(s Sample) float64 { return s.Nanoseconds })
}

// Allocs returns the allocations of an operation: those of the round with
// the fewest, because the runtime makes some of its own now and then.
func (r Result) Allocs() float64 {
	return r.least(func(s Sample) float64 { return s.Allocs })
}

// Bytes returns the bytes that an operation allocates, as Allocs does.
func (r Result) Bytes() float64 {
	return r.least(func(s Sample) float64 { return s.Bytes })
}

func (r Result) least(of func(Sample) float64) float64 {
	least := math.Inf(1)
	for _, s := range r.Samples {
		least = min(least, of(s))
	}
	return least
}

func (r Result) spread(of func(Sample) float64) Spread {
	figures := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		figures[i] = of(s)
	}
	return SpreadOf(figures)
}

// Ratio returns r's time over base's.
func (r Result) Ratio(base Result) Spread { return SpreadOf(r.Ratios(base)) }

// Ratios returns r's time over base's, round by round.
func (r Result) Ratios(base Result) []float64 {
	ratios := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		ratios[i] = s.Nanoseconds / base.Samples[i].Nanoseconds
	}
	return ratios
}

// GeometricMeans returns the geometric mean of the figures of each round,
// given those of several measurements of equally many rounds.
func GeometricMeans(figures ...[]float64) []float64 {
	means := make([]float64, len(figures[0]))
	for i := range means {
		for _, f := range figures {
			means[i] += math.Log(f[i])
		}
		means[i] = math.Exp(means[i] / float64(len(figures)))
	}
	return means
}
