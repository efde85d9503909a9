package transport

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// Tables returns the tables of the report.
func (r Results) Tables() []report.Table {
	return slices.Concat(r.echoTables(), r.countTables(), r.bufferTables(), r.streamTables(), r.callerTables())
}

// Goals returns what was wanted of the transport and what was measured. The echo is
// judged on one core, if that was possible. On several cores the time to wake one up
// hides the rest.
func (r Results) Goals() []report.Goal {
	return slices.Concat(r.echoGoals(), r.countGoals(), r.bufferGoals(), r.streamGoals(), r.callerGoals())
}

// Charts returns the charts of the report.
func (r Results) Charts() []report.Bars {
	if len(r.echoes) == 0 {
		return nil
	}
	return []report.Bars{r.echoChart(), r.streamChart(), r.callerChart()}
}

// byPlace groups sets by where they ran, in order.
func byPlace[T interface{ where() string }](sets []T) [][]T {
	var groups [][]T
	for _, s := range sets {
		if n := len(groups); n > 0 && groups[n-1][0].where() == s.where() {
			groups[n-1] = append(groups[n-1], s)
		} else {
			groups = append(groups, []T{s})
		}
	}
	return groups
}

func (s set) where() string { return s.place }

// setsForGoals returns the sets of the first place, where the goals are judged.
func setsForGoals[T interface{ where() string }](sets []T) []T {
	if len(sets) == 0 {
		return nil
	}
	return byPlace(sets)[0]
}

func (r Results) echoTables() (tables []report.Table) {
	var notes []string
	for _, m := range modes {
		notes = append(notes, m.name+": "+m.note)
	}
	for _, sets := range byPlace(r.echoes) {
		t := report.Table{
			Title:   "Echo between two processes, " + sets[0].place,
			Note:    "A cell has the time of a round trip and, after ×, how many times that of the bare loop it is in the same round, with the quartiles. The allocations are those of one side, at the smallest and the largest size. " + strings.Join(notes, ". ") + ".",
			Columns: []string{"mode"},
		}
		for _, s := range sets {
			t.Columns = append(t.Columns, sizeText(s.size))
		}
		t.Columns = append(t.Columns, "allocations")
		for _, m := range modes {
			var cells []string
			for _, s := range sets {
				cells = append(cells, timeCell(s.of(m.name), s.of(modeBare)))
			}
			first, last := sets[0].of(m.name).Allocs(), sets[len(sets)-1].of(m.name).Allocs()
			t.Rows = append(t.Rows, report.Row{Name: m.name, Cells: append(cells, fmt.Sprintf("%.1f, %.1f", first, last))})
		}
		tables = append(tables, t)
	}
	return tables
}

// Summary returns the goals in short.
func (r Results) Summary() []report.Goal { return append(r.speedGoals(), r.callGoals()...) }

// speedGoals says that a dirty.Conn is nearly as fast as a bare loop.
func (r Results) speedGoals() (goals []report.Goal) {
	for _, s := range setsForGoals(r.echoes) {
		goals = append(goals, goal(fmt.Sprintf("echo of %s, %s: speed over that of a bare loop", sizeText(s.size), s.place),
			s.of(modeBare).Ratio(s.of(modeConn)), 0.85, true, whySpeed))
	}
	return goals
}

func (r Results) echoGoals() []report.Goal {
	goals := r.speedGoals()
	for _, s := range setsForGoals(r.echoes) {
		ours := s.of(modeConn)
		if want := floorGoals[s.size]; want > 0 && rawMode.open != nil {
			goals = append(goals, goal(fmt.Sprintf("echo of %s, %s: time over that of blocking system calls", sizeText(s.size), s.place),
				ours.Ratio(s.of(modeRaw)), want, false, whyEchoOverRaw))
		}
		goals = append(goals, goal(fmt.Sprintf("echo of %s: allocations a message with reused memory", sizeText(s.size)),
			exactSpread(math.Round(ours.Allocs()*100)/100), 0, false, whyAllocated))
	}
	return goals
}

// Why goals can be missed.
const (
	whySpeed        = "Both do the same system calls, so the machine was not quiet."
	whyAllocated    = "The memory of a frame is taken from a pool, which the collector empties now and then."
	whyWrites       = "The send buffer was full, so a frame took a second write."
	whyEchoOverRaw  = "Go's poller waits for a frame with two system calls more than a blocking read: a read that finds nothing, and one that waits. A frame of 32 KiB and more takes one more read besides, because it is read past the window."
	whyReads        = "A frame of 32 KiB and more is read past the window, straight to where it stays. That spares a copy and costs one more read."
	whySendBuffer   = "A Writer enlarges the send buffer itself with the first frame of 256 KiB, so the default has the larger buffer too."
	whyTwoTwo       = "The goal was set for one core, where all time is system calls. On several cores part of the time is waking one up, which both must."
	whyGathered     = "The reader takes about 100 ns a frame, which bounds what gathering can gain. The goal comes from a prototype whose reader only looked for the next frame."
	whyCallOverRPC  = "All calls of net/rpc share one connection, so under load one read gets several of them. gunicorn serves the calls of a connection one by one, so our client takes a connection for each. See the row of net/rpc with more connections."
	whyCallOverEcho = "The text belongs to whoever gets it, so each side allocates memory for it. That alone comes near the goal: see dirty.Conn, echo from new memory. With encoding and decoding it is over it: see dirty.Conn, messages. Of what a call allocates, nine tenths are the text. The collector runs each time that 3 MB were allocated, in programs that hold little memory. A call has a pool, a time limit, a context and a handler besides, and looks whether its peer still lives. PERFORMANCE.md has the parts."
	whyChunks       = "One side is slower than the other and waits, so the machine counts for more than the code."
)

