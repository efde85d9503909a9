package codecs

import (
	"fmt"
	"math"

	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// Short returns one table for readers in a hurry: the geometric means.
func (r Results) Short() report.Table {
	t := report.Table{Columns: []string{"time of dirty / time of"}}
	for _, c := range Others() {
		t.Columns = append(t.Columns, c.Name)
	}
	for _, op := range Operations {
		row := report.Row{Name: string(op)}
		for _, c := range Others() {
			cell := report.None
			if means := r.means(op, UsualGC, c.Name, r.meanValues(op)); means != nil {
				cell = report.Number(rounds.SpreadOf(means).Median)
			}
			row.Cells = append(row.Cells, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Tables returns all the figures of an operation.
func (r Results) Tables(op Operation) []report.Table {
	names := r.competitorNames(op)
	return []report.Table{
		r.table(op, UsualGC, "time", names, func(run map[string]rounds.Result, name string) string {
			return report.Time(run[name].Time().Median)
		}),
		r.ratioTable(op, UsualGC),
		r.ratioTable(op, RareGC),
		r.table(op, UsualGC, "allocations", names, func(run map[string]rounds.Result, name string) string {
			return report.Count(run[name].Allocs())
		}),
	}
}

// ratioTable has our time over that of each other, and the geometric means.
func (r Results) ratioTable(op Operation, gc int) report.Table {
	names := []string{limit}
	for _, c := range Others() {
		names = append(names, c.Name)
	}
	t := r.table(op, gc, "time of dirty / time of the other", names, func(run map[string]rounds.Result, name string) string {
		return report.Ratio(run[ours].Ratio(run[name]))
	})
	mean := report.Row{Name: "geometric mean"}
	for _, name := range names {
		cell := report.None
		if ratios := r.means(op, gc, name, r.meanValues(op)); ratios != nil {
			cell = report.Ratio(rounds.SpreadOf(ratios))
		}
		mean.Cells = append(mean.Cells, cell)
	}
	t.Rows = append(t.Rows, mean)
	return t
}

func (r Results) table(op Operation, gc int, what string, names []string, cell func(map[string]rounds.Result, string) string) report.Table {
	t := report.Table{Title: fmt.Sprintf("%s: %s", op, what), Columns: append([]string{"value"}, names...)}
	if gc != UsualGC {
		t.Title += fmt.Sprintf(", GOGC=%d", gc)
	}
	for _, v := range r.Values {
		if !op.Measures(v) {
			continue
		}
		run := r.runs[key{op, v.Name, gc}]
		row := report.Row{Name: v.Name}
		for _, name := range names {
			if run[name].Samples == nil {
				row.Cells = append(row.Cells, report.None)
			} else {
				row.Cells = append(row.Cells, cell(run, name))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// competitorNames returns who took part in an operation with any value.
func (r Results) competitorNames(op Operation) []string {
	var names []string
	for _, c := range competitors(op, true) {
		names = append(names, c.Name)
	}
	return names
}

// meanValues returns the values that count for the geometric mean of an
// operation. Blobs do not, nor do the levels as a Go type: nobody would use
// them so.
func (r Results) meanValues(op Operation) []string {
	var names []string
	for _, v := range r.Values {
		if op.Measures(v) && !v.Blob && (v.Name != levels || !op.ofTypes()) {
			names = append(names, v.Name)
		}
	}
	return names
}

// means returns the geometric means, over the values, of our time over the
// peer's, one for each round. It is nil if one of the values was not measured, or if
// there are none.
func (r Results) means(op Operation, gc int, peer string, names []string) []float64 {
	var all [][]float64
	for _, v := range names {
		ratios := r.ratios(op, v, gc, ours, peer)
		if ratios == nil {
			return nil
		}
		all = append(all, ratios)
	}
	if len(all) == 0 {
		return nil
	}
	return rounds.GeometricMeans(all...)
}

// Charts returns a chart for each kind of operation: the time of each codec,
// where ours is 1.
func (r Results) Charts() []report.Bars {
	return []report.Bars{
		r.chart("Decode to any", "bench-decode.svg", DecodeAny),
		r.chart("Encode any", "bench-encode.svg", EncodeAny),
		r.chart("Decode to Go types", "bench-decode-typed.svg", DecodeTyped),
		r.chart("Encode Go types", "bench-encode-typed.svg", EncodeTyped),
	}
}

func (r Results) chart(title, file string, op Operation) report.Bars {
	bars := report.Bars{
		Title:  title,
		File:   file,
		YLabel: "Time, that of dirty being 1. Shorter is faster.",
		Groups: append([]string{"geometric mean"}, r.meanValues(op)...),
	}
	median := func(ratios []float64) float64 {
		if ratios == nil {
			return math.NaN()
		}
		return rounds.SpreadOf(ratios).Median
	}
	for _, c := range append([]Codec{Ours()}, Others()...) {
		s := report.Series{Name: c.Name, Values: []float64{1 / median(r.means(op, UsualGC, c.Name, r.meanValues(op)))}}
		for _, v := range r.meanValues(op) {
			s.Values = append(s.Values, median(r.ratios(op, v, UsualGC, c.Name, ours)))
		}
		bars.Series = append(bars.Series, s)
	}
	return bars
}
