package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// topColumn is a column of top. compare puts those first that want a look.
type topColumn struct {
	name    string
	text    func(w seenWorker) string
	compare func(a, b seenWorker) int
}

// topColumns are the columns of top, the one to sort by first.
var topColumns = []topColumn{
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

func (s *seenArbiter) sort(column string) {
	i := slices.IndexFunc(topColumns, func(c topColumn) bool { return c.name == column })
	slices.SortStableFunc(s.Workers, func(a, b seenWorker) int {
		return cmp.Or(topColumns[i].compare(a, b), cmp.Compare(a.Age, b.Age))
	})
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
