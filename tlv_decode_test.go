package dirty_test

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
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
	dText  struct{ s string }
	dSelf  struct{ raw []byte }
	dInt   int8
	dStr   string
	dByte  byte
	dBytes []byte
	dFail  struct{}
	dKey   struct{ a, b string }
	dMore  string // adds to what it is
	dCount int8
)

func (d *dText) UnmarshalText(b []byte) error { d.s += "text:" + string(b); return nil }
func (d *dMore) UnmarshalText(b []byte) error { *d += dMore(b); return nil }
func (d *dCount) UnmarshalTLV([]byte) error   { *d++; return nil }
func (d *dSelf) UnmarshalTLV(b []byte) error  { d.raw = append(d.raw, b...); return nil }
func (*dFail) UnmarshalTLV([]byte) error      { return io.EOF }
func (k *dKey) UnmarshalText(b []byte) (err error) {
	var ok bool
	if k.a, k.b, ok = strings.Cut(string(b), "/"); !ok {
		err = errors.New("no slash")
	}
	return err
}

var (
	_ encoding.TextUnmarshaler = (*dText)(nil)
	_ dirty.Unmarshaler        = (*dSelf)(nil)
)

// TestUnmarshalTyped: values into destinations, and what is refused. Each row
// starts with dst as it is given.
func TestUnmarshalTyped(t *testing.T) {
	day := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	type point struct{ X, Y int }
	for _, tt := range []struct {
		in   any // encoded
		dst  any // a pointer
		want any // what dst points to, or an error
	}{
		// Scalars.
		{true, new(bool), true}, {false, some(true), false}, {true, new(any), true},
		{1, new(bool), dirty.ErrTypeMismatch}, {"true", new(bool), dirty.ErrTypeMismatch},
		{"s", new(string), "s"}, {"s", new(dStr), dStr("s")}, {strings.Repeat("s", 1000), new(string), strings.Repeat("s", 1000)},
		{[]byte("s"), new(string), dirty.ErrTypeMismatch}, {5, new(string), dirty.ErrTypeMismatch},
		{[]byte("b"), new([]byte), []byte("b")}, {[]byte{}, new([]byte), []byte{}}, {[]byte("b"), new(dBytes), dBytes("b")},
		{[]byte("b"), new([]dByte), []dByte{'b'}}, {"b", new([]byte), dirty.ErrTypeMismatch}, {[]int{1}, new([]byte), dirty.ErrTypeMismatch},
		{[]byte("ab"), new([2]byte), [2]byte{'a', 'b'}}, {[]byte("a"), &[2]byte{8, 9}, [2]byte{'a', 0}},
		{[]byte("abc"), new([2]byte), dirty.ErrOverflow}, {"ab", new([2]byte), dirty.ErrTypeMismatch}, {[]byte{}, &[0]byte{}, [0]byte{}},
		{[]byte("ab"), new([2]dByte), [2]dByte{'a', 'b'}}, {[]int{1}, new([2]byte), dirty.ErrTypeMismatch},
		{1, new(complex128), dirty.ErrUnsupportedType}, {1, new(chan int), dirty.ErrUnsupportedType}, {1, new(func()), dirty.ErrUnsupportedType},

		// Lists.
		{[]int{1, 2}, new([]int), []int{1, 2}}, {[]int{}, new([]int), []int{}}, {[]int{1, 2}, new([]float64), []float64{1, 2}},
		{[]float64{1, 2}, new([]int64), []int64{1, 2}}, {[]string{"a", ""}, new([]string), []string{"a", ""}}, {[]string{"a"}, new([]dStr), []dStr{"a"}},
		{[]any{1, "a"}, new([]any), []any{int64(1), "a"}}, {[]any{1, "a"}, new([]int), dirty.ErrTypeMismatch},
		{[]any{1.5, nil}, &[]float64{7, 7, 7}, []float64{1.5, 0}}, {[]any{"a", nil}, &[]string{"x", "x"}, []string{"a", ""}},
		{[]int{1}, new([2]int), [2]int{1, 0}}, {[]int{1}, &[2]int{8, 9}, [2]int{1, 0}}, {[]int{1, 2, 3}, new([2]int), dirty.ErrOverflow},
		{[]any{}, &[2]any{1, 2}, [2]any{}}, {"s", new([]int), dirty.ErrTypeMismatch}, {map[string]any{}, new([]int), dirty.ErrTypeMismatch},
		{[]byte("b"), new([]int), dirty.ErrTypeMismatch}, {"s", new([1]int), dirty.ErrTypeMismatch},
		{[]any{[]any{1}, nil}, new([][]int8), [][]int8{{1}, nil}}, {[]any{nil, 1}, new([]*int), []*int{nil, some(1)}},

		// Dicts.
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

		// Pointers and interfaces.
		{5, new(*int), some(5)}, {5, some(some(8)), some(5)}, {5, new(**int), some(some(5))}, {"x", new(*int), dirty.ErrTypeMismatch},
		{5, some(any(some(1))), any(some(5))}, {5, some(any("old")), any(int64(5))}, {5, some(any(new(any))), any(int64(5))},
		{5, some(any((*int)(nil))), any(int64(5))}, {map[string]any{"X": 1}, some(any(&point{Y: 2})), any(&point{1, 2})},
		{map[string]any{"X": 1}, some(any(point{Y: 2})), any(map[string]any{"X": int64(1)})},
		{"x", some(any(some(1))), dirty.ErrTypeMismatch}, {5, new(io.Reader), dirty.ErrTypeMismatch}, {5, new(fmt.Stringer), dirty.ErrTypeMismatch},
		{"x", some[fmt.Stringer](&big.Int{}), errors.New("math/big")}, {"12", some[fmt.Stringer](&big.Int{}), any(big.NewInt(12))},

		// Methods.
		{"x", &dText{"old:"}, dText{"old:text:x"}}, {5, new(dText), dirty.ErrTypeMismatch}, {[]byte("x"), new(dText), dirty.ErrTypeMismatch},
		{"2024-05-06T07:08:09.00000001Z", new(time.Time), day}, {"12", new(big.Int), *big.NewInt(12)}, {"12", new(*big.Int), big.NewInt(12)},
		{[]any{"1", "2"}, new([]*big.Int), []*big.Int{big.NewInt(1), big.NewInt(2)}}, {"1.5", new(big.Int), errors.New("math/big")},
		{[]any{1, nil}, new(dSelf), dSelf{mustMarshal(nil, []any{1, nil})}}, {5, new(*dSelf), &dSelf{mustMarshal(nil, 5)}},
		{nil, &dSelf{}, dSelf{[]byte{0}}}, {5, new(dFail), io.EOF}, {[]any{1}, new([]dFail), io.EOF},
		{[]any{1, nil}, new(dirty.RawValue), dirty.RawValue(mustMarshal(nil, []any{1, nil}))}, {nil, new(dirty.RawValue), dirty.RawValue{0}},
		{map[string]any{"a": []any{}}, new(map[string]dirty.RawValue), map[string]dirty.RawValue{"a": {0x20, 0, 0, 0, 0}}},
	} {
		t.Run(fmt.Sprintf("%v into %T", tt.in, tt.dst), func(t *testing.T) {
			b := mustMarshal(t, tt.in)
			err := calmly(t, func() error { return dirty.Unmarshal(b, tt.dst) })
			want, fails := tt.want.(error)
			if _, ok := tt.dst.(*io.Reader); !ok && fails {
				var e *dirty.UnmarshalTypeError
				require.ErrorAs(t, err, &e)
				if !errors.Is(err, want) {
					assert.ErrorContains(t, err, want.Error())
				}
				assert.NotNil(t, e.Type)
				return
			}
			if fails {
				assert.ErrorIs(t, err, want)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, reflect.ValueOf(tt.dst).Elem().Interface())
		})
	}
}

