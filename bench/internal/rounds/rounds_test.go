package rounds

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMeasure sleeps on a clock of its own: on a loaded machine each sleep takes longer.
func TestMeasure(t *testing.T) { synctest.Test(t, testMeasure) }

func testMeasure(t *testing.T) {
	var order []string
	sleeper := func(name string, d time.Duration) Case {
		return Case{Name: name, Run: func(n int) error {
			order = append(order, name)
			time.Sleep(d * time.Duration(n))
			return nil
		}}
	}
	elsewhere := Case{Name: "elsewhere", Timed: func(n int) (time.Duration, error) {
		return time.Duration(n) * time.Second, nil
	}}
	results, err := Measure(Wall, []Case{sleeper("slow", 4*time.Millisecond), sleeper("quick", time.Millisecond), elsewhere}, 3, 4*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, results, 3)
	for _, r := range results {
		require.Len(t, r.Samples, 3)
	}
	require.Equal(t, float64(time.Second), results[2].Time().Median)
	require.Equal(t, 4.0, results[0].Ratio(results[1]).Median)
	turns := order[len(order)-12:] // of two cases in three rounds, each with a run before it to warm up
	require.NotEqual(t, turns[:4], turns[4:8], "who is first changes")
}

// TestSecondFigures: a case that has a second clock and latencies is measured by
// them too.
func TestSecondFigures(t *testing.T) {
	var cpu time.Duration
	var latencies []time.Duration
	results, err := Measure(Wall, []Case{{
		Name: "x",
		Run: func(n int) error {
			cpu += 3 * time.Microsecond * time.Duration(n)
			latencies = latencies[:0]
			for i := range 100 {
				latencies = append(latencies, time.Duration(99-i))
			}
			time.Sleep(time.Millisecond)
			return nil
		},
		CPU:       func() time.Duration { return cpu },
		Latencies: func() []time.Duration { return latencies },
	}, {Name: "y", Run: func(int) error { return nil }}}, 3, time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, Spread{3000, 3000, 3000}, results[0].Spread(CPUTime))
	require.Equal(t, Spread{50, 50, 50}, results[0].Spread(P50))
	require.Equal(t, Spread{99, 99, 99}, results[0].Spread(P99))
	require.Equal(t, Spread{1, 1, 1}, results[0].RatioOf(CPUTime, results[0]))
	require.Zero(t, results[1].Spread(CPUTime))
	require.Zero(t, results[1].Spread(P99))
}

// TestCPU: a clock of the processor counts work, and not waiting.
func TestCPU(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("CPU is Wall on this system")
	}
	wait := func(int) error {
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	work := func(int) error {
		for start := CPU(); CPU()-start < 20*time.Millisecond; {
		}
		return nil
	}
	results, err := Measure(CPU, []Case{{Name: "wait", Run: wait}, {Name: "work", Run: work}}, 1, time.Millisecond)
	require.NoError(t, err)
	require.Less(t, results[0].Time().Median, results[1].Time().Median/2)
}

func TestMeasureFails(t *testing.T) {
	broken := errors.New("broken")
	_, err := Measure(Wall, []Case{{Name: "x", Run: func(int) error { return broken }}}, 1, time.Millisecond)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "x:")
}

func TestAllocs(t *testing.T) {
	var kept []byte
	results, err := Measure(Wall, []Case{{Name: "x", Timed: func(n int) (time.Duration, error) {
		for range n {
			kept = make([]byte, 1024)
		}
		return time.Duration(n) * time.Microsecond, nil // so that there are many, however loaded the machine is
	}}}, 3, time.Millisecond)
	require.NoError(t, err)
	require.Len(t, kept, 1024)
	require.InDelta(t, 1, results[0].Allocs(), 0.1)
	require.InDelta(t, 1024, results[0].Bytes(), 100)
}

func TestSpreadOf(t *testing.T) {
	for _, test := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{3, 1}, Spread{1.5, 2, 2.5}},
		{[]float64{5, 1, 4, 2, 3}, Spread{2, 3, 4}},
	} {
		require.Equal(t, test.want, SpreadOf(test.figures), "%v", test.figures)
	}
}

func TestGeometricMeans(t *testing.T) {
	require.InDeltaSlice(t, []float64{2, 6}, GeometricMeans([]float64{1, 4}, []float64{4, 9}), 1e-9)
}

func TestRatios(t *testing.T) {
	result := func(ns ...float64) (r Result) {
		for _, n := range ns {
			r.Samples = append(r.Samples, Sample{Nanoseconds: n})
		}
		return r
	}
	require.Equal(t, []float64{2, 0.5}, result(4, 3).Ratios(result(2, 6)))
	require.Equal(t, Spread{0.875, 1.25, 1.625}, result(4, 3).Ratio(result(2, 6)))
}
