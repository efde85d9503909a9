package dirty_test

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
)

// TestMarshalDeterministic checks that maps of any size are always encoded in the same
// order.
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

// TestMarshalMaps encodes maps and Dicts.
func TestMarshalMaps(t *testing.T) {
	type named struct {
		I eEnum
		S dStr
		B []byte
		P **int
	}
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	checkMarshal(t, []marshalRow{
		{map[string]any{"b": 1, "a": nil, "": 2, "é": 3, "B": 4}, `{"": 2, "B": 4, "a": null, "b": 1, "é": 3}`}, {map[string]any(nil), "null"}, {map[string]int(nil), "null"}, {map[string]any{}, "{}"},
		{map[string]int{"b": 1, "a": 2}, `{"a": 2, "b": 1}`}, {map[int]string{10: "x", 9: "y", -1: "z"}, `{"-1": "z", "10": "x", "9": "y"}`}, {map[eEnum]int{1: 1}, `{"1": 1}`},
		{map[uint64]int{math.MaxUint64: 1}, `{"18446744073709551615": 1}`}, {map[bool]int{true: 1, false: 0}, `{"False": 0, "True": 1}`}, {map[uint8]bool{7: true}, `{"7": true}`},
		{map[any]any{nil: 1, true: 2, "s": 3, 5: 4, uint8(6): 5, eTxtKey{"x"}: 6, eStrKey("k"): 7, false: 8}, `{"5": 4, "6": 5, "False": 8, "None": 1, "True": 2, "Tx": 6, "k": 7, "s": 3}`},
		{map[eTxtKey]int{{"b"}: 1, {"a"}: 2}, `{"Ta": 2, "Tb": 1}`}, {map[*ePtrKey]int{{"b"}: 1}, `{"Pb": 1}`}, {map[*ePtrKey]int{nil: 1}, `{"": 1}`}, {map[encoding.TextMarshaler]int{eTxtKey{"i"}: 1}, `{"Ti": 1}`},
		{map[eStrKey]int{"k": 1}, `{"k": 1}`}, {map[time.Time]int{day: 1}, `{"2024-05-06T07:08:09Z": 1}`}, {map[string]map[string]int{"a": {"b": 1}, "c": nil}, `{"a": {"b": 1}, "c": null}`},
		{map[string][2]byte{"k": {1, 2}}, `{"k": h'0102'}`}, {map[string]named{"k": {}}, `{"k": {"I": 0, "S": "", "B": null, "P": null}}`},
		{dirty.Dict{{Key: "b", Value: 1}, {Key: "a", Value: dirty.Dict{}}, {Key: "b"}}, `{"b": 1, "a": {}, "b": null}`}, {dirty.Dict(nil), "null"}, {&dirty.Dict{}, "{}"}, {[]dirty.Dict{{{Key: "k"}}, nil}, `[{"k": null}, null]`},
		{struct{ D dirty.Dict }{dirty.Dict{{Key: "z"}, {Key: "y"}}}, `{"D": {"z": null, "y": null}}`},
	})
}

// TestUnmarshalDicts decodes dicts into maps, structs and Dicts.
func TestUnmarshalDicts(t *testing.T) {
	type point struct{ X, Y int }
	checkUnmarshal(t, []unmarshalRow{
		{map[string]any{"a": 1}, new(map[string]int), map[string]int{"a": 1}},
		{map[string]any{"a": 1}, &map[string]int{"a": 9, "b": 2}, map[string]int{"a": 1, "b": 2}}, // added to
		{map[string]any{"a": nil}, &map[string]int{"a": 9}, map[string]int{"a": 0}},
		{map[string]any{}, new(map[string]int), map[string]int{}}, {[]any{}, new(map[string]int), dirty.ErrTypeMismatch},
		{map[string]any{"a": map[string]any{"y": 2}}, &map[string]point{"a": {X: 1}}, map[string]point{"a": {Y: 2}}},
		{map[string]any{"a": map[string]any{"b": 2}}, &map[string]map[string]int{"a": {"x": 1}}, map[string]map[string]int{"a": {"b": 2}}},
		{map[string]any{"a": []int{1, 2}, "b": []int{3}}, new(map[string][]int), map[string][]int{"a": {1, 2}, "b": {3}}},
		{map[string]any{"a": map[string]any{"X": 1}, "b": map[string]any{"Y": 2}, "c": nil}, new(map[string]*point), map[string]*point{"a": {X: 1}, "b": {Y: 2}, "c": nil}},
		{map[string]any{"1": "a", "-2": "b"}, new(map[int]string), map[int]string{1: "a", -2: "b"}},
		{map[string]any{"128": 1}, new(map[int8]int), dirty.ErrTypeMismatch}, {map[string]any{"1.0": 1}, new(map[int]int), dirty.ErrTypeMismatch},
		{map[string]any{"7": 1}, new(map[uint8]int), map[uint8]int{7: 1}}, {map[string]any{"-1": 1}, new(map[uint]int), dirty.ErrTypeMismatch},
		{map[string]any{"True": 1, "False": 0}, new(map[bool]int), map[bool]int{true: 1, false: 0}}, {map[string]any{"true": 1}, new(map[bool]int), dirty.ErrTypeMismatch},
		{map[string]any{"k": 1}, new(map[dStr]int), map[dStr]int{"k": 1}}, {map[string]any{"k": 1}, new(map[any]any), map[any]any{"k": int64(1)}},
		{map[string]any{"a": 1, "b": 2}, new(map[dMore]int), map[dMore]int{"a": 1, "b": 2}},
		{map[string]any{"a/b": 1}, new(map[dKey]int), map[dKey]int{{"a", "b"}: 1}}, {map[string]any{"127.0.0.1": 1}, new(map[netip.Addr]int), map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): 1}},
		{map[string]any{"k": 1}, new(map[float64]int), dirty.ErrUnsupportedType}, {map[string]any{"k": 1}, new(map[io.Reader]int), dirty.ErrUnsupportedType},
		{map[string]any{"x": 1, "Y": 2}, new(point), point{1, 2}}, {map[string]any{"Y": 2}, &point{8, 9}, point{8, 2}}, {1, new(point), dirty.ErrTypeMismatch},
		{dirty.Dict{{Key: "b", Value: dirty.Dict{{Key: "z"}, {Key: "a"}}}, {Key: "a", Value: []any{dirty.Dict{}}}}, new(dirty.Dict),
			dirty.Dict{{Key: "b", Value: dirty.Dict{{Key: "z"}, {Key: "a"}}}, {Key: "a", Value: []any{dirty.Dict{}}}}},
		{map[string]any{"a": 1}, &dirty.Dict{{Key: "old"}}, dirty.Dict{{Key: "a", Value: int64(1)}}}, {5, new(dirty.Dict), dirty.ErrTypeMismatch},
		{map[string]any{"a": map[string]any{}}, new(map[string]dirty.Dict), map[string]dirty.Dict{"a": {}}},
	})
}
