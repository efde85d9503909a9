package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

const helpBench = `Calls an action again and again and prints how long the calls took. Name the arbiter with
-s, --pid-file or GUNICORN_DIRTY_SOCKET: it is not looked for, since the calls take
the workers from everybody else.

Without --rate each of the -c callers makes a call when its last one has ended. With
it calls are to start at even times, and each is timed from the time at which it was to
start: a call that had to wait because others were slow counts with its wait.

` + helpArgs + `

--plot draws the median and the 99th percentile of the calls that were to start within
each part of the time: a pause of the workers shows as a peak.

Interrupted, it prints what it has. The exit status is that of the first call that
failed.`

// benchFlags is what is measured.
type benchFlags struct {
	callers  int
	duration time.Duration
	rate     float64
	plot     bool
}

func (c *cli) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "bench APP ACTION [ARG|NAME=ARG]...",
		Short:             "Measure how long calls take, and how many there can be",
		Long:              helpBench,
		Example:           "  dirty bench -s /run/app/dirty.sock app:Math add 1 2 -c 8 -d 10s\n  dirty bench -s /run/app/dirty.sock app:Math add 1 2 --rate 500 --plot",
		Args:              needArgs(2, -1, "an app and an action"),
		ValidArgsFunction: c.completeApps,
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	flags := c.addArgFlags(cmd)
	dryRun := addDryRunFlag(cmd)
	var b benchFlags
	cmd.Flags().IntVarP(&b.callers, "callers", "c", 1, "how many calls there are at one time")
	cmd.Flags().DurationVarP(&b.duration, "duration", "d", 10*time.Second, "for how long")
	cmd.Flags().Float64Var(&b.rate, "rate", 0, "start so many calls a second, together")
	cmd.Flags().BoolVar(&b.plot, "plot", false, "draw how long calls took in the course of the time, in place of the histogram")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case b.plot && c.format == formatJSON:
			return usagef("--plot: it is a drawing, leave out -o json")
		case b.callers < 1 || b.callers > maxCallers:
			return usagef("--callers %d: want 1 to %d", b.callers, maxCallers)
		case b.duration <= 0:
			return usagef("--duration %v: want more than 0", b.duration)
		case cmd.Flags().Changed("rate") && !(b.rate > 0 && b.rate <= maxRate): // not a number is refused too
			return usagef("--rate %v: want more than 0 and at most %d", b.rate, int(maxRate))
		}
		call, err := flags.parse(cmd, args[2:])
		if err != nil {
			return err
		}
		if *dryRun {
			return c.printCall(call, args[0], args[1])
		}
		return c.bench(cmd.Context(), b, args[0], args[1], call.list())
	}
	return cmd
}

const (
	// maxCallers bounds the connections: gunicorn's backlog has room for 100.
	maxCallers = 100

	// maxRate bounds the calls a second.
	maxRate = 1e6

	// maxLatency bounds what the histogram can hold; what took longer counts so.
	maxLatency = time.Hour
)

func (c *cli) bench(ctx context.Context, b benchFlags, app, action string, args []any) error {
	t, err := c.chooseNamedTarget(ctx)
	if err != nil {
		return err
	}
	arbiter, err := c.connectTo(t, client.WithMaxConns(b.callers), client.WithMaxIdle(b.callers, client.DefaultIdleTime))
	if err != nil {
		return err
	}
	defer arbiter.Close()
	m := &measurement{
		benchFlags: b,
		call: func(ctx context.Context) error {
			_, err := client.Call[dirty.RawValue](ctx, arbiter, app, action, args...)
			return err
		},
		latency:  newHistogram(),
		failures: map[string]int64{},
	}
	if b.plot {
		m.course = newCourse(b.duration)
	}
	stopProgress := m.showProgress(c.stderr)
	m.run(ctx)
	stopProgress()
	if err := c.printMeasurement(m); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.firstError
}

// chooseNamedTarget is chooseTarget for commands that must not look for an arbiter.
func (c *cli) chooseNamedTarget(ctx context.Context) (target, error) {
	t, err := c.chooseTarget(ctx)
	if err != nil {
		return target{}, err
	}
	if !t.named {
		return target{}, usagef("name the arbiter, with -s, --pid-file or %s", client.EnvSocket)
	}
	return t, nil
}

// measurement is a run of the benchmark.
type measurement struct {
	benchFlags
	call func(context.Context) error

	course *course // nil if nobody wants to see it

	started atomic.Int64 // calls, of a rate: in their order
	done    atomic.Int64
	elapsed time.Duration

	mu         sync.Mutex // guards what follows
	latency    *hdrhistogram.Histogram
	failures   map[string]int64 // by outcome
	firstError error
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), 3)
}

