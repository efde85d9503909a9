// Package values is what the codecs are given. Most values have two forms with
// the same content: a tree of any, and Go types.
package values

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// Value is a value in its forms.
type Value struct {
	Name string // begins with the letter that stands for it
	What string // for the reader of the report
	Size int    // of its encoding in bytes
	Blob bool   // one large bytes value, in which there is nothing to do but copy

	HasAny bool // there is an Any
	Any    any  // map[string]any, []any, int64, float64, string, bool, nil, []byte

	HasTyped bool       // there are Typed, Sent and New
	Typed    any        // a pointer
	Sent     any        // what is encoded to be decoded into the type of Typed
	New      func() any // a new destination of the type of Typed
}

// Source makes a value. Only what is measured should be in memory, because
// the collector's work depends on what else there is.
type Source struct {
	Name string
	Make func() (Value, error)
}

// All returns the values in the order of the report.
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
		treeSource("h 2 shapes", "c, but the dicts have 2 sets of keys in turn", func(rng *rand.Rand) any { return rowsOfShapes(rng, 1000, 2) }),
		treeSource("i 4 shapes", "c, but the dicts have 4 sets of keys in turn", func(rng *rand.Rand) any { return rowsOfShapes(rng, 1000, 4) }),
		treeSource("j all shapes", "c, but no two dicts have the same keys", func(rng *rand.Rand) any { return rowsOfShapes(rng, 1000, 1000) }),
		reorderedSource("k other order", "c, with the keys in another order than the fields of the struct"),
		source("l document", "100 orders of a shop, in all types, as JSON has them", func(rng *rand.Rand) *[]Order { return ptr(randomOrders(rng, 100)) }),
	}
}

// source returns a Source whose tree is what our decoder makes of the typed
// form, so that both have the same content.
func source[T any](name, what string, typed func(*rand.Rand) *T) Source {
	return newSource(name, what, func(v *Value, rng *rand.Rand) (err error) {
		t := typed(rng)
		v.HasTyped, v.Typed, v.Sent, v.New = true, t, t, func() any { return new(T) }
		v.HasAny = true
		_, v.Blob = v.Typed.(*[]byte)
		data, err := dirty.Marshal(t)
		if err != nil {
			return err
		}
		v.Size = len(data)
		return dirty.Unmarshal(data, &v.Any)
	})
}

// treeSource returns a Source without a typed form.
func treeSource(name, what string, tree func(*rand.Rand) any) Source {
	return newSource(name, what, func(v *Value, rng *rand.Rand) error {
		v.HasAny, v.Any = true, tree(rng)
		data, err := dirty.Marshal(v.Any)
		v.Size = len(data)
		return err
	})
}

// reorderedSource returns a Source of rows that are sent by a struct whose fields
// have another order. It has no tree: that would be the one of c.
func reorderedSource(name, what string) Source {
	return newSource(name, what, func(v *Value, rng *rand.Rand) error {
		rows := randomRows(rng, 1000)
		sent := make([]ReorderedRow, len(rows))
		for i, r := range rows {
			sent[i] = ReorderedRow{r.Score, r.ID, r.Name}
		}
		v.HasTyped, v.Typed, v.Sent, v.New = true, &rows, &sent, func() any { return new([]Row) }
		data, err := dirty.Marshal(sent)
		v.Size = len(data)
		return err
	})
}

// newSource returns a Source whose content fill makes, the same in each run.
func newSource(name, what string, fill func(*Value, *rand.Rand) error) Source {
	return Source{name, func() (Value, error) {
		v := Value{Name: name, What: what}
		if err := fill(&v, rand.New(rand.NewPCG(1, 2))); err != nil {
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

// randomBytes returns bytes that are not zeros: memory that nobody has written
// to is one page for all, which the nearest cache holds.
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

// rowsOfShapes returns rows as dicts of three entries, whose keys are those of
// so many shapes in turn.
func rowsOfShapes(rng *rand.Rand, n, shapes int) []any {
	list := make([]any, n)
	for i, r := range randomRows(rng, n) {
		shape := i % shapes
		list[i] = map[string]any{
			fmt.Sprintf("id_%d", shape):    int64(r.ID),
			fmt.Sprintf("name_%d", shape):  r.Name,
			fmt.Sprintf("score_%d", shape): r.Score,
		}
	}
	return list
}

func randomOrders(rng *rand.Rand, n int) []Order {
	orders := make([]Order, n)
	for i := range orders {
		o := &orders[i]
		*o = Order{
			ID:      1_000_000 + i,
			Created: fmt.Sprintf("2026-%02d-%02dT10:%02d:00Z", 1+rng.IntN(12), 1+rng.IntN(28), rng.IntN(60)),
			Paid:    rng.IntN(2) == 0,
			Customer: Customer{
				Name:  fmt.Sprintf("Customer %d", rng.IntN(1e6)),
				Email: fmt.Sprintf("customer-%d@example.com", rng.IntN(1e6)),
				Age:   18 + rng.IntN(70),
			},
			Tags:  randomStrings(rng, 1+rng.IntN(4)),
			Note:  strings.Repeat("Leave it at the door, please. ", rng.IntN(4)),
			Items: make([]Item, 1+rng.IntN(5)),
		}
		if rng.IntN(2) == 0 {
			o.Discount = ptr(rng.Float64())
		}
		for j := range o.Items {
			o.Items[j] = Item{
				SKU: fmt.Sprintf("sku-%06d", rng.IntN(1e6)), Name: "Thing of the shop", Count: 1 + rng.IntN(9), Price: rng.Float64() * 100,
				Attributes: map[string]string{"color": "blue", "size": fmt.Sprint(rng.IntN(50))},
			}
		}
	}
	return orders
}