// TestUnmarshalNumbers: exact or refused, for every kind of number.
func TestUnmarshalNumbers(t *testing.T) {
	type kinds struct {
		I int8
		J int16
		K int32
		L int64
		M int
		U uint8
		V uint16
		W uint32
		X uint64
		Y uint
		Z uintptr
		F float32
		G float64
		N dInt
	}
	all := reflect.TypeFor[kinds]()
	inRange := map[string]func(f *big.Float) bool{}
	between := func(lo, hi string) func(*big.Float) bool {
		l, _, _ := big.ParseFloat(lo, 10, 100, 0)
		h, _, _ := big.ParseFloat(hi, 10, 100, 0)
		return func(f *big.Float) bool { return f.IsInt() && f.Cmp(l) >= 0 && f.Cmp(h) <= 0 }
	}
	for name, r := range map[string][2]string{"I": {"-128", "127"}, "N": {"-128", "127"}, "J": {"-32768", "32767"}, "K": {"-2147483648", "2147483647"},
		"L": {"-9223372036854775808", "9223372036854775807"}, "U": {"0", "255"}, "V": {"0", "65535"}, "W": {"0", "4294967295"}, "X": {"0", "18446744073709551615"}} {
		inRange[name] = between(r[0], r[1])
	}
	inRange["M"], inRange["Y"], inRange["Z"] = inRange["L"], inRange["X"], inRange["X"]
	if math.MaxInt == math.MaxInt32 {
		inRange["M"], inRange["Y"], inRange["Z"] = inRange["K"], inRange["W"], inRange["W"]
	}
	check := func(b []byte, exact *big.Float, isFloat bool, f float64) {
		for i := range all.NumField() {
			field := all.Field(i)
			dst := reflect.New(field.Type)
			dst.Elem().Set(reflect.ValueOf(byte(1)).Convert(field.Type))
			err := dirty.Unmarshal(b, dst.Interface())
			var ok bool
			switch {
			case exact == nil: // NaN, Inf
				ok = field.Name == "F" || field.Name == "G"
			case field.Name == "F" && isFloat:
				ok = math.Abs(f) <= math.MaxFloat32
			case field.Name == "F":
				f32, _ := exact.Float32()
				ok = exact.Cmp(big.NewFloat(float64(f32))) == 0
			case field.Name == "G":
				f64, _ := exact.Float64()
				ok = exact.Cmp(big.NewFloat(f64)) == 0
			default:
				ok = inRange[field.Name](exact)
			}
			if !ok {
				var e *dirty.UnmarshalTypeError
				require.ErrorAs(t, err, &e, "%x into %s", b, field.Type)
				assert.ErrorIs(t, err, dirty.ErrOverflow)
				assert.Equal(t, field.Type, e.Type)
				assert.EqualValues(t, 1, dst.Elem().Convert(reflect.TypeFor[float64]()).Float(), "unchanged")
				continue
			}
			require.NoError(t, err, "%x into %s", b, field.Type)
			switch got := dst.Elem(); {
			case exact == nil && math.IsNaN(f):
				assert.True(t, math.IsNaN(got.Float()))
			case exact == nil:
				assert.Equal(t, f, got.Float())
			case isFloat && field.Name == "F":
				assert.Equal(t, float64(float32(f)), got.Float())
			case got.CanInt():
				assert.Zero(t, exact.Cmp(new(big.Float).SetInt64(got.Int())), "%x into %s", b, field.Type)
			case got.CanUint():
				assert.Zero(t, exact.Cmp(new(big.Float).SetUint64(got.Uint())), "%x into %s", b, field.Type)
			default:
				assert.Zero(t, exact.Cmp(big.NewFloat(got.Float())), "%x into %s", b, field.Type)
			}
		}
	}
	for _, n := range []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, -32769, 65535, 65536, 1 << 24, 1<<24 + 1, -(1<<24 + 1),
		math.MaxInt32, math.MaxInt32 + 1, math.MinInt32, math.MinInt32 - 1, math.MaxUint32, math.MaxUint32 + 1,
		1 << 53, 1<<53 + 1, -(1<<53 + 1), math.MaxInt64, math.MaxInt64 - 1023, math.MinInt64, math.MinInt64 + 1} {
		check(dirty.AppendInt64(nil, n), new(big.Float).SetPrec(100).SetInt64(n), false, 0)
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 1.5, -0.5, 127, 128, 255, 256, 65536, 1 << 31, 1 << 32, 1 << 53, 1 << 62, 1 << 63, 1<<63 - 1024,
		-1 << 63, -1<<63 - 2048, 1 << 64, 1<<64 - 2048, 1e300, math.MaxFloat64, math.MaxFloat32, math.MaxFloat32 * 1.5, 1e-320, 0.1} {
		check(dirty.AppendFloat64(nil, f), new(big.Float).SetPrec(100).SetFloat64(f), true, f)
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		check(dirty.AppendFloat64(nil, f), nil, true, f)
	}
}

