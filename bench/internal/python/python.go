package python

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gunicorn-go/dirty"

	"github.com/gunicorn-go/dirty/bench/internal/codecs"
	"github.com/gunicorn-go/dirty/bench/internal/report"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// Results is what was measured.
type Results struct {
	About    string // the releases of gunicorn and of its interpreter
	measured []measured
}

type measured struct {
	op     codecs.Operation
	value  string
	python rounds.Result
	ours   rounds.Result
}

// sides has what Python does in one way and our codec in several.
var sides = []struct {
	what string
	ours []codecs.Operation
}{
	{"encode", []codecs.Operation{codecs.EncodeAny, codecs.EncodeTyped}},
	{"decode", []codecs.Operation{codecs.DecodeAny, codecs.DecodeTyped, codecs.DecodeReused}},
}

// Run measures every value that has both forms, but no large bytes, which both
// sides only copy. It measures CPU time, each case for so many rounds of about
// the duration, and calls progress with what comes next.
func Run(n int, duration time.Duration, progress func(string)) (Results, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as in codecs.Run
	folder, err := os.MkdirTemp("", "dirty-bench")
	if err != nil {
		return Results{}, err
	}
	defer os.RemoveAll(folder)
	if err := writeValues(folder); err != nil {
		return Results{}, err
	}
	p, err := start(folder)
	if err != nil {
		return Results{}, err
	}
	r := Results{About: p.about}
	if err := r.measure(p, n, duration, progress); err != nil {
		_ = p.close() // the first error counts
		return r, err
	}
	return r, p.close()
}

func (r *Results) measure(p *process, n int, duration time.Duration, progress func(string)) error {
	return each(func(v values.Value) error {
		for _, side := range sides {
			progress(fmt.Sprintf("python: %s: %s", v.Name, side.what))
			cases := []rounds.Case{{Name: "python", Timed: p.timed(side.what, v.Name)}}
			for _, op := range side.ours {
				c, err := codecs.OurCase(op, v)
				if err != nil {
					return err
				}
				cases = append(cases, c)
			}
			results, err := rounds.Measure(rounds.CPU, cases, n, duration)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", side.what, v.Name, err)
			}
			for i, op := range side.ours {
				r.measured = append(r.measured, measured{op, v.Name, results[0], results[i+1]})
			}
		}
		return nil
	})
}

func writeValues(folder string) error {
	return each(func(v values.Value) error {
		data, err := dirty.Marshal(v.Any)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, v.Name+".tlv"), data, 0o600)
	})
}

// each calls f with each value that Python is measured with.
func each(f func(values.Value) error) error {
	for _, source := range values.All() {
		v, err := source.Make()
		if err == nil && !v.Blob && v.HasAny && v.HasTyped {
			err = f(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tables returns the times of both, and how many times as fast we are.
func (r Results) Tables() []report.Table {
	var tables []report.Table
	for _, op := range codecs.Operations {
		t := report.Table{
			Title:   fmt.Sprintf("%s beside Python", op),
			Columns: []string{"value", "python", "dirty", "times as fast (quartiles)"},
		}
		for _, m := range r.measured {
			if m.op == op {
				t.Rows = append(t.Rows, report.Row{Name: m.value, Cells: []string{
					report.Time(m.python.Time().Median), report.Time(m.ours.Time().Median), report.Ratio(m.python.Ratio(m.ours)),
				}})
			}
		}
		tables = append(tables, t)
	}
	return tables
}

// Summary returns the goals in short: those of the model request.
func (r Results) Summary() []report.Goal {
	return r.goals(func(op codecs.Operation, value string) float64 {
		if value != "b model" {
			return 0
		}
		return map[codecs.Operation]float64{codecs.EncodeAny: 50, codecs.DecodeAny: 14, codecs.DecodeTyped: 50}[op]
	})
}

// Goals returns the goals value by value.
func (r Results) Goals() []report.Goal {
	return r.goals(func(op codecs.Operation, value string) float64 {
		switch {
		case op == codecs.EncodeAny:
			return 65
		case op == codecs.DecodeAny && (value == "a request" || value == "c rows"):
			return 10
		case op == codecs.DecodeAny:
			return 13
		case value == "e levels": // no use for a Go type
			return 0
		case op == codecs.EncodeTyped:
			return 100
		case op == codecs.DecodeTyped:
			return 20
		}
		return 0
	})
}

func (r Results) goals(want func(codecs.Operation, string) float64) []report.Goal {
	var goals []report.Goal
	for _, op := range codecs.Operations {
		for _, m := range r.measured {
			if w := want(op, m.value); m.op == op && w > 0 {
				s := m.python.Ratio(m.ours)
				goals = append(goals, report.Goal{
					What: fmt.Sprintf("%s: %s, times as fast as Python", m.value, op), Value: s.Median, Want: w, AtLeast: true, Spread: s,
				})
			}
		}
	}
	return goals
}
