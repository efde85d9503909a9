package transport

import (
	"fmt"

	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// CallTables returns the tables of calls and of chunks beside other libraries.
func (r Results) CallTables() []report.Table {
	if len(r.calls) == 0 {
		return nil
	}
	var columns []string
	for _, s := range r.calls {
		columns = append(columns, plural(s.conns, "caller"))
	}
	tables := []report.Table{connectionTable()}
	for _, f := range []struct {
		title string
		of    rounds.Figure
	}{
		{"CPU time of a call, both sides", rounds.CPUTime},
		{"Latency, p50", rounds.P50},
		{"Latency, p99", rounds.P99},
	} {
		tables = append(tables, compare(f.title, columns, r.calls, callLibrary, func(of, base rounds.Result) string {
			return figureCell(f.of, of, base)
		}))
	}
	return append(tables, compare("Calls a second", columns, r.calls, callLibrary, rateCell))
}

// ChunkTables returns the tables of chunks beside another library.
func (r Results) ChunkTables() []report.Table {
	if len(r.chunks) == 0 {
		return nil
	}
	var columns []string
	for _, s := range r.chunks {
		columns = append(columns, "chunks of "+sizeText(s.size))
	}
	return []report.Table{
		compare("CPU time of a chunk, both sides", columns, r.chunks, chunksLibrary, func(of, base rounds.Result) string {
			return figureCell(rounds.CPUTime, of, base)
		}),
		compare("Chunks a second", columns, r.chunks, chunksLibrary, rateCell),
	}
}

// CallCharts returns the chart of calls beside other libraries.
func (r Results) CallCharts() []report.Bars {
	if len(r.calls) == 0 {
		return nil
	}
	bars := report.Bars{Title: "CPU time of a call of " + sizeText(callSize) + ", both sides", File: "bench-calls.svg", YLabel: "µs. Shorter is cheaper."}
	for _, s := range r.calls {
		bars.Groups = append(bars.Groups, plural(s.conns, "caller"))
	}
	for _, name := range namesOf(r.calls) {
		series := report.Series{Name: name}
		for _, s := range r.calls {
			series.Values = append(series.Values, s.of(name).Spread(rounds.CPUTime).Median/1000)
		}
		bars.Series = append(bars.Series, series)
	}
	return []report.Bars{bars}
}

func connectionTable() report.Table {
	t := report.Table{Title: "Who takes part", Columns: []string{"library", "its connections"}}
	for _, p := range callPeers {
		t.Rows = append(t.Rows, report.Row{Name: p.name, Cells: []string{p.note}})
	}
	return t
}

// compare returns a table with a row for each case and a column for each set. The
// cells compare a case with the base.
func compare(title string, columns []string, sets []set, base string, cell func(of, base rounds.Result) string) report.Table {
	t := report.Table{Title: title, Columns: append([]string{"library"}, columns...)}
	for _, name := range namesOf(sets) {
		row := report.Row{Name: name}
		for _, s := range sets {
			row.Cells = append(row.Cells, cell(s.of(name), s.of(base)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// namesOf returns the names of the cases, in order. Each set has the same.
func namesOf(sets []set) []string {
	var names []string
	for _, r := range sets[0].results {
		names = append(names, r.Name)
	}
	return names
}

// figureCell writes a time, and how many times that of another it is.
func figureCell(f rounds.Figure, r, base rounds.Result) string {
	return fmt.Sprintf("%s, ×%s", report.Time(r.Spread(f).Median), report.Ratio(r.RatioOf(f, base)))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// callGoals returns the goals of calls and of chunks.
func (r Results) callGoals() (goals []report.Goal) {
	for _, s := range r.calls {
		ours := s.of(callLibrary)
		what := fmt.Sprintf("calls of %s, %s: CPU time over that of ", sizeText(s.size), plural(s.conns, "caller"))
		if s.conns == 8 {
			for _, name := range []string{callConn, callMessages} {
				goals = append(goals, goal(what+name, ours.RatioOf(rounds.CPUTime, s.of(name)), 1.5, false, whyCallOverEcho))
			}
		}
		if s.conns <= mostConns {
			goals = append(goals, goal(what+callRPC, ours.RatioOf(rounds.CPUTime, s.of(callRPC)), 1, false, whyCallOverRPC))
		}
	}
	for _, s := range r.chunks {
		if s.size != smallChunk {
			continue
		}
		for _, name := range []string{chunksLibrary, chunksRaw} {
			goals = append(goals, goal(fmt.Sprintf("chunks of %s, %s: chunks a second over those of grpc-go", sizeText(s.size), name),
				s.of(chunksGRPC).Ratio(s.of(name)), 1, true, whyChunks))
		}
	}
	return goals
}