// TestUnmarshalNone: as encoding/json treats null.
func TestUnmarshalNone(t *testing.T) {
	type all struct {
		B  bool
		I  int
		U  uint8
		F  float64
		S  string
		St struct{ X int }
		Ar [2]int
		By [2]byte
		T  dText
		Tm time.Time // stay
		P  *int
		A  any
		L  []int
		Ls []string
		Bs []byte
		M  map[string]int
		D  dirty.Dict
		E  error // become nil
	}
	keep := all{B: true, I: 1, U: 2, F: 3, S: "s", Ar: [2]int{4, 5}, By: [2]byte{6, 7}, T: dText{"t"}, Tm: time.Unix(1, 0)}
	keep.St.X = 8
	full := keep
	full.P, full.A, full.L, full.Ls, full.Bs = some(1), 1, []int{1}, []string{""}, []byte{1}
	full.M, full.D, full.E = map[string]int{"a": 1}, dirty.Dict{{}}, io.EOF
	var fields dirty.Dict
	for i := range reflect.TypeFor[all]().NumField() {
		fields = append(fields, dirty.Entry{Key: reflect.TypeFor[all]().Field(i).Name})
	}
	got := full
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, fields), &got))
	assert.Equal(t, keep, got)
	for i := range reflect.TypeFor[all]().NumField() { // at the top
		got := full
		p := reflect.ValueOf(&got).Elem().Field(i)
		require.NoError(t, dirty.Unmarshal([]byte{0}, p.Addr().Interface()))
		assert.Equal(t, reflect.ValueOf(keep).Field(i).Interface(), p.Interface())
	}
}