// run makes calls until the time is up or ctx ends, and waits for those that run.
func (m *measurement) run(ctx context.Context) {
	start := time.Now()
	end := start.Add(m.duration)
	var callers sync.WaitGroup
	for range m.callers {
		callers.Go(func() {
			own := newHistogram()
			for ctx.Err() == nil {
				intended, ok := m.next(ctx, start, end)
				if !ok {
					break
				}
				err := m.call(ctx)
				if ctx.Err() != nil {
					break
				}
				m.done.Add(1)
				if err != nil {
					m.fail(err)
					continue
				}
				took := min(time.Since(intended), maxLatency).Microseconds()
				_ = own.RecordValue(took) // it is in range
				if m.course != nil {
					m.course.record(intended.Sub(start), took)
				}
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.latency.Merge(own)
		})
	}
	callers.Wait()
	m.elapsed = time.Since(start)
}

// next waits until the next call is to start, and returns that time. ok is false if
// there is none.
func (m *measurement) next(ctx context.Context, start, end time.Time) (intended time.Time, ok bool) {
	n := m.started.Add(1) - 1
	intended = time.Now()
	if m.rate > 0 {
		intended = start.Add(time.Duration(float64(n) / m.rate * float64(time.Second)))
	}
	if !intended.Before(end) {
		return intended, false
	}
	if pause := time.Until(intended); pause > 0 && sleep(ctx, pause) != nil {
		return intended, false
	}
	return intended, true
}

func (m *measurement) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[client.Outcome(err)]++
	if m.firstError == nil {
		m.firstError = err
	}
}

// showProgress shows on a terminal how many calls are done. It returns a function that
// ends this.
func (m *measurement) showProgress(out io.Writer) (stop func()) {
	if !isTerminal(out) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		start := time.Now()
		for sleep(ctx, time.Second/2) == nil {
			fmt.Fprintf(out, "\r%v of %v, %d calls ", time.Since(start).Round(time.Second), m.duration, m.done.Load())
		}
		fmt.Fprint(out, "\r\x1b[K")
	}()
	return func() {
		cancel()
		<-ended
	}
}

// shownMeasurement is the result in JSON. Times are in seconds.
type shownMeasurement struct {
	Calls     int64              `dirty:"calls"`
	Failures  map[string]int64   `dirty:"failures"`
	Seconds   float64            `dirty:"seconds"`
	PerSecond float64            `dirty:"calls_per_second"`
	Latency   map[string]float64 `dirty:"latency"`
}

// quantiles are the percentiles that are printed.
var quantiles = []struct {
	name    string
	percent float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}}

func (c *cli) printMeasurement(m *measurement) error {
	done := m.done.Load()
	perSecond := float64(done) / m.elapsed.Seconds()
	if c.format == formatJSON {
		latency := map[string]float64{}
		if m.latency.TotalCount() > 0 {
			latency["mean"] = m.latency.Mean() / 1e6
			for _, q := range quantiles {
				latency[q.name] = float64(m.latency.ValueAtQuantile(q.percent)) / 1e6
			}
		}
		return c.printJSONLine(shownMeasurement{done, m.failures, m.elapsed.Seconds(), perSecond, latency})
	}
	failed := done - m.latency.TotalCount()
	fmt.Fprintf(c.stdout, "%s in %v: %.1f a second, %d failed\n", count(int(done), "call"), m.elapsed.Round(time.Millisecond), perSecond, failed)
	for _, outcome := range slices.Sorted(maps.Keys(m.failures)) {
		fmt.Fprintf(c.stdout, "  %s: %d\n", outcome, m.failures[outcome])
	}
	if m.latency.TotalCount() == 0 {
		return nil
	}
	fmt.Fprintf(c.stdout, "mean   %v\n", microseconds(int64(m.latency.Mean())))
	for _, q := range quantiles {
		fmt.Fprintf(c.stdout, "%-5s  %v\n", q.name, microseconds(m.latency.ValueAtQuantile(q.percent)))
	}
	fmt.Fprintln(c.stdout)
	if m.course != nil {
		fmt.Fprintln(c.stdout, m.course.draw(widthOf(c.stdout), c.colorful(c.stdout)))
		return nil
	}
	printHistogram(c.stdout, m.latency)
	return nil
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// printHistogram prints a bar for each range of times. Each range ends at twice the
// end of the one before.
func printHistogram(out io.Writer, h *hdrhistogram.Histogram) {
	var counts [65]int64 // at i: of times with i binary digits
	first, last, most := len(counts), 0, int64(0)
	for _, bar := range h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		i := bits.Len64(uint64(bar.From))
		counts[i] += bar.Count
		first, last, most = min(first, i), max(last, i), max(most, counts[i])
	}
	const width = 50
	for i := first; i <= last; i++ {
		bar := strings.Repeat("#", int((counts[i]*width+most-1)/most))
		fmt.Fprintf(out, "< %-12v %-*s %d\n", microseconds(1<<i), width, bar, counts[i])
	}
}
