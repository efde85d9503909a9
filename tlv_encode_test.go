package dirty_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	eVal  struct{ A int }
	ePtr  struct{ A int }
	eBoth struct{ A int }
	eText struct{ A int }
	eOut  struct {
		out func(b []byte) ([]byte, error)
	}
	eByteM  uint8
	eEnum   int
	eStrKey string
	eTxtKey struct{ a string }
	ePtrKey struct{ a string }
	eNilMap map[string]int
)

var errBoom = errors.New("boom")

func (eVal) AppendTLV(b []byte) ([]byte, error)   { return dirty.AppendString(b, "val"), nil }
func (*ePtr) AppendTLV(b []byte) ([]byte, error)  { return dirty.AppendString(b, "ptr"), nil }
func (*eBoth) AppendTLV(b []byte) ([]byte, error) { return dirty.AppendString(b, "ptr"), nil }
func (eBoth) MarshalText() ([]byte, error)        { return []byte("text"), nil }
func (*eText) MarshalText() ([]byte, error)       { return []byte("text"), nil }
func (o eOut) AppendTLV(b []byte) ([]byte, error) { return o.out(b) }
func (eByteM) AppendTLV(b []byte) ([]byte, error) { return dirty.AppendBool(b, true), nil }
func (e eEnum) String() string                    { return "enum" }
func (k eStrKey) MarshalText() ([]byte, error)    { return []byte("not used for string kinds"), nil }
func (k eTxtKey) MarshalText() ([]byte, error)    { return []byte("T" + k.a), nil }
func (k *ePtrKey) MarshalText() ([]byte, error)   { return []byte("P" + k.a), nil }
func (eNilMap) AppendTLV(b []byte) ([]byte, error) {
	return dirty.AppendString(b, "called for a nil map"), nil
}