func TestUnmarshalSliceReuse(t *testing.T) {
	type item struct {
		A, B int
		C    []int
		D    map[string]int
	}
	old := func() []item {
		return []item{{1, 2, []int{3}, map[string]int{"x": 1}}, {4, 5, []int{6}, nil}, {7, 8, nil, nil}}[:1]
	}
	got := old()
	first := &got[0]
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{map[string]any{"A": 9}, map[string]any{}}), &got))
	assert.Equal(t, []item{{A: 9}, {}}, got, "nothing of the old elements is left")
	assert.Same(t, first, &got[0], "the memory is used again")

	numbers := []float64{1, 2, 3}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{nil, 5}), &numbers))
	assert.Equal(t, []float64{0, 5}, numbers)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{}), &numbers))
	assert.Equal(t, []float64{}, numbers)
	texts := []dText{{"old"}, {"old"}}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &texts))
	assert.Equal(t, []dText{{"text:a"}, {}}, texts)

	more, counts := []dMore{"old", "old"}, []dCount{7, 7}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &more))
	assert.Equal(t, []dMore{"a", ""}, more)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &counts))
	assert.Equal(t, []dCount{1, 1}, counts)

	// An error leaves what came before it and nothing that was there before.
	bad := mustMarshal(t, []any{1, "x", 1})
	for _, dst := range []any{&[]int{7, 8, 9}, &[]int64{7, 8, 9}, &[]float64{7, 8, 9}, &[]uint8{}, &[]any{7}, &[]*int{some(7), some(8), some(9)}} {
		err := dirty.Unmarshal(bad, dst)
		if v := reflect.ValueOf(dst).Elem(); v.Type().Elem().Kind() != reflect.Interface {
			assert.ErrorIs(t, err, dirty.ErrTypeMismatch)
			for i := 1; i < v.Len(); i++ {
				assert.True(t, v.Index(i).IsZero(), "%T: %v", dst, v)
			}
		}
	}
	strs := []string{"old", "old"}
	assert.Error(t, dirty.Unmarshal(mustMarshal(t, []any{1, ""}), &strs))
	assert.NotContains(t, strs, "old")
}

