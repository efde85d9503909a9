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

	// CPU is a second clock, if there is one: the time that processors have
	// worked for all processes of the case.
	CPU Clock

	// Latencies, if there is one, returns how long each operation of the last Run
	// took. Measure sorts what it gets.
	Latencies func() []time.Duration
}

// Sample is what one case took in one round, for one operation.
type Sample struct {
	Nanoseconds float64
	Allocs      float64 // of this process
	Bytes       float64 // allocated by this process
	CPU         float64 // nanoseconds by the second clock; 0 without one
	P50, P99    float64 // nanoseconds: half of the operations took less, and 99 of 100; 0 without latencies
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

// hangTime is how long a sample may take. None takes more than a few seconds.
const hangTime = 2 * time.Minute

// sample runs a case n times, from a heap without the garbage of others. To get
// that it collects, which empties pools too, so the case runs once before it
// counts.
func sample(clock Clock, c Case, n int) (Sample, error) {
	// A library has been seen to hang, with all of its calls waiting for each other.
	defer time.AfterFunc(hangTime, func() { panic(fmt.Sprintf("%s has not ended within %v", c.Name, hangTime)) }).Stop()
	var before, after runtime.MemStats
	runtime.GC()
	if _, err := c.run(clock, 1); err != nil {
		return Sample{}, err
	}
	runtime.ReadMemStats(&before)
	cpu := c.cpu()
	took, err := c.run(clock, n)
	cpu = c.cpu() - cpu
	runtime.ReadMemStats(&after)
	per := func(x uint64) float64 { return float64(x) / float64(n) }
	s := Sample{
		Nanoseconds: per(uint64(took)),
		Allocs:      per(after.Mallocs - before.Mallocs),
		Bytes:       per(after.TotalAlloc - before.TotalAlloc),
		CPU:         per(uint64(cpu)),
	}
	if err == nil && c.Latencies != nil {
		s.P50, s.P99 = percentiles(c.Latencies())
	}
	return s, err
}

func (c Case) cpu() time.Duration {
	if c.CPU == nil {
		return 0
	}
	return c.CPU()
}

// percentiles returns what half of at least one latency are below, and what 99 of
// 100 are below.
func percentiles(latencies []time.Duration) (p50, p99 float64) {
	slices.Sort(latencies)
	at := func(hundredths int) float64 { return float64(latencies[len(latencies)*hundredths/100]) }
	return at(50), at(99)
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

// A Figure is one of the figures of a sample.
type Figure func(Sample) float64

func nanoseconds(s Sample) float64 { return s.Nanoseconds }

// CPUTime is the time by the second clock of a case.
func CPUTime(s Sample) float64 { return s.CPU }

// P50 is the latency that half of the operations were below.
func P50(s Sample) float64 { return s.P50 }

// P99 is the latency that 99 of 100 operations were below.
func P99(s Sample) float64 { return s.P99 }

// Time returns the nanoseconds of an operation.
func (r Result) Time() Spread { return r.Spread(nanoseconds) }

// Allocs returns the allocations of an operation: those of the round with
// the fewest, because the runtime makes some of its own now and then.
func (r Result) Allocs() float64 {
	return r.least(func(s Sample) float64 { return s.Allocs })
}

// Bytes returns the bytes that an operation allocates, as Allocs does.
func (r Result) Bytes() float64 {
	return r.least(func(s Sample) float64 { return s.Bytes })
}

func (r Result) least(of Figure) float64 {
	least := math.Inf(1)
	for _, s := range r.Samples {
		least = min(least, of(s))
	}
	return least
}

// Spread returns the spread of a figure over the rounds.
func (r Result) Spread(of Figure) Spread {
	figures := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		figures[i] = of(s)
	}
	return SpreadOf(figures)
}

// Ratio returns r's time over base's.
func (r Result) Ratio(base Result) Spread { return SpreadOf(r.Ratios(base)) }

// Ratios returns r's time over base's, round by round.
func (r Result) Ratios(base Result) []float64 { return r.ratios(base, nanoseconds) }

// RatioOf returns a figure of r over that of base.
func (r Result) RatioOf(of Figure, base Result) Spread { return SpreadOf(r.ratios(base, of)) }

func (r Result) ratios(base Result, of Figure) []float64 {
	ratios := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		ratios[i] = of(s) / of(base.Samples[i])
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
