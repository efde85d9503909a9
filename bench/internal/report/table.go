// Package report turns what was measured into Markdown and charts.
package report

import "github.com/gunicorn-go/dirty/bench/internal/rounds"

// Table is a table of the report. The first column is the name of the row.
type Table struct {
	Title   string
	Note    string // a line or two below the title
	Columns []string
	Rows    []Row
	Remarks []string // numbered lines below the table
}

// Row is a line of a table.
type Row struct {
	Name  string
	Cells []string
}

// Bars is a chart: groups of bars, a bar of each series in every group.
type Bars struct {
	Title  string
	File   string // the name of its file, without the folder; by default it is made of the title
	YLabel string
	Groups []string
	Series []Series
	Ours   int // which of the series to paint in another colour; -1: none
}

// Series is the bars of one colour, a value a group; NaN leaves one out.
type Series struct {
	Name   string
	Values []float64
}

// Goal is a figure that was wanted and what was measured.
type Goal struct {
	What    string
	Value   float64
	Want    float64
	AtLeast bool // else at most
	Spread  rounds.Spread
	Why     string // why it is missed, where it is
}

// Met reports whether the goal was reached.
func (g Goal) Met() bool {
	if g.AtLeast {
		return g.Value >= g.Want
	}
	return g.Value <= g.Want
}