// TestUnmarshalDuplicates: the last of equal keys wins, whatever the
// destination, and nothing of the first is merged into it.
func TestUnmarshalDuplicates(t *testing.T) {
	twice := func(first, last any) []byte {
		return mustMarshal(t, dirty.Dict{{Key: "A", Value: first}, {Key: "b", Value: 1}, {Key: "A", Value: last}})
	}
	type point struct{ X, Y int }
	for _, row := range []struct {
		first, last any
		dst         any
		want        any
	}{
		{map[string]any{"x": 1}, map[string]any{}, new(struct{ A map[string]int }), struct{ A map[string]int }{map[string]int{}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(struct{ A point }), struct{ A point }{point{0, 2}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(struct{ A *point }), struct{ A *point }{&point{0, 2}}},
		{1, nil, new(struct{ A int }), struct{ A int }{}},
		{[]int{1, 2}, []int{3}, new(struct{ A [2]int }), struct{ A [2]int }{[2]int{3, 0}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(map[string]any), map[string]any{"A": map[string]any{"Y": int64(2)}, "b": int64(1)}},
	} {
		require.NoError(t, dirty.Unmarshal(twice(row.first, row.last), row.dst))
		assert.Equal(t, row.want, reflect.ValueOf(row.dst).Elem().Interface())
	}
	fields := make([]reflect.StructField, 300) // more than one word of bits
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprint("F", i), Type: reflect.TypeFor[*int]()}
	}
	dst := reflect.New(reflect.StructOf(fields))
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, dirty.Dict{{Key: "F299", Value: 1}, {Key: "F43", Value: 2}, {Key: "F299"}}), dst.Interface()))
	assert.True(t, dst.Elem().Field(299).IsNil())
	assert.Equal(t, 2, *dst.Elem().Field(43).Interface().(*int))
}

// TestUnmarshalOwnership: results do not change with the data.
func TestUnmarshalOwnership(t *testing.T) {
	large := strings.Repeat("large", 40_000)
	tree := map[string]any{"key": []any{"short", large, []byte("bytes"), []byte(large), map[string]any{large: "v"}}, "s": strings.Repeat("m", 100)}
	type typed struct {
		Key dirty.RawValue
		S   string
	}
	for _, opts := range []dirty.DecodeOptions{{}, {UseDict: true}} {
		data := mustMarshal(t, tree)
		want := append([]byte{}, data...)
		var got any
		var text typed
		var self dSelf
		var m map[string]dirty.RawValue
		for _, dst := range []any{&got, &text, &self, &m} {
			require.NoError(t, opts.Unmarshal(data, dst))
		}
		for i := range data {
			data[i] = 'x'
		}
		assert.Equal(t, want, mustMarshal(t, got))
		assert.Equal(t, want, self.raw)
		assert.Equal(t, want, mustMarshal(t, m))
		assert.Equal(t, tree["s"], text.S)
		assert.Equal(t, mustMarshal(t, tree["key"]), []byte(text.Key))
	}
	a := mustMarshal(t, []any{[]byte("one"), []byte("two")}) // lists and slices end where they end
	var got []any
	require.NoError(t, dirty.Unmarshal(a, &got))
	_ = append(got[0].([]byte), "XXX"...)
	assert.Equal(t, []any{[]byte("one"), []byte("two")}, got)
	nested := mustMarshal(t, []any{[]any{1}, []any{2}})
	require.NoError(t, dirty.Unmarshal(nested, &got))
	_ = append(got[0].([]any), "X")
	assert.Equal(t, []any{[]any{int64(1)}, []any{int64(2)}}, got)
}

func TestUnmarshalAliasBytes(t *testing.T) {
	opts := dirty.DecodeOptions{AliasBytes: true}
	for _, tt := range []struct {
		size, rest int
		aliased    bool
	}{{64 << 10, 0, true}, {64<<10 - 1, 0, false}, {64 << 10, 400 << 10, true}, {64 << 10, 600 << 10, false}} {
		data := mustMarshal(t, []any{make([]byte, tt.size), strings.Repeat("x", tt.rest)})
		var v []any
		var typed struct{ B []byte }
		require.NoError(t, opts.Unmarshal(data, &v))
		require.NoError(t, opts.Unmarshal(mustMarshal(t, map[string]any{"B": []byte("x")}), &typed))
		b := v[0].([]byte)
		data[10] = 0xaa
		assert.Equal(t, tt.aliased, b[0] == 0xaa, "%+v", tt)
		if tt.aliased {
			assert.Equal(t, tt.size, cap(b), "an append does not touch what follows")
		}
		assert.Equal(t, strings.Repeat("x", tt.rest), v[1])
	}
}

