// Package values is what the codecs are given: each value as a tree of any
// and as Go types with the same content.
package values

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// Value is a value in its two forms.
type Value struct {
	Name  string     // with the letter that stands for it
	What  string     // for the reader of the report
	Any   any        // map[string]any, []any, int64, float64, string, bool, nil, []byte
	Typed any        // a pointer
	New   func() any // a new destination of the same type
	Size  int        // of its encoding in bytes
	Blob  bool       // one large bytes value, in which there is nothing to do but copy
}

// Source makes a value. Only what is measured should be in memory, because
// the collector's work depends on what else there is.
type Source struct {
	Name string
	Make func() (Value, error)
}

// All are the values in the order of the report.
func All() []Source {
	return []Source{
		source("a request", "a small call", func(*rand.Rand) *Request {
			return &Request{"app:App", "run", []int{1, 2}, Kwargs{"ada", true}}
		}),
		source("b model", "a call with 128 floats and a prompt", func(rng *rand.Rand) *Model {
			return &Model{
				Model: "resnet50", Image: randomFloats(rng, 128), Temperature: 0.7, TopK: 40, Stream: true,
				Stop: []string{"\n", "END"}, Prompt: strings.Repeat("What is on this picture? ", 8),
			}
		}),
		source("c rows", "1,000 dicts of three entries", func(rng *rand.Rand) *[]Row { return ptr(randomRows(rng, 1000)) }),
		source("d 1 MiB", "one bytes value", func(rng *rand.Rand) *[]byte { return ptr(randomBytes(rng, 1<<20)) }),
		source("d 16 MiB", "one bytes value", func(rng *rand.Rand) *[]byte { return ptr(randomBytes(rng, 16<<20)) }),
		source("e levels", "500 lists, one in the other", func(*rand.Rand) *Node { return ptr(nested(500)) }),
		source("f floats", "a list of 100,000 floats", func(rng *rand.Rand) *[]float64 { return ptr(randomFloats(rng, 100_000)) }),
		source("g strings", "a list of 100,000 strings of 4 to 15 bytes", func(rng *rand.Rand) *[]string { return ptr(randomStrings(rng, 100_000)) }),
	}
}

// source returns a Source whose tree is what our decoder makes of the typed
// form, so that both have the same content.
func source[T any](name, what string, typed func(*rand.Rand) *T) Source {
	return Source{name, func() (Value, error) {
		v := Value{Name: name, What: what, New: func() any { return new(T) }}
		t := typed(rand.New(rand.NewPCG(1, 2)))
		v.Typed = t
		_, v.Blob = v.Typed.(*[]byte)
		data, err := dirty.Marshal(t)
		if err == nil {
			v.Size = len(data)
			err = dirty.Unmarshal(data, &v.Any)
		}
		if err != nil {
			return Value{}, fmt.Errorf("value %s: %w", name, err)
		}
		return v, nil
	}}
}

func ptr[T any](v T) *T { return &v }

func nested(n int) Node {
	node := Node{}
	for range n - 1 {
		node = Node{node}
	}
	return node
}

func randomFloats(rng *rand.Rand, n int) []float64 {
	floats := make([]float64, n)
	for i := range floats {
		floats[i] = rng.NormFloat64()
	}
	return floats
}

// randomBytes are not zeros, because the pages of memory that nobody has
// written to are all one page, which is read from the nearest cache.
func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomRows(rng *rand.Rand, n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{i, fmt.Sprintf("user-%d", rng.IntN(1e6)), rng.Float64()}
	}
	return rows
}

func randomStrings(rng *rand.Rand, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.Repeat("x", 4+rng.IntN(12))
	}
	return list
}
