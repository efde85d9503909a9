package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// topColumn is a column of top. compare puts those rows first that want a look.
type topColumn[Row any] struct {
	name    string
	text    func(r Row) string
	compare func(a, b Row) int
}

// topColumns are the columns of top, the one to sort by first.
var topColumns = []topColumn[seenWorker]{
	{"age", func(w seenWorker) string { return fmt.Sprint(w.Age) },
		func(a, b seenWorker) int { return cmp.Compare(a.Age, b.Age) }},
	{"pid", func(w seenWorker) string { return fmt.Sprint(w.PID) },
		func(a, b seenWorker) int { return cmp.Compare(a.PID, b.PID) }},
	{"state", func(w seenWorker) string { return w.State },
		func(a, b seenWorker) int {
			return cmp.Or(cmp.Compare(b.Silent, a.Silent), cmp.Compare(a.State, b.State))
		}},
	{"silent", func(w seenWorker) string { return seconds(w.Silent) },
		func(a, b seenWorker) int { return cmp.Compare(b.Silent, a.Silent) }},
	{"heartbeat", func(w seenWorker) string { return heartbeat(w.Booted, w.Heartbeat) },
		func(a, b seenWorker) int { return cmp.Compare(b.Heartbeat, a.Heartbeat) }},
	{"apps", func(w seenWorker) string { return strings.Join(w.Apps, ", ") },
		func(a, b seenWorker) int { return slices.Compare(a.Apps, b.Apps) }},
}

// sortRows sorts by a column. Rows that are alike there are sorted by the first column.
func sortRows[Row any](rows []Row, columns []topColumn[Row], name string) {
	i := slices.IndexFunc(columns, func(c topColumn[Row]) bool { return c.name == name })
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(columns[i].compare(a, b), columns[0].compare(a, b))
	})
}

// renderRows returns the table of rows.
func renderRows[Row any](rows []Row, columns []topColumn[Row], shape tableShape) string {
	titles, cells := make([]string, len(columns)), make([][]string, len(rows))
	for i, name := range namesOf(columns) {
		titles[i] = strings.ToUpper(name)
	}
	for i, row := range rows {
		for _, column := range columns {
			cells[i] = append(cells[i], printable(column.text(row)))
		}
	}
	return renderTable(titles, cells, shape)
}

// namesOf returns the names of columns.
func namesOf[Row any](columns []topColumn[Row]) []string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.name
	}
	return names
}

// seconds returns a time for a table; 0 is nothing.
func seconds(n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", n)
}

// ago returns how long ago a time was, in whole seconds.
func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" }