// TestMarshalKinds: every Go kind, in the notation of Diagnose.
func TestMarshalKinds(t *testing.T) {
	type named struct {
		I eEnum
		S dStr
		B []byte
		P **int
	}
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, tt := range []struct {
		in   any
		want string
	}{
		{nil, "null"}, {true, "true"}, {int8(-8), "-8"}, {int16(-16), "-16"}, {int32(-32), "-32"}, {int64(-64), "-64"}, {int(-1), "-1"},
		{uint8(8), "8"}, {uint16(16), "16"}, {uint32(math.MaxUint32), "4294967295"}, {uint64(math.MaxInt64), "9223372036854775807"}, {uint(1), "1"}, {uintptr(2), "2"},
		{float32(0.5), "0.5"}, {float32(0.1), "0.10000000149011612"}, {1e21, "1e+21"}, {float64(3), "3.0"}, {math.Inf(-1), "-Infinity"},
		{"é", `"é"`}, {eEnum(5), "5"}, {json.Number("12"), "12"}, {dStr("s"), `"s"`},

		// Bytes and lists.
		{[]byte{0, 255}, "h'00ff'"}, {[]byte{}, "h''"}, {[]byte(nil), "null"}, {[2]byte{1, 2}, "h'0102'"}, {&[2]byte{1, 2}, "h'0102'"}, {[0]byte{}, "h''"}, {&[0]byte{}, "h''"},
		{dBytes{1}, "h'01'"}, {[]dByte{1}, "h'01'"}, {[1]dByte{1}, "h'01'"}, {json.RawMessage(`{}`), "h'7b7d'"},
		{[]eByteM{1, 2}, "[true, true]"}, {[1]eByteM{1}, "[true]"}, {[]int8{1}, "[1]"},
		{[]any{}, "[]"}, {[]any(nil), "null"}, {[]int(nil), "null"}, {[]int{}, "[]"}, {[0]int{}, "[]"}, {[2]string{"a", "b"}, `["a", "b"]`}, {&[]float64{1}, "[1.0]"},
		{[]float64{1, 2.5}, "[1.0, 2.5]"}, {[]int64{1}, "[1]"}, {[]uint32{1}, "[1]"}, {[][]int{{1}, nil}, "[[1], null]"}, {[]error{nil}, "[null]"}, {[]dirty.Entry{{Key: "k"}}, `[{"Key": "k", "Value": null}]`},

		// Maps.
		{map[string]any{"b": 1, "a": nil, "": 2, "é": 3, "B": 4}, `{"": 2, "B": 4, "a": null, "b": 1, "é": 3}`}, {map[string]any(nil), "null"}, {map[string]int(nil), "null"}, {map[string]any{}, "{}"},
		{map[string]int{"b": 1, "a": 2}, `{"a": 2, "b": 1}`}, {map[int]string{10: "x", 9: "y", -1: "z"}, `{"-1": "z", "10": "x", "9": "y"}`}, {map[eEnum]int{1: 1}, `{"1": 1}`},
		{map[uint64]int{math.MaxUint64: 1}, `{"18446744073709551615": 1}`}, {map[bool]int{true: 1, false: 0}, `{"False": 0, "True": 1}`}, {map[uint8]bool{7: true}, `{"7": true}`},
		{map[any]any{nil: 1, true: 2, "s": 3, 5: 4, uint8(6): 5, eTxtKey{"x"}: 6, eStrKey("k"): 7, false: 8}, `{"5": 4, "6": 5, "False": 8, "None": 1, "True": 2, "Tx": 6, "k": 7, "s": 3}`},
		{map[eTxtKey]int{{"b"}: 1, {"a"}: 2}, `{"Ta": 2, "Tb": 1}`}, {map[*ePtrKey]int{{"b"}: 1}, `{"Pb": 1}`}, {map[*ePtrKey]int{nil: 1}, `{"": 1}`}, {map[encoding.TextMarshaler]int{eTxtKey{"i"}: 1}, `{"Ti": 1}`},
		{map[eStrKey]int{"k": 1}, `{"k": 1}`}, {map[time.Time]int{day: 1}, `{"2024-05-06T07:08:09Z": 1}`}, {map[string]map[string]int{"a": {"b": 1}, "c": nil}, `{"a": {"b": 1}, "c": null}`},
		{map[string][2]byte{"k": {1, 2}}, `{"k": h'0102'}`}, {map[string]named{"k": {}}, `{"k": {"I": 0, "S": "", "B": null, "P": null}}`},
		{dirty.Dict{{Key: "b", Value: 1}, {Key: "a", Value: dirty.Dict{}}, {Key: "b"}}, `{"b": 1, "a": {}, "b": null}`}, {dirty.Dict(nil), "null"}, {&dirty.Dict{}, "{}"}, {[]dirty.Dict{{{Key: "k"}}, nil}, `[{"k": null}, null]`},
		{struct{ D dirty.Dict }{dirty.Dict{{Key: "z"}, {Key: "y"}}}, `{"D": {"z": null, "y": null}}`},

		// Pointers and interfaces.
		{(*int)(nil), "null"}, {some(5), "5"}, {some(some("s")), `"s"`}, {some[any](nil), "null"}, {some[any](some(1)), "1"}, {(*dirty.Dict)(nil), "null"}, {some[fmt.Stringer](eEnum(3)), "3"}, {[]fmt.Stringer{eEnum(3), nil}, "[3, null]"},
		{&named{1, "s", nil, some(some(2))}, `{"I": 1, "S": "s", "B": null, "P": 2}`},

		// RawValue.
		{dirty.RawValue{0x01, 0x01}, "true"}, {dirty.RawValue(nil), "null"}, {[]any{dirty.RawValue{0}, []dirty.RawValue{nil, {0x20, 0, 0, 0, 0}}}, "[null, [null, []]]"}, {&dirty.RawValue{0}, "null"},

		// TextMarshalers.
		{day, `"2024-05-06T07:08:09Z"`}, {&day, `"2024-05-06T07:08:09Z"`}, {[]time.Time{day}, `["2024-05-06T07:08:09Z"]`}, {big.NewInt(12), `"12"`}, {(*big.Int)(nil), "null"}, {(*time.Time)(nil), "null"},
		{[]big.Int{*big.NewInt(3)}, `["3"]`}, {struct{ T encoding.TextMarshaler }{}, `{"T": null}`}, {map[string]time.Time{"d": day}, `{"d": "2024-05-06T07:08:09Z"}`},
	} {
		t.Run(fmt.Sprintf("%T %v", tt.in, tt.in), func(t *testing.T) {
			var b []byte
			require.NoError(t, calmly(t, func() (err error) { b, err = dirty.Marshal(tt.in); return err }))
			assert.Equal(t, tt.want, dirty.Diagnose(b))
			require.NoError(t, dirty.Validate(b))
			again, err := dirty.Append([]byte("before"), tt.in)
			require.NoError(t, err)
			assert.Equal(t, "before"+string(b), string(again))
		})
	}
}

