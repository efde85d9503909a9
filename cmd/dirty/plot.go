package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/guptarohit/asciigraph"
)

const (
	// courseParts is into how many parts the time of a measurement is divided.
	courseParts = 60

	// plotHeight is how many lines a plot has, and plotWidth how many columns its
	// curves have where the width of the terminal is not known.
	plotHeight, plotWidth = 12, 68

	// plotMargin is how many columns are left of the curves.
	plotMargin = 12
)

// course is how long calls took in each part of a measurement. It may be used
// concurrently.
type course struct {
	part time.Duration

	mu    sync.Mutex
	parts [courseParts]*hdrhistogram.Histogram // nil: no calls
}

func newCourse(whole time.Duration) *course {
	return &course{part: max(whole/courseParts, 1)}
}

// record counts a call that was to start at a time after the start, and took so many
// microseconds.
func (c *course) record(at time.Duration, took int64) {
	i := max(0, min(int(at/c.part), courseParts-1))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts[i] == nil {
		c.parts[i] = hdrhistogram.New(1, maxLatency.Microseconds(), 2)
	}
	_ = c.parts[i].RecordValue(took) // it is in range
}

// draw draws two percentiles. A part without calls repeats the one
// before it. width is that of the terminal, 0 if it is not known.
func (c *course) draw(width int, colorful bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var p50, p99 []float64
	for _, h := range c.parts[:c.used()] {
		switch {
		case h != nil:
			p50 = append(p50, float64(h.ValueAtQuantile(50)))
			p99 = append(p99, float64(h.ValueAtQuantile(99)))
		case len(p50) > 0:
			p50, p99 = append(p50, p50[len(p50)-1]), append(p99, p99[len(p99)-1])
		}
	}
	if len(p50) == 0 {
		return ""
	}
	if len(p50) == 1 { // a curve has two ends
		p50, p99 = append(p50, p50[0]), append(p99, p99[0])
	}
	columns := plotWidth
	if width > 0 {
		columns = max(min(width-plotMargin, 2*plotWidth), 1)
	}
	colors := []asciigraph.AnsiColor{asciigraph.Default, asciigraph.Default}
	legend := "lower curve p50, upper curve p99"
	if colorful {
		colors = []asciigraph.AnsiColor{asciigraph.Green, asciigraph.Red}
		legend = "green p50, red p99"
	}
	plot := asciigraph.PlotMany([][]float64{p50, p99}, asciigraph.Height(plotHeight), asciigraph.Width(columns),
		asciigraph.LowerBound(0), asciigraph.YAxisValueFormatter(shortTime), asciigraph.SeriesColors(colors...))
	caption := fmt.Sprintf("over %v: %s", (time.Duration(c.used()) * c.part).Round(time.Millisecond), legend)
	return strings.TrimRight(plot, "\n") + "\n" + caption
}

// shortTime returns microseconds with three digits or so.
func shortTime(n float64) string {
	d := microseconds(int64(n))
	for unit := time.Second; unit >= time.Microsecond; unit /= 10 {
		if d >= 100*unit {
			return d.Round(unit).String()
		}
	}
	return d.String()
}

// used returns how many parts there are up to the last one with calls.
func (c *course) used() int {
	n := len(c.parts)
	for n > 0 && c.parts[n-1] == nil {
		n--
	}
	return n
}
