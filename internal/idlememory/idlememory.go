// Package idlememory is what the tests of client and server share that measure the memory
// of idle connections.
package idlememory

import (
	"runtime"
	"strconv"
	"testing"
)

// Calls is how many calls a connection has carried before it was idle.
const Calls = 4

// conns is how many connections Test makes: so many that what else the process does with
// its memory meanwhile counts little.
const conns = 600

// Measure returns how many bytes each of so many connections takes that is idle after
// calls whose arguments and results have a size.
type Measure func(tb testing.TB, conns, size int) float64

// Test fails if an idle connection takes more than Max, whatever it has carried.
func Test(t *testing.T, sizes []int, measure Measure) {
	for _, size := range sizes {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			if bytes := measure(t, conns, size); bytes >= Max {
				t.Errorf("an idle connection takes %.0f bytes, which must be less than %d", bytes, Max)
			}
		})
	}
}

// Benchmark reports how much an idle connection takes. Run it with -benchtime 1x.
func Benchmark(b *testing.B, sizes []int, measure Measure) {
	for _, size := range sizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(measure(b, 10_000, size), "B/conn")
			}
			b.ReportMetric(0, "ns/op") // means nothing
		})
	}
}

// Used returns the bytes of the heap and of stacks that are in use.
func Used() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