// TestUnmarshalErrors: path, offset, kind and Go type of what does not fit.
func TestUnmarshalErrors(t *testing.T) {
	type image struct{ Pixels []pixel }
	type dest struct {
		Kwargs map[string]image
		List   []struct{ A [2]int8 }
		Any    map[int]any
	}
	for _, tt := range []struct {
		in   any
		path string
		kind dirty.Kind
		typ  reflect.Type
		err  error
	}{
		{5, "", dirty.KindInt64, reflect.TypeFor[dest](), dirty.ErrTypeMismatch},
		{map[string]any{"Kwargs": map[string]any{"a b": map[string]any{"Pixels": []any{1, "x"}}}}, `Kwargs["a b"].Pixels[1]`, dirty.KindString, reflect.TypeFor[pixel](), dirty.ErrTypeMismatch},
		{map[string]any{"Kwargs": map[string]any{"k": map[string]any{"pixels": []any{1, 2, 70000}}}}, "Kwargs.k.pixels[2]", dirty.KindInt64, reflect.TypeFor[pixel](), dirty.ErrOverflow},
		{map[string]any{"List": []any{map[string]any{}, map[string]any{"A": []int{1, 2, 3}}}}, "List[1].A", dirty.KindList, reflect.TypeFor[[2]int8](), dirty.ErrOverflow},
		{map[string]any{"List": []any{map[string]any{"A": []any{nil, 1.5}}}}, "List[0].A[1]", dirty.KindFloat64, reflect.TypeFor[int8](), dirty.ErrOverflow},
		{map[string]any{"List": true}, "List", dirty.KindBool, reflect.TypeFor[[]struct{ A [2]int8 }](), dirty.ErrTypeMismatch},
		{map[string]any{"Any": map[string]any{"x": 1}}, "Any", dirty.KindString, reflect.TypeFor[int](), dirty.ErrTypeMismatch}, // a key
	} {
		b := mustMarshal(t, tt.in)
		var d dest
		rest, err := dirty.UnmarshalFirst(b, &d)
		var e *dirty.UnmarshalTypeError
		require.ErrorAs(t, err, &e)
		assert.ErrorIs(t, err, tt.err)
		assert.Equal(t, tt.path, e.Path)
		assert.Equal(t, tt.kind, e.Kind, tt.path)
		assert.Equal(t, tt.typ, e.Type)
		assert.Equal(t, byte(tt.kind), b[e.Offset])
		assert.Contains(t, e.Error(), fmt.Sprint("offset ", e.Offset))
		assert.Contains(t, e.Error(), tt.typ.String())
		assert.Equal(t, b, rest, "on an error rest is data")
	}
	for _, dst := range []any{nil, 5, dest{}, (*dest)(nil), map[string]any{}} {
		err := dirty.Unmarshal([]byte{0}, dst)
		var e *dirty.UnmarshalTypeError
		require.ErrorAs(t, err, &e, "%T", dst)
		assert.Equal(t, reflect.TypeOf(dst), e.Type)
		assert.NotEmpty(t, e.Error())
	}
}

type pixel uint16

// TestUnmarshalPools: many calls in turn and at once, of all kinds, know
// nothing of each other.
func TestUnmarshalPools(t *testing.T) {
	type row struct {
		Name string
		Tags []string
		M    map[string]any
	}
	calls := []func() (got, want any){}
	for i := range 40 {
		name := strings.Repeat(string(rune('a'+i%26)), 2+i)
		tree := map[string]any{name: []any{name, int64(i), []any{name + "1", name + "2"}}, "k": name}
		data := mustMarshal(t, tree)
		typed := row{name, []string{name, name + "x"}, map[string]any{name: name}}
		typedData := mustMarshal(t, typed)
		calls = append(calls,
			func() (any, any) { var v any; assert.NoError(t, dirty.Unmarshal(data, &v)); return v, tree },
			func() (any, any) { var v row; assert.NoError(t, dirty.Unmarshal(typedData, &v)); return v, typed },
			func() (any, any) {
				var v any // fails in the middle: what is half built stays here
				assert.Error(t, dirty.Unmarshal(typedData, &struct{ Name, Tags string }{}))
				assert.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(data, &v))
				return mustMarshal(t, toMaps(v)), data
			})
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var results [][2]any
			for i := range 2 * len(calls) {
				got, want := calls[(i*7+g*13)%len(calls)]()
				results = append(results, [2]any{got, want})
			}
			for _, r := range results { // after all others had their turn
				assert.Equal(t, r[1], r[0])
			}
		})
	}
	wg.Wait()
}