// floorGoals has how much longer than raw system calls a frame may take, by size.
var floorGoals = map[int]float64{100: 1.4, 1600: 1.4, 64 << 10: 1.1}

func (r Results) echoChart() report.Bars {
	sets := setsForGoals(r.echoes)
	bars := report.Bars{Title: "Echo between two processes, " + sets[0].place, File: "bench-echo.svg", YLabel: "time / bare loop"}
	for _, s := range sets {
		bars.Groups = append(bars.Groups, sizeText(s.size))
	}
	for _, m := range modes {
		series := report.Series{Name: m.name}
		for _, s := range sets {
			series.Values = append(series.Values, s.of(m.name).Ratio(s.of(modeBare)).Median)
		}
		bars.Series = append(bars.Series, series)
	}
	return bars
}

func (r Results) countTables() []report.Table {
	if len(r.counts) == 0 {
		return nil
	}
	t := report.Table{
		Title:   "System calls for a frame",
		Note:    "A cell has the system calls for one frame: those of this process / those of its child. Both run on one core. A reader that must wait for a frame makes one read more, which finds nothing. More than one write means that the send buffer was full.",
		Columns: []string{"mode", "frame", "writes", "reads"},
	}
	for _, c := range r.counts {
		t.Rows = append(t.Rows, report.Row{Name: c.mode, Cells: []string{
			sizeText(c.size),
			fmt.Sprintf("%.2f / %.2f", c.near.writes, c.far.writes),
			fmt.Sprintf("%.2f / %.2f", c.near.reads, c.far.reads),
		}})
	}
	return []report.Table{t}
}

// smallFrame is the largest frame that fits into the send buffer at once.
const smallFrame = 64 << 10

func (r Results) countGoals() (goals []report.Goal) {
	for _, c := range r.counts {
		if c.mode != modeConn || c.size > smallFrame {
			continue
		}
		// A hundredth is for what else the process does.
		goals = append(goals,
			goal(fmt.Sprintf("writes for a frame of %s", sizeText(c.size)), exactSpread(max(c.near.writes, c.far.writes)), 1.01, false, whyWrites),
			goal(fmt.Sprintf("reads for a frame of %s", sizeText(c.size)), exactSpread(max(c.near.reads, c.far.reads)), 2.01, false, whyReads))
	}
	return goals
}

func (r Results) bufferTables() (tables []report.Table) {
	for _, sets := range byPlace(r.buffers) {
		t := report.Table{
			Title:   "Send buffer of both ends, " + sets[0].place,
			Note:    "Frames over dirty.Conn. A cell has the time of a round trip, or of one frame of a stream that goes one way, and after × how many times that with the default buffer it is. Linux gives twice what SO_SNDBUF asks for, but no more than twice net.core.wmem_max, which is 208 KiB by default.",
			Columns: []string{"SO_SNDBUF", "effective"},
		}
		for _, s := range sets {
			what := "echo of "
			if s.stream {
				what = "stream of "
			}
			t.Columns = append(t.Columns, what+sizeText(s.size))
		}
		for _, b := range sendBuffers {
			cells := []string{sizeText(sets[0].effective[b.name])}
			for _, s := range sets {
				cells = append(cells, timeCell(s.of(b.name), s.of("default")))
			}
			t.Rows = append(t.Rows, report.Row{Name: b.name, Cells: cells})
		}
		tables = append(tables, t)
	}
	return tables
}

func (r Results) bufferGoals() (goals []report.Goal) {
	for _, s := range setsForGoals(r.buffers) {
		if s.size == 1<<20 && !s.stream {
			goals = append(goals, goal("echo of 1 MiB with a send buffer of 1 MiB, "+s.place+": time over that with the default",
				s.of("1 MiB").Ratio(s.of("default")), 0.75, false, whySendBuffer))
		}
	}
	return goals
}

func (r Results) streamTables() (tables []report.Table) {
	for _, sets := range byPlace(r.streams) {
		t := report.Table{
			Title:   "One-way streams of chunks, " + sets[0].place,
			Note:    "A cell has the chunks a second and, after ×, how many times those of one WriteFrame for each chunk they are. The allocations are those of the reader, for each chunk. The producer is always ahead. server.Server runs a StreamFunc; client.Stream decodes to any.",
			Columns: []string{"written → read"},
		}
		for _, s := range sets {
			t.Columns = append(t.Columns, "frames of "+sizeText(s.size), "allocations")
		}
		for _, way := range streamWays {
			name, cells := streamCase(way.produced, way.read), []string(nil)
			for _, s := range sets {
				cells = append(cells, rateCell(s.of(name), s.of(streamBase)), fmt.Sprintf("%.1f", s.of(name).Allocs()))
			}
			t.Rows = append(t.Rows, report.Row{Name: name, Cells: cells})
		}
		tables = append(tables, t)
	}
	return tables
}