// TestMarshalMethods: which method is called where, as encoding/json does.
func TestMarshalMethods(t *testing.T) {
	type field struct {
		V eVal
		P ePtr
		B eBoth
		T eText
		Q *ePtr
		N *eVal
		M dirty.Marshaler
	}
	inField := `{"V": "val", "P": "ptr", "B": "ptr", "T": "text", "Q": null, "N": null, "M": null}`
	apart := `{"V": "val", "P": {"A": 0}, "B": "text", "T": {"A": 0}, "Q": null, "N": null, "M": null}`
	for _, tt := range []struct {
		in   any
		want string
	}{
		{eVal{}, `"val"`}, {&eVal{}, `"val"`}, {(*eVal)(nil), "null"}, {ePtr{}, `{"A": 0}`}, {&ePtr{}, `"ptr"`}, {(*ePtr)(nil), "null"}, {[]ePtr{{}}, `["ptr"]`}, {[1]ePtr{{}}, `[{"A": 0}]`}, {&[1]ePtr{{}}, `["ptr"]`},
		{eBoth{}, `"text"`}, {&eBoth{}, `"ptr"`}, {eText{}, `{"A": 0}`}, {&eText{}, `"text"`}, {some(&eText{}), `"text"`},
		{field{}, apart}, {&field{}, inField}, {[]field{{}}, "[" + inField + "]"}, {any(some[any](field{})), apart}, {field{M: eVal{}, Q: &ePtr{}, N: &eVal{}}, `{"V": "val", "P": {"A": 0}, "B": "text", "T": {"A": 0}, "Q": "ptr", "N": "val", "M": "val"}`},
		{map[string]field{"k": {}}, `{"k": ` + apart + "}"}, {map[string]ePtr{"k": {}}, `{"k": {"A": 0}}`}, {map[string]*ePtr{"k": {}, "n": nil}, `{"k": "ptr", "n": null}`}, {map[string][1]ePtr{"k": {}}, `{"k": [{"A": 0}]}`},
		{map[string]eBoth{"k": {}}, `{"k": "text"}`}, {map[string][]ePtr{"k": {{}}}, `{"k": ["ptr"]}`}, {map[string]any{"k": ePtr{}}, `{"k": {"A": 0}}`}, {eNilMap(nil), `"called for a nil map"`},
		{map[string]big.Int{"k": {}}, `{"k": {}}`},
	} {
		t.Run(fmt.Sprintf("%T", tt.in), func(t *testing.T) {
			assert.Equal(t, tt.want, dirty.Diagnose(mustMarshal(t, tt.in)))
		})
	}
}

// TestMarshalRefused: what has no encoding, with sentinel, path and type. On
// every error the output is what it was.
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
			_, err = dirty.Append(nil, 5) // the pool has got over it
			assert.NoError(t, err)
		})
	}
}

// nest puts v into n lists.
func nest(n int, v any) any {
	for range n {
		v = []any{v}
	}
	return v
}

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
	shared := []any{1} // the same thing twice is no cycle
	assert.Equal(t, "[[1], [1], [[1]]]", dirty.Diagnose(mustMarshal(t, []any{shared, shared, []any{shared}})))
	chain := make([]node, 2000) // nor is a long list
	for i := range chain[1:] {
		chain[i].Next = &chain[i+1]
	}
	_, err := dirty.Marshal(&chain[0])
	assert.ErrorIs(t, err, dirty.ErrTooDeep)
	row := make([]any, 1000) // nor slices that overlap
	for i := range len(row) - 1 {
		row[i] = row[i+1:]
	}
	_, err = dirty.Marshal(row[990:])
	require.NoError(t, err)
	_, err = dirty.Marshal([]any{row[:1]})
	assert.ErrorIs(t, err, dirty.ErrTooDeep)
}

