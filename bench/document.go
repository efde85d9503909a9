package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty/bench/internal/codecs"
	"github.com/gunicorn-go/dirty/bench/internal/python"
	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/transport"
)

// results is all that was measured.
type results struct {
	facts     report.Facts
	rounds    int
	long      time.Duration
	missing   []string
	codecs    codecs.Results
	python    python.Results
	transport transport.Results
}

func (r results) document() report.Document {
	d := report.Document{
		Intro: "This codec and this transport beside others, on one machine in one run. " +
			"`go run -C bench .` measures everything and writes this page.",
		Missing: r.missing,
	}
	d.Sections = append(d.Sections, r.inShort(), r.how())
	d.Sections = slices.Concat(d.Sections, r.codecSections(), r.pythonSections(), r.transportSections())
	return d
}

// inShort is for who has two minutes.
func (r results) inShort() report.Section {
	s := report.Section{
		Title: "In short",
		Text: "A figure below 1 means that dirty is faster: at 0.5 it takes half the time. " +
			"These are geometric means over the values, without the large bytes, in which there is nothing to do but copy, " +
			"and for Go types without the nested lists, which are no use as one.",
	}
	if len(r.codecs.Values) > 0 {
		s.Tables = append(s.Tables, r.codecs.Short())
		s.Charts = r.codecs.Charts()
		s.Tables = append(s.Tables, report.Goals("Goals", slices.Concat(r.codecs.Summary(codecs.UsualGC), r.python.Summary(), r.transport.Summary())))
	}
	return s
}

func (r results) how() report.Section {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, "- "+format+"\n", args...) }
	line("Machine: %s", r.facts.Machine)
	line("Go: %s", r.facts.Go)
	line("Date: %s", r.facts.Date)
	line("Commit: %s", r.facts.Commit)
	if r.python.About != "" {
		line("Python: %s", r.python.About)
	}
	line("%d rounds. In each round every competitor runs for about %s, in an order that changes, from a heap without garbage.", r.rounds, r.long)
	line("Ratios are taken inside a round, because the machine changes its speed from one to the next. " +
		"What is shown is the median over the rounds, with the quartiles in brackets.")
	line("All do the same work: a test decodes what each encoded and compares it with the value. " +
		"What they encode goes into memory that they reuse; what they decode owns its memory.")
	line("Dirty and json sort the keys of maps, the others do not. msgp does not check that text is UTF-8.")
	line("The collector is the usual one, GOGC=100, unless GOGC=1000 is said, which hides most of its work. " +
		"One value is in memory at a time. A program with more live memory collects less often than this one, " +
		"so that its figures lie between the two.")
	line("Allocations are those of the round with the fewest.")
	return report.Section{Title: "How it was measured", Text: strings.TrimSpace(text.String()), Tables: []report.Table{valueTable(r.codecs), peerTable()}}
}

func valueTable(r codecs.Results) report.Table {
	t := report.Table{Title: "Values", Columns: []string{"value", "what", "bytes"}}
	for _, v := range r.Values {
		t.Rows = append(t.Rows, report.Row{Name: v.Name, Cells: []string{v.What, report.Count(float64(v.Size))}})
	}
	return t
}

func peerTable() report.Table {
	t := report.Table{Title: "Peers", Columns: []string{"name", "module", "version", "how it is used"}}
	for _, c := range codecs.Peers()[1:] {
		module, version := "Go's own", "Go's"
		if c.Module != "" {
			module, version = c.Module, report.Version(c.Module)
		}
		t.Rows = append(t.Rows, report.Row{Name: c.Name, Cells: []string{module, version, c.Use}})
	}
	return t
}

func (r results) codecSections() []report.Section {
	if len(r.codecs.Values) == 0 {
		return nil
	}
	s := report.Section{
		Title: "The codec, value by value",
		Text: "`copy` moves the encoded bytes to warm memory, which is the physical limit; `bytes.Clone` moves them to fresh memory. " +
			"*Dict* is ours with ordered dicts in place of maps, *AliasBytes* with large bytes that are not copied, *Valid* only checks. " +
			"The typed msgp is generated code, all others go by reflection. A dash: cannot be done, as the table of peers says.",
		Tables: []report.Table{
			report.Goals("Goals in short, GOGC=1000", r.codecs.Summary(codecs.RareGC)),
			report.Goals("Goals, value by value", r.codecs.Goals()),
		},
	}
	for _, op := range codecs.Operations {
		s.Folded = append(s.Folded, report.Fold{Title: "All figures: " + string(op), Tables: r.codecs.Tables(op)})
	}
	return []report.Section{s}
}

func (r results) pythonSections() []report.Section {
	if r.python.About == "" {
		return nil
	}
	return []report.Section{{
		Title: "Gunicorn's own codec",
		Text: "TLVEncoder of " + r.python.About + ", which measures itself in its own process, in the same rounds as ours. " +
			"A figure says how many times as fast ours is.",
		Tables: []report.Table{report.Goals("Goals, value by value", r.python.Goals())},
		Folded: []report.Fold{{Title: "All figures", Tables: r.python.Tables()}},
	}}
}

func (r results) transportSections() []report.Section {
	tables, charts := r.transport.Tables(), r.transport.Charts()
	if len(tables) == 0 {
		return nil
	}
	for i, c := range charts {
		charts[i].Ours = slices.IndexFunc(c.Series, func(s report.Series) bool { return strings.HasPrefix(s.Name, "dirty") })
		if charts[i].Ours < 0 {
			charts[i].Ours = len(c.Series) - 1 // the library as a whole comes last
		}
	}
	return []report.Section{{
		Title:  "The transport",
		Text:   "Two processes on a Unix socket.",
		Tables: []report.Table{report.Goals("Goals", r.transport.Goals())},
		Charts: charts,
		Folded: []report.Fold{{Title: "All figures", Tables: tables}},
	}}
}
