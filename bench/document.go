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
	duration  time.Duration // of a case in a round
	took      time.Duration // the whole run
	missing   []string      // what was not run, and why
	codecs    codecs.Results
	python    python.Results
	transport transport.Results
}

func (r results) document() report.Document {
	d := report.Document{
		Intro: "How fast our codec and our transport are beside others, on one machine in one run. " +
			"`go run -C bench .` measures everything, and writes this page and the table in the README.",
		Missing: r.missing,
	}
	d.Sections = append(d.Sections, r.inShort(), r.fairness(), r.method())
	d.Sections = slices.Concat(d.Sections, r.codecSections(), r.pythonSections(), r.callSections(), r.transportSections())
	return d
}

// inShort is the section for a reader who has two minutes.
func (r results) inShort() report.Section {
	s := report.Section{
		Title: "In short",
		Text: "A figure below 1 means that dirty is faster: at 0.5 it takes half the time. " +
			"These are geometric means over the values. The large bytes do not count, because a codec can only copy them. " +
			"Nor do the nested lists as a Go type, because nobody would use them so.",
	}
	if len(r.codecs.Values) > 0 {
		s.Tables = append(s.Tables, r.codecs.Short())
		s.Charts = r.codecs.Charts()
	}
	goals := slices.Concat(r.codecs.Summary(codecs.UsualGC), r.python.Summary(), r.transport.Summary())
	s.Tables = append(s.Tables, report.Goals("Goals", goals))
	return s
}

// fairness says what flatters us and what does not.
func (r results) fairness() report.Section {
	return report.Section{
		Title: "What flatters us, and what does not",
		Text: strings.TrimSpace(`
For us:

- A codec encodes and decodes one value again and again, so its caches are warm. Ours remembers the keys of
  dicts, up to four sets of them, and short strings. Values a, b and c have one set of keys, which suits that.
  Values h, i and j have 2, 4 and 1,000 sets: look at them too. Looking for a set that is not there costs j
  little, because it is soon given up.
- No dict of a value has more than 8 entries. Ours sorts the keys of dicts of more than 32 entries each time.
  With 60 entries it takes about 3 times as long as msgp, which does not sort.
- The dicts of most values have their keys in the order of our struct's fields, and then a field is found at once.
  Value k has another order.
- cbor decodes dicts to map[string]any, as the other codecs do. Its own default, map[any]any, is faster for it.
- The encodings differ. Our integers and lengths have a fixed size, which is fast and larger. JSON is text.

Against us:

- dirty sorts the keys of maps, as json and segmentio do. cbor, msgpack, msgp and gob send them in any order.
- dirty checks that text is UTF-8. msgp and msgpack do not.
- dirty checks each payload whole, against limits, before it builds anything. The generated code of msgp has no limits.
- dirty uses reflection for Go types. The typed msgp and vtprotobuf are generated code.
- gob has sent its types before it is measured. A program that sends one value on each connection pays for them.
- Protobuf sends numbers in place of keys, so it has less to write and to compare.
`),
	}
}

// method says how everything was measured.
func (r results) method() report.Section {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, "- "+format+"\n", args...) }
	line("Machine: %s", r.facts.Machine)
	line("Go: %s", r.facts.Go)
	line("Date: %s", r.facts.Date)
	line("Commit: %s", r.facts.Commit)
	if r.python.About != "" {
		line("Python: %s", r.python.About)
	}
	line("There are %d rounds. In each round every competitor runs for about %s, in an order that changes. "+
		"It starts with a heap without garbage.", r.rounds, r.duration)
	line("The whole run took %s.", r.took.Round(time.Second))
	line("The machine changes its speed from one round to the next, so ratios are taken inside a round. " +
		"The page shows the median over the rounds, with the quartiles in brackets.")
	line("For the codecs and Python, time is CPU time of the whole process, with GOMAXPROCS=1. " +
		"The collector counts; other programs on the machine do not. " +
		"For the transport it is the time on the wall, because there one process waits for another. " +
		"Where CPU time of a call or a chunk is meant, the page says so: it is that of both processes.")
	line("All codecs do the same work: a test decodes what each has encoded and compares it with the value. " +
		"They encode into memory that they reuse. What they decode owns its memory.")
	line("The collector is set to GOGC=100, the default. Some tables say GOGC=1000, which hides most of its work. " +
		"One value is in memory at a time. A program with more live memory collects less often than this one, " +
		"so its figures lie between the two.")
	line("Allocations are those of the round with the fewest.")
	return report.Section{Title: "How it was measured", Text: strings.TrimSpace(text.String()), Tables: []report.Table{valueTable(r.codecs), codecTable()}}
}