func TestEncodeLimits(t *testing.T) {
	type fields struct {
		A int `json:",omitempty"`
		B int
	}
	list := func(n int) []any { return make([]any, n) }
	dict := func(n int) dirty.Dict { return make(dirty.Dict, n) }
	keyed := func(n int) map[int]bool {
		m := make(map[int]bool)
		for i := range n {
			m[i] = true
		}
		return m
	}
	raw := func(n int) dirty.RawValue { v, _ := deep.Marshal(nest(n, nil)); return v }
	for _, tt := range []struct {
		name string
		lim  dirty.Limits
		in   any
		want error
	}{
		{"depth at 900", dirty.Limits{}, nest(900, nil), nil}, {"depth at 901", dirty.Limits{}, nest(901, nil), dirty.ErrTooDeep},
		{"depth at 1000", dirty.Limits{MaxDepth: 1000}, nest(1000, nil), nil}, {"depth at 1001", dirty.Limits{MaxDepth: 1000}, nest(1001, nil), dirty.ErrTooDeep},
		{"depth of structs", dirty.Limits{MaxDepth: 1}, struct{ A []int }{[]int{}}, dirty.ErrTooDeep}, {"depth of maps", dirty.Limits{MaxDepth: 1}, map[string][]int{"a": {}}, dirty.ErrTooDeep},
		{"depth of structs at 2", dirty.Limits{MaxDepth: 2}, struct{ A []int }{[]int{}}, nil}, {"depth of maps at 2", dirty.Limits{MaxDepth: 2}, map[string][]int{"a": {}}, nil}, {"depth of arrays at 2", dirty.Limits{MaxDepth: 2}, [][1]int{{}}, nil},
		{"depth of pointers", dirty.Limits{MaxDepth: 1}, some(some([]*int{some(1)})), nil},
		{"depth does not count None", dirty.Limits{MaxDepth: 1}, map[string][]int{"a": nil}, nil}, {"depth of Dicts", dirty.Limits{MaxDepth: 1}, []any{dirty.Dict{}}, dirty.ErrTooDeep},
		{"depth in a RawValue", dirty.Limits{}, []any{raw(899)}, nil}, {"depth over in a RawValue", dirty.Limits{}, []any{raw(900)}, dirty.ErrTooDeep},
		{"scalars in no depth", dirty.Limits{MaxDepth: 1}, []any{dirty.RawValue{0}}, nil},
		{"depth of Marshalers", dirty.Limits{MaxDepth: 2}, []any{eOut{func(b []byte) ([]byte, error) { return append(b, raw(2)...), nil }}}, dirty.ErrTooDeep},
		{"elements at the default", dirty.Limits{}, list(dirty.MaxElements), nil}, {"elements over the default", dirty.Limits{}, list(dirty.MaxElements + 1), dirty.ErrTooLarge},
		{"typed elements over the default", dirty.Limits{}, make([]int, dirty.MaxElements+1), dirty.ErrTooLarge}, {"array elements over", dirty.Limits{MaxElements: 3}, [4]bool{}, dirty.ErrTooLarge},
		{"elements at 3", dirty.Limits{MaxElements: 3}, list(3), nil}, {"elements over 3", dirty.Limits{MaxElements: 3}, list(4), dirty.ErrTooLarge}, {"floats over 3", dirty.Limits{MaxElements: 3}, make([]float64, 4), dirty.ErrTooLarge},
		{"entries over the default", dirty.Limits{}, dict(dirty.MaxElements + 1), dirty.ErrTooLarge}, {"entries at 3", dirty.Limits{MaxElements: 3}, keyed(3), nil}, {"entries over 3", dirty.Limits{MaxElements: 3}, keyed(4), dirty.ErrTooLarge},
		{"Dict over 3", dirty.Limits{MaxElements: 3}, dict(4), dirty.ErrTooLarge}, {"map over 1", dirty.Limits{MaxElements: 1}, map[string]any{"a": 1, "b": 1}, dirty.ErrTooLarge},
		{"fields at 1", dirty.Limits{MaxElements: 1}, fields{}, nil}, {"fields over 1", dirty.Limits{MaxElements: 1}, fields{A: 1}, dirty.ErrTooLarge}, {"raw over 3", dirty.Limits{MaxElements: 3}, dirty.RawValue(mustMarshal(t, list(4))), dirty.ErrTooLarge},
		{"payload at 10", dirty.Limits{MaxPayload: 10}, "12345", nil}, {"payload over 10", dirty.Limits{MaxPayload: 10}, "123456", dirty.ErrTooLarge}, {"payload over 10 in sum", dirty.Limits{MaxPayload: 10}, []any{1}, dirty.ErrTooLarge},
		{"text over 10", dirty.Limits{MaxPayload: 10}, "12345678901", dirty.ErrTooLarge}, {"bytes over 10", dirty.Limits{MaxPayload: 10}, make([]byte, 11), dirty.ErrTooLarge}, {"array over 10", dirty.Limits{MaxPayload: 10}, [11]byte{}, dirty.ErrTooLarge},
		{"key over 10", dirty.Limits{MaxPayload: 10}, map[string]any{"12345678901": 1}, dirty.ErrTooLarge}, {"raw over 10", dirty.Limits{MaxPayload: 10}, dirty.RawValue(mustMarshal(t, []int{1})), dirty.ErrTooLarge},
		{"bytes over the default", dirty.Limits{}, make([]byte, dirty.MaxPayloadSize+1), dirty.ErrTooLarge}, {"bytes and their header over the default", dirty.Limits{}, make([]byte, dirty.MaxPayloadSize-4), dirty.ErrTooLarge},
		{"bytes at the default", dirty.Limits{}, make([]byte, dirty.MaxPayloadSize-5), nil},
		{"MaxMemory is no limit here", dirty.Limits{MaxMemory: 1}, list(100), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := dirty.EncodeOptions{Limits: tt.lim}.Append([]byte("x"), tt.in)
			if tt.want == nil {
				require.NoError(t, err)
				require.NoError(t, dirty.Validate(b[1:]))
				return
			}
			var e *dirty.MarshalError
			require.ErrorAs(t, err, &e)
			assert.ErrorIs(t, err, tt.want)
			assert.Equal(t, []byte("x"), b)
		})
	}
	for _, v := range []any{make([]int, 4), [4]bool{}, []string{"", "", "", ""}, keyed(4), struct{ A, B, C, D int }{}} { // the type is named
		_, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxElements: 3}}.Marshal(v)
		var e *dirty.MarshalError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, reflect.TypeOf(v), e.Type)
	}
	_, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxPayload: -1}}.Marshal(nil)
	assert.ErrorContains(t, err, "MaxPayload")
}