var (
	streamBase     = streamCase(serveFrames, readFrames)
	streamGathered = streamCase(serveGathered, readFrames)
)

func (r Results) streamGoals() (goals []report.Goal) {
	for _, s := range setsForGoals(r.streams) {
		if s.size == 100 {
			goals = append(goals, goal("stream of 100 B chunks gathered in 64 KiB, "+s.place+": speed over that of a write each",
				s.of(streamBase).Ratio(s.of(streamGathered)), 20, true, whyGathered))
		}
	}
	return goals
}

func (r Results) streamChart() report.Bars {
	sets := setsForGoals(r.streams)
	bars := report.Bars{Title: "One-way streams, " + sets[0].place, File: "bench-streams.svg", YLabel: "chunks/s"}
	for _, s := range sets {
		bars.Groups = append(bars.Groups, sizeText(s.size))
	}
	for _, way := range streamWays {
		series := report.Series{Name: streamCase(way.produced, way.read)}
		for _, s := range sets {
			series.Values = append(series.Values, rate(s.of(series.Name).Time().Median))
		}
		bars.Series = append(bars.Series, series)
	}
	return bars
}

func (r Results) callerTables() []report.Table {
	if len(r.callers) == 0 {
		return nil
	}
	first := r.callers[0]
	t := report.Table{
		Title:   "Connections with one request in flight each, " + first.place,
		Note:    fmt.Sprintf("A cell has the requests of %s a second and, after ×, how many times those of the bare loop they are. The allocations are those of the caller, for each request. All modes but the last echo the frame as it is.", sizeText(first.size)),
		Columns: []string{"mode"},
	}
	for _, s := range r.callers {
		t.Columns = append(t.Columns, fmt.Sprintf("N = %d", s.conns))
	}
	t.Columns = append(t.Columns, "allocations")
	for _, c := range first.results {
		var cells []string
		for _, s := range r.callers {
			cells = append(cells, rateCell(s.of(c.Name), s.of(modeBare)))
		}
		t.Rows = append(t.Rows, report.Row{Name: c.Name, Cells: append(cells, fmt.Sprintf("%.1f", c.Allocs()))})
	}
	return []report.Table{t}
}

func (r Results) callerGoals() (goals []report.Goal) {
	for _, s := range r.callers {
		if s.conns == 8 {
			goals = append(goals, goal("8 connections: requests a second over those of two writes and two reads",
				s.of(modeTwoTwo).Ratio(s.of(modeConn)), 1.5, true, whyTwoTwo))
		}
	}
	return goals
}

func (r Results) callerChart() report.Bars {
	bars := report.Bars{Title: "One request in flight on each of N connections, " + r.callers[0].place, File: "bench-callers.svg", YLabel: "requests/s"}
	for _, s := range r.callers {
		bars.Groups = append(bars.Groups, fmt.Sprintf("N = %d", s.conns))
	}
	for _, c := range r.callers[0].results {
		series := report.Series{Name: c.Name}
		for _, s := range r.callers {
			series.Values = append(series.Values, rate(s.of(c.Name).Time().Median))
		}
		bars.Series = append(bars.Series, series)
	}
	return bars
}

func goal(what string, s rounds.Spread, want float64, atLeast bool, why string) report.Goal {
	return report.Goal{What: what, Value: s.Median, Want: want, AtLeast: atLeast, Spread: s, Why: why}
}

// exactSpread returns the spread of what was measured once.
func exactSpread(x float64) rounds.Spread { return rounds.Spread{Low: x, Median: x, High: x} }

func rate(nanoseconds float64) float64 { return float64(time.Second) / nanoseconds }

// timeCell writes how long an operation takes, and how much longer than another.
func timeCell(r, base rounds.Result) string {
	return fmt.Sprintf("%s, ×%s", report.Time(r.Time().Median), report.Ratio(r.Ratio(base)))
}

// rateCell writes how often something is done in a second, and how many times as
// often as another.
func rateCell(r, base rounds.Result) string {
	return fmt.Sprintf("%s/s, ×%s", report.Short(rate(r.Time().Median)), report.Ratio(base.Ratio(r)))
}

func sizeText(n int) string {
	switch {
	case n >= 1<<20:
		return trimmed(float64(n)/(1<<20)) + " MiB"
	case n >= 16<<10:
		return trimmed(float64(n)/(1<<10)) + " KiB"
	case n >= 1000:
		return trimmed(float64(n)/1000) + " KB"
	}
	return fmt.Sprintf("%d B", n)
}

// trimmed writes a figure with one digit after the point, unless that is a zero.
func trimmed(x float64) string {
	s := fmt.Sprintf("%.1f", x)
	return cmp.Or(strings.TrimSuffix(s, ".0"), s)
}
