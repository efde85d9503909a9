package dirty_test

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMarshalRefused checks the error for values without an encoding. The output
// stays as it was.
func TestMarshalRefused(t *testing.T) {
	out := func(s string) eOut { return eOut{func(b []byte) ([]byte, error) { return append(b, s...), nil }} }
	type image struct{ Pixels []any }
	for _, tt := range []struct {
		name string
		in   any
		want error
		path string
		typ  any
	}{
		{"channel", make(chan int), dirty.ErrUnsupportedType, "", make(chan int)},
		{"function", []any{1, func() {}}, dirty.ErrUnsupportedType, "[1]", func() {}},
		{"complex", map[string]any{"a": complex64(1)}, dirty.ErrUnsupportedType, "a", complex64(0)},
		{"in a struct", []any{&image{[]any{1, 2, 3, make(chan int)}}}, dirty.ErrUnsupportedType, "[0].Pixels[3]", make(chan int)},
		{"nil channel", struct{ C chan int }{}, dirty.ErrUnsupportedType, "C", make(chan int)},
		{"in a typed map", map[int]map[bool]func(){5: {true: nil}}, dirty.ErrUnsupportedType, `["5"].True`, func() {}},
		{"in a Dict", dirty.Dict{{Key: "a b", Value: []chan int{nil}}}, dirty.ErrUnsupportedType, `["a b"][0]`, make(chan int)},
		{"float key", map[float64]int{1: 1}, dirty.ErrUnsupportedType, "", 1.0},
		{"struct key", map[any]any{struct{}{}: 1}, dirty.ErrUnsupportedType, "", struct{}{}},
		{"float key in an any", []any{map[any]any{1.5: 1}}, dirty.ErrUnsupportedType, "[0]", 1.0},
		{"equal keys", map[any]any{1: 1, "1": 2}, dirty.ErrUnsupportedType, `["1"]`, map[any]any{}},
		{"nil and None", map[any]int{nil: 1, "None": 2}, dirty.ErrUnsupportedType, "None", map[any]int{}},
		{"MarshalText of a key", map[time.Time]int{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC): 1}, errors.New("year outside of range"), "", time.Time{}},
		{"uint64", uint64(math.MaxInt64) + 1, dirty.ErrOverflow, "", uint64(0)},
		{"uint64 in a list", []uint64{1, math.MaxUint64}, dirty.ErrOverflow, "[1]", uint64(0)},
		{"text", "a\xff", dirty.ErrInvalidUTF8, "", nil},
		{"surrogate", []string{"", "\xed\xa0\x80"}, dirty.ErrInvalidUTF8, "[1]", nil},
		{"key", map[string]any{"a": map[string]any{"\xff": 1}}, dirty.ErrInvalidUTF8, `a["\xff"]`, nil},
		{"typed key", map[string]int{"\xff": 1}, dirty.ErrInvalidUTF8, `["\xff"]`, nil},
		{"Dict key", dirty.Dict{{Key: "\xff"}}, dirty.ErrInvalidUTF8, `["\xff"]`, nil},
		{"MarshalText", &big.Rat{}, nil, "", nil},
		{"time", []any{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, errors.New("year outside of range"), "[0]", time.Time{}},
		{"Marshaler", []any{eOut{func(b []byte) ([]byte, error) { return append(b, 0), errBoom }}}, errBoom, "[0]", eOut{}},
		{"Marshaler, garbage", []any{out("\x07")}, dirty.ErrMalformed, "[0]", eOut{}},
		{"Marshaler, nothing", out(""), dirty.ErrMalformed, "", eOut{}},
		{"Marshaler, two values", out("\x00\x00"), dirty.ErrTrailingData, "", eOut{}},
		{"Marshaler, cut short", out("\x05\x00"), dirty.ErrMalformed, "", eOut{}},
		{"Marshaler, nil", eOut{func(b []byte) ([]byte, error) { return nil, nil }}, dirty.ErrMalformed, "", eOut{}},
		{"RawValue, empty", dirty.RawValue{}, dirty.ErrMalformed, "", dirty.RawValue{}},
		{"RawValue, garbage", map[string]any{"r": dirty.RawValue{0xff}}, dirty.ErrMalformed, "r", dirty.RawValue{}},
		{"RawValue, trailing", []dirty.RawValue{{0, 0}}, dirty.ErrTrailingData, "[0]", dirty.RawValue{}},
		{"RawValue, UTF-8", dirty.RawValue{0x11, 0, 0, 0, 1, 0xff}, dirty.ErrInvalidUTF8, "", dirty.RawValue{}},
		{"long path", nest(20, make(chan int)), dirty.ErrUnsupportedType, "[0][0][0][0][0][0][0][0]...[0][0][0][0][0][0][0][0]", make(chan int)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			memory := []byte("0123456789")
			b, err := dirty.Append(memory[:5:10], tt.in)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			var e *dirty.MarshalError
			require.ErrorAs(t, err, &e)
			if !errors.Is(err, tt.want) {
				assert.ErrorContains(t, err, tt.want.Error())
			}
			assert.Equal(t, tt.path, e.Path)
			if tt.typ != nil {
				assert.Equal(t, reflect.TypeOf(tt.typ), e.Type)
				assert.Contains(t, e.Error(), e.Type.String())
			}
			assert.Contains(t, e.Error(), e.Path)
			assert.Equal(t, "01234", string(b), "the output is as it was")
			assert.Same(t, &memory[0], &b[0])
			assert.Equal(t, "01234", string(memory[:5]))
			b, err = dirty.Marshal(tt.in)
			assert.Error(t, err)
			assert.Nil(t, b)
			_, err = dirty.Append(nil, 5) // by the same encoder
			assert.NoError(t, err)
		})
	}
}

