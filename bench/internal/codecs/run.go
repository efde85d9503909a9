package codecs

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gunicorn-go/dirty"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// Operation is one thing to do with a value.
type Operation string

// The operations. What is encoded goes into a buffer that is reused.
const (
	EncodeAny    Operation = "encode any"
	DecodeAny    Operation = "decode any"
	EncodeTyped  Operation = "encode typed"
	DecodeTyped  Operation = "decode typed"         // into a new destination
	DecodeReused Operation = "decode typed, reused" // into the same one again
)

// Operations are all of them, in the order of the report.
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

// Run measures everything, one value in memory at a time, and tells what it
// is at.
func Run(n int, long time.Duration, tell func(string)) (Results, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(UsualGC))
	all := Results{runs: map[key]map[string]rounds.Result{}}
	for _, source := range values.All() {
		v, err := source.Make()
		if err != nil {
			return all, err
		}
		for _, op := range Operations {
			tell(fmt.Sprintf("%s: %s", v.Name, op))
			cases, err := casesOf(op, v)
			if err != nil {
				return all, fmt.Errorf("%s of %s: %w", op, v.Name, err)
			}
			for _, gc := range []int{UsualGC, RareGC} {
				debug.SetGCPercent(gc)
				results, err := rounds.Measure(cases, n, long)
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
		v.Any, v.Typed = nil, nil
		all.Values = append(all.Values, v)
	}
	return all, nil
}

// casesOf returns the competitors; who cannot do it is left out.
func casesOf(op Operation, v values.Value) ([]rounds.Case, error) {
	var cases []rounds.Case
	for _, codec := range competitors(op, v.Blob) {
		c, err := caseOf(codec, op, v)
		if errors.Is(err, errNoCode) {
			continue
		}
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// Ours is the case of our codec, for measuring beside others than the peers.
func Ours(op Operation, v values.Value) (rounds.Case, error) { return caseOf(Peers()[0], op, v) }

func caseOf(c Codec, op Operation, v values.Value) (rounds.Case, error) {
	s, form := c.Open(), v.Any
	if op != EncodeAny && op != DecodeAny {
		form = v.Typed
	}
	data, err := s.Encode(form)
	if err != nil {
		return rounds.Case{}, fmt.Errorf("%s: %w", c.Name, err)
	}
	return rounds.Case{Name: c.Name, Run: work(op, s, v, form, bytes.Clone(data))}, nil
}

// work is what a case repeats.
func work(op Operation, s Stream, v values.Value, form any, data []byte) func(n int) error {
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

// competitors are the peers, the other ways of ours, and the limits.
func competitors(op Operation, blob bool) []Codec {
	all := Peers()
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

// ratios returns the time of one codec over that of another, round by
// round, and nil if one of the two was not measured.
func (r Results) ratios(op Operation, value string, gc int, codec, base string) []float64 {
	run := r.runs[key{op, value, gc}]
	a, b := run[codec], run[base]
	if a.Samples == nil || b.Samples == nil {
		return nil
	}
	return a.Ratios(b)
}
