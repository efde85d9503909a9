package codecs

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gunicorn-go/dirty"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// Operation is one thing to do with a value.
type Operation string

// The operations. Encoding writes into a buffer that is reused.
const (
	EncodeAny    Operation = "encode any"
	DecodeAny    Operation = "decode any"
	EncodeTyped  Operation = "encode typed"
	DecodeTyped  Operation = "decode typed"         // into a new destination
	DecodeReused Operation = "decode typed, reused" // into the same one again
)

// Operations are all operations, in the order of the report.
var Operations = []Operation{EncodeAny, DecodeAny, EncodeTyped, DecodeTyped, DecodeReused}

// The settings of the collector under which everything is measured: the
// usual one, and one that hides most of its work.
const (
	UsualGC = 100
	RareGC  = 1000
)

// Results is what was measured.
type Results struct {
	Values []values.Value                   // without their content
	runs   map[key]map[string]rounds.Result // by name of the codec
}

type key struct {
	op    Operation
	value string
	gc    int
}

// ofTypes reports whether an operation is about Go types, not about a tree.
func (op Operation) ofTypes() bool { return op != EncodeAny && op != DecodeAny }

// Measures reports whether an operation can be done with a value.
func (op Operation) Measures(v values.Value) bool {
	if op.ofTypes() {
		return v.HasTyped
	}
	return v.HasAny
}

// Run measures every operation with every value, by CPU time, each case for so
// many rounds of about the duration. One value is in memory at a time. It calls
// progress with what comes next.
//
// The collector's work is part of the CPU time. So that it does not depend on
// how many other processors are idle, there is only one.
func Run(n int, duration time.Duration, progress func(string)) (Results, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(UsualGC))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	all := Results{runs: map[key]map[string]rounds.Result{}}
	for _, source := range values.All() {
		v, err := source.Make()
		if err != nil {
			return all, err
		}
		for _, op := range Operations {
			if !op.Measures(v) {
				continue
			}
			progress(fmt.Sprintf("%s: %s", v.Name, op))
			cases, err := casesOf(op, v)
			if err != nil {
				return all, fmt.Errorf("%s of %s: %w", op, v.Name, err)
			}
			for _, gc := range []int{UsualGC, RareGC} {
				debug.SetGCPercent(gc)
				results, err := rounds.Measure(rounds.CPU, cases, n, duration)
				if err != nil {
					return all, fmt.Errorf("%s of %s: %w", op, v.Name, err)
				}
				run := map[string]rounds.Result{}
				for _, r := range results {
					run[r.Name] = r
				}
				all.runs[key{op, v.Name, gc}] = run
			}
		}
		v.Any, v.Typed, v.Sent, v.New = nil, nil, nil, nil
		all.Values = append(all.Values, v)
	}
	return all, nil
}

// casesOf returns the cases of the codecs that can do the operation.
func casesOf(op Operation, v values.Value) ([]rounds.Case, error) {
	var cases []rounds.Case
	for _, codec := range competitors(op, v.Blob) {
		c, err := caseOf(codec, op, v)
		if errors.Is(err, errCannot) {
			continue
		}
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// OurCase returns the case of our codec.
func OurCase(op Operation, v values.Value) (rounds.Case, error) { return caseOf(Ours(), op, v) }

func caseOf(c Codec, op Operation, v values.Value) (rounds.Case, error) {
	if c.Adapt != nil {
		if v = c.Adapt(v); !op.Measures(v) {
			return rounds.Case{}, errCannot
		}
	}
	s, form := c.Open(), v.Any
	if op.ofTypes() {
		form = v.Sent
	}
	data, err := s.Encode(form)
	if err != nil {
		return rounds.Case{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	return rounds.Case{Name: c.Name, Run: workOf(op, s, v, form, bytes.Clone(data))}, nil
}

// workOf returns what a case repeats.
func workOf(op Operation, s Stream, v values.Value, form any, data []byte) func(n int) error {
	switch op {
	case DecodeAny:
		var tree any
		return func(n int) error {
			for range n {
				tree = nil
				if err := s.Decode(data, &tree); err != nil {
					return err
				}
			}
			tree = nil
			return nil
		}
	case DecodeTyped:
		return func(n int) error {
			for range n {
				if err := s.Decode(data, v.New()); err != nil {
					return err
				}
			}
			return nil
		}
	case DecodeReused:
		target := v.New()
		return func(n int) error {
			for range n {
				if err := s.Decode(data, target); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return func(n int) error { // the encode operations
		for range n {
			if _, err := s.Encode(form); err != nil {
				return err
			}
		}
		return nil
	}
}

// competitors returns our codec, the others, other ways to use ours, and the
// physical limits.
func competitors(op Operation, blob bool) []Codec {
	all := append([]Codec{Ours()}, Others()...)
	add := func(name string, s func() Stream) { all = append(all, Codec{Name: name, Open: s}) }
	add(limit, func() Stream { return &copyStream{} })
	if op == DecodeAny {
		add(oursDict, func() Stream { return &dirtyStream{opts: dirty.DecodeOptions{UseDict: true}} })
		add(oursValid, func() Stream { return &validStream{} })
	}
	if blob && (op == DecodeAny || op == DecodeTyped) {
		add(oursAlias, func() Stream { return &dirtyStream{opts: dirty.DecodeOptions{AliasBytes: true}} })
		add(clone, func() Stream { return &cloneStream{} })
	}
	return all
}

// ratios returns the time of one codec over that of another, round by round. It
// is nil if one of the two was not measured.
func (r Results) ratios(op Operation, value string, gc int, codec, base string) []float64 {
	run := r.runs[key{op, value, gc}]
	a, b := run[codec], run[base]
	if a.Samples == nil || b.Samples == nil {
		return nil
	}
	return a.Ratios(b)
}