// TestMarshalCycles encodes values that contain themselves, and some that only look as
// if they did.
func TestMarshalCycles(t *testing.T) {
	type P *P
	type node struct {
		Next *node
		Any  any
	}
	type nodes []nodes
	m := map[string]any{"ok": 1}
	m["m"] = map[string]any{"again": m}
	s := make([]any, 3)
	s[2] = s
	n := &node{Next: &node{}}
	n.Next.Next = n
	viaAny := &node{}
	viaAny.Any = []any{viaAny}
	typed := make(nodes, 1)
	typed[0] = typed
	typedMap := map[int]any{}
	typedMap[5] = typedMap
	var x any
	x = &x
	var p P
	p = &p
	d := dirty.Dict{{Key: "d"}}
	d[0].Value = d
	for name, v := range map[string]any{"map": m, "slice": s, "pointer": n, "pointer in an any": viaAny, "typed slice": typed, "typed map": typedMap,
		"pointer to an interface": x, "type P *P": p, "Dict": d} {
		_, err := dirty.Marshal(v)
		var e *dirty.MarshalError
		require.ErrorAs(t, err, &e, name)
		assert.ErrorIs(t, err, dirty.ErrUnsupportedType, name)
		assert.Less(t, len(err.Error()), 2000, name)
	}
	shared := []any{1} // the same list twice is no cycle
	assert.Equal(t, "[[1], [1], [[1]]]", dirty.Diagnose(mustMarshal(t, []any{shared, shared, []any{shared}})))
	chain := make([]node, 2000) // neither is a long chain
	for i := range chain[1:] {
		chain[i].Next = &chain[i+1]
	}
	_, err := dirty.Marshal(&chain[0])
	assert.ErrorIs(t, err, dirty.ErrTooDeep)
	row := make([]any, 1000) // neither are slices that overlap
	for i := range len(row) - 1 {
		row[i] = row[i+1:]
	}
	_, err = dirty.Marshal(row[990:])
	require.NoError(t, err)
	_, err = dirty.Marshal([]any{row[:1]})
	assert.ErrorIs(t, err, dirty.ErrTooDeep)
}

func TestMarshalAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	type row struct {
		Name string
		N    *int
		F    []float64
		M    map[string]int
		A    any
		D    dirty.Dict
		In   struct{ X, Y float32 }
		L    []struct{ S string }
	}
	v := &row{"n", some(1), []float64{1}, map[string]int{"b": 1, "a": 2}, map[string]any{"z": 1, "y": []any{"s", 2.5, nil, []byte("b")}}, dirty.Dict{{Key: "k", Value: true}}, struct{ X, Y float32 }{1, 2}, make([]struct{ S string }, 3)}
	var anyTree any = map[string]any{"a": []any{1, "s", 2.5, map[string]any{"x": nil, "w": true}}, "b": []byte("b")}
	var typedMap any = map[string]int{"c": 1, "a": 2, "b": 3}
	var floats any = []float64{1, 2, 3}
	req := dirty.NewRequest(1, "app:App", "act", []any{1, "x"}, map[string]any{"k": []any{1.5}, "j": nil})
	b := make([]byte, 0, 4096)
	for name, f := range map[string]func() error{
		"any":            func() error { _, err := dirty.Append(b, anyTree); return err },
		"pointer":        func() error { _, err := dirty.Append(b, v); return err },
		"map[string]int": func() error { _, err := dirty.Append(b, typedMap); return err },
		"[]float64":      func() error { _, err := dirty.Append(b, floats); return err },
		"message":        func() error { _, err := dirty.AppendMessage(b, req); return err },
		"header":         func() error { _, err := dirty.Header{Type: 1}.AppendBinary(b); return err },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if f() != nil {
				panic(name)
			}
		}), name)
	}
}