// TestEncodeStopsEarly: one large thing many times is refused before memory
// is taken for all of it.
func TestEncodeStopsEarly(t *testing.T) {
	const size = 1 << 20
	text := strings.Repeat("x", size-5)
	raw := dirty.RawValue(dirty.AppendString(nil, text))
	m := eOut{func(b []byte) ([]byte, error) { return append(b, raw...), nil }}
	opts := dirty.EncodeOptions{Limits: dirty.Limits{MaxPayload: size + 100}}
	for name, v := range map[string]any{"text": text, "bytes": []byte(text), "RawValue": raw, "Marshaler": m, "Marshalers": &m, "array": [size / 4]byte{}, "key": map[string]any{text: 1}, "floats": make([]float64, size/10)} {
		many := make([]any, 64)
		for i := range many {
			many[i] = v
		}
		var err error
		n := allocated(func() { _, err = opts.Marshal(many) })
		assert.ErrorIs(t, err, dirty.ErrTooLarge, name)
		assert.LessOrEqual(t, n, uint64(12*size), name)
	}
}

// TestMarshalDeterministic: maps come out in one order, however large.
func TestMarshalDeterministic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 9, 100, 3000} {
		m, typed, ints := map[string]any{}, map[string]int{}, map[int32]bool{}
		for range n {
			k := fmt.Sprint(rng.Uint32())
			m[k], typed[k], ints[int32(rng.Uint32())] = int64(1), 1, true
		}
		first := mustMarshal(t, []any{m, ints})
		assert.Equal(t, mustMarshal(t, m), mustMarshal(t, typed))
		for range 5 {
			assert.True(t, bytes.Equal(first, mustMarshal(t, []any{m, ints})))
		}
	}
}

// TestPlansConcurrent: types that are new to the package, and refer to each
// other, met by many at once.
func TestPlansConcurrent(t *testing.T) {
	type b struct {
		A []any
		M map[string]*b
		L []b
	}
	type a struct {
		B *b
		N *a
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "F", Type: reflect.TypeFor[a]()}, {Name: fmt.Sprint("G", i/2), Type: reflect.TypeFor[b]()}}))
			data := mustMarshal(t, v.Interface())
			assert.NoError(t, dirty.Unmarshal(data, v.Interface()))
			assert.Equal(t, data, mustMarshal(t, v.Interface()))
		})
	}
	wg.Wait()
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