// TestUnmarshalNeverPanics: what comes in decides nothing about panics.
func TestUnmarshalNeverPanics(t *testing.T) {
	for _, dst := range []any{new(hiddenPointer), new(hiddenTLV), new(hiddenText), new(hiddenZero)} {
		for _, in := range []any{nil, map[string]any{}, map[string]any{"x": nil}, map[string]any{"x": map[string]any{}},
			map[string]any{"x": map[string]any{"A": 1}}, map[string]any{"x": "text"}} {
			b := mustMarshal(t, in)
			_ = calmly(t, func() error { return dirty.Unmarshal(b, dst) })
		}
	}
}

// TestUnmarshalPointerCycle runs in a process of its own: if the decoder
// follows the circle, that is the end of it.
func TestUnmarshalPointerCycle(t *testing.T) {
	if os.Getenv("DIRTY_TEST_CYCLE") != "" {
		var x any
		y := &x
		x = &y
		_ = dirty.Unmarshal([]byte{1, 1}, &x)
		var z any
		z = &z
		_ = dirty.Unmarshal([]byte{1, 1}, &z)
		type P *P
		var p P
		p = &p
		_ = dirty.Unmarshal([]byte{1, 1}, &p)
		var a any = p
		_ = dirty.Unmarshal([]byte{1, 1}, &a)
		var i fmt.Stringer
		_ = dirty.Unmarshal([]byte{1, 1}, &i)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUnmarshalPointerCycle$")
	cmd.Env = append(os.Environ(), "DIRTY_TEST_CYCLE=1")
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%.300s", out)
}

type (
	hidden        struct{ A int }
	hiddenT       struct{ A int }
	hiddenX       struct{ A int }
	hiddenZ       struct{ A int }
	hiddenPointer struct {
		*hidden `json:"x"`
	}
	hiddenTLV struct {
		hiddenT `json:"x"`
		B       int
	}
	hiddenText struct {
		hiddenX `json:"x"`
		B       int
	}
	hiddenZero struct {
		hiddenZ `json:"x,omitzero"`
		B       int
	}
)

func (hiddenT) AppendTLV(b []byte) ([]byte, error) { return dirty.AppendNone(b), nil }
func (*hiddenT) UnmarshalTLV([]byte) error         { return nil }
func (hiddenX) MarshalText() ([]byte, error)       { return nil, nil }
func (*hiddenX) UnmarshalText([]byte) error        { return nil }
func (hiddenZ) IsZero() bool                       { return true }

// The outer types must not have the promoted methods.
func (hiddenTLV) AppendTLV()      {}
func (*hiddenTLV) UnmarshalTLV()  {}
func (hiddenText) MarshalText()   {}
func (hiddenText) UnmarshalText() {}

// TestBytesKeepTheirMemory: bytes go into the memory that is there, as other
// slices do, and never beyond its capacity.
func TestBytesKeepTheirMemory(t *testing.T) {
	for _, test := range []struct {
		name   string
		before []byte
		sent   string
		kept   bool
	}{
		{"nil", nil, "abc", false},
		{"nil and nothing", nil, "", false},
		{"enough", make([]byte, 1, 8), "abc", true},
		{"just enough", make([]byte, 3), "abc", true},
		{"nothing", make([]byte, 3), "", true},
		{"too little", make([]byte, 2), "abc", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.before
			require.NoError(t, dirty.Unmarshal(dirty.AppendBytes(nil, []byte(test.sent)), &got))
			require.NotNil(t, got)
			assert.Equal(t, test.sent, string(got))
			if test.kept {
				assert.Same(t, &test.before[:1][0], &got[:1][0])
			} else if len(got) > 0 && cap(test.before) > 0 {
				assert.NotSame(t, &test.before[:1][0], &got[0])
			}
		})
	}
}