func valueTable(r codecs.Results) report.Table {
	t := report.Table{Title: "Values", Columns: []string{"value", "what", "bytes"}}
	for _, v := range r.Values {
		t.Rows = append(t.Rows, report.Row{Name: v.Name, Cells: []string{v.What, report.Count(float64(v.Size))}})
	}
	return t
}

func codecTable() report.Table {
	t := report.Table{Title: "Other codecs", Columns: []string{"name", "module", "version", "how it is used"}}
	for _, c := range codecs.Others() {
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
		Text: "`copy` copies the encoded bytes to warm memory, which is the physical limit. `bytes.Clone` copies them to fresh memory. " +
			"There are three other ways to use dirty. *Dict* decodes to ordered dicts in place of maps. *AliasBytes* does not copy large bytes. " +
			"*Validate* only checks. The typed msgp and vtprotobuf are generated code; the other codecs use reflection. " +
			"A dash means that it cannot be done; the table of codecs says why.",
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
		Text: "This is the TLVEncoder of " + r.python.About + ". It measures itself in its own process, in the same rounds as ours. " +
			"A figure says how many times as fast ours is.",
		Tables: []report.Table{report.Goals("Goals, value by value", r.python.Goals())},
		Folded: []report.Fold{{Title: "All figures", Tables: r.python.Tables()}},
	}}
}

func (r results) callSections() []report.Section {
	calls, chunks := r.transport.CallTables(), r.transport.ChunkTables()
	if len(calls) == 0 {
		return nil
	}
	return []report.Section{{
		Title: "Calls beside other libraries",
		Text: strings.TrimSpace(`
A client sends a text of about 1.6 KB over a Unix socket to a server in another process, which sends it back.
Both run on all cores. With N callers, N goroutines make one call after the other. A cell has the median and,
after ×, how many times that of this library it is in the same round, with the quartiles.

- A caller that waits for a place in a pool waits in its latency too. That is most of it with 512 callers.
- Of this library a call is made of client.Call and server.Func, with the time limit that they have by default.
- net/rpc, grpc-go and net/http have no time limit here. net/rpc cannot cancel a call.
- grpc-go encodes protobuf, net/rpc gob, and net/http JSON.
- The collector is set to GOGC=100 in both processes, which hold little memory, so it runs often. Those who
  allocate pay for it: all but the echo and redis-server.`),
		Tables: calls,
		Charts: r.transport.CallCharts(),
	}, {
		Title: "Streams of small chunks beside grpc-go",
		Text: strings.TrimSpace(`
One call, whose answer is as many chunks of bytes as the server can make. All run on all cores. The first row is
read by client.Stream, as programs do. The second is read frame by frame, without decoding. A cell has the median
and, after ×, how many times that of the first row it is.`),
		Tables: chunks,
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
			charts[i].Ours = len(c.Series) - 1 // the whole library comes last
		}
	}
	return []report.Section{{
		Title:  "The transport",
		Text:   "Two processes exchange frames over a Unix socket.",
		Tables: []report.Table{report.Goals("Goals", r.transport.Goals())},
		Charts: charts,
		Folded: []report.Fold{{Title: "All figures", Tables: tables}},
	}}
}
