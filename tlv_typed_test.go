package dirty_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
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

// Types with methods that encode.
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

// Types with methods that decode.
type (
	dText  struct{ s string }
	dSelf  struct{ raw []byte }
	dInt   int8
	dStr   string
	dByte  byte
	dBytes []byte
	dFail  struct{}
	dKey   struct{ a, b string }
	dMore  string // UnmarshalText appends to it
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

// Structs with embedded structs that are not exported.
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

// TestMarshalKinds encodes values of every kind of Go type but lists and maps.
func TestMarshalKinds(t *testing.T) {
	type named struct {
		I eEnum
		S dStr
		B []byte
		P **int
	}
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	checkMarshal(t, []marshalRow{
		{nil, "null"}, {true, "true"}, {int8(-8), "-8"}, {int16(-16), "-16"}, {int32(-32), "-32"}, {int64(-64), "-64"}, {int(-1), "-1"},
		{uint8(8), "8"}, {uint16(16), "16"}, {uint32(math.MaxUint32), "4294967295"}, {uint64(math.MaxInt64), "9223372036854775807"}, {uint(1), "1"}, {uintptr(2), "2"},
		{float32(0.5), "0.5"}, {float32(0.1), "0.10000000149011612"}, {1e21, "1e+21"}, {float64(3), "3.0"}, {math.Inf(-1), "-Infinity"},
		{"é", `"é"`}, {eEnum(5), "5"}, {json.Number("12"), "12"}, {dStr("s"), `"s"`},

		// Pointers and interfaces.
		{(*int)(nil), "null"}, {some(5), "5"}, {some(some("s")), `"s"`}, {some[any](nil), "null"}, {some[any](some(1)), "1"}, {(*dirty.Dict)(nil), "null"}, {some[fmt.Stringer](eEnum(3)), "3"}, {[]fmt.Stringer{eEnum(3), nil}, "[3, null]"},
		{&named{1, "s", nil, some(some(2))}, `{"I": 1, "S": "s", "B": null, "P": 2}`},

		// RawValue.
		{dirty.RawValue{0x01, 0x01}, "true"}, {dirty.RawValue(nil), "null"}, {[]any{dirty.RawValue{0}, []dirty.RawValue{nil, {0x20, 0, 0, 0, 0}}}, "[null, [null, []]]"}, {&dirty.RawValue{0}, "null"},

		// TextMarshalers.
		{day, `"2024-05-06T07:08:09Z"`}, {&day, `"2024-05-06T07:08:09Z"`}, {[]time.Time{day}, `["2024-05-06T07:08:09Z"]`}, {big.NewInt(12), `"12"`}, {(*big.Int)(nil), "null"}, {(*time.Time)(nil), "null"},
		{[]big.Int{*big.NewInt(3)}, `["3"]`}, {struct{ T encoding.TextMarshaler }{}, `{"T": null}`}, {map[string]time.Time{"d": day}, `{"d": "2024-05-06T07:08:09Z"}`},
	})
}

// TestUnmarshalTyped decodes into every kind of Go type but lists and maps.
func TestUnmarshalTyped(t *testing.T) {
	day := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	type point struct{ X, Y int }
	checkUnmarshal(t, []unmarshalRow{
		{true, new(bool), true}, {false, some(true), false}, {true, new(any), true},
		{1, new(bool), dirty.ErrTypeMismatch}, {"true", new(bool), dirty.ErrTypeMismatch},
		{"s", new(string), "s"}, {"s", new(dStr), dStr("s")}, {strings.Repeat("s", 1000), new(string), strings.Repeat("s", 1000)},
		{[]byte("s"), new(string), dirty.ErrTypeMismatch}, {5, new(string), dirty.ErrTypeMismatch},
		{1, new(complex128), dirty.ErrUnsupportedType}, {1, new(chan int), dirty.ErrUnsupportedType}, {1, new(func()), dirty.ErrUnsupportedType},

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
	})
}

// tagSet is a map with UnmarshalText. tagList is such a slice.
type tagSet map[string]bool

func (s *tagSet) UnmarshalText(b []byte) error {
	*s = tagSet{}
	for f := range strings.SplitSeq(string(b), ",") {
		(*s)[f] = true
	}
	return nil
}

type tagList []string

func (s *tagList) UnmarshalText(b []byte) error {
	*s = strings.Split(string(b), ",")
	return nil
}

// TestNoneIntoUsed: None sets slices and maps to nil, whatever methods they
// have, and leaves other types with methods as they are: as encoding/json does.
func TestNoneIntoUsed(t *testing.T) {
	type used struct {
		IP    net.IP
		Set   tagSet
		List  tagList
		Time  time.Time
		Ptr   *time.Time
		Bytes []byte
		Map   map[string]int
		Any   any
	}
	fill := func() used {
		return used{
			net.IPv4(10, 0, 0, 1), tagSet{"old": true}, tagList{"old"}, time.Unix(1, 0),
			new(time.Time), []byte("old"), map[string]int{"old": 1}, "old",
		}
	}
	none := map[string]any{}
	for _, f := range []string{"IP", "Set", "List", "Time", "Ptr", "Bytes", "Map", "Any"} {
		none[f] = nil
	}
	text, err := json.Marshal(none)
	require.NoError(t, err)
	want, got := fill(), fill()
	require.NoError(t, json.Unmarshal(text, &want))
	data, err := dirty.Marshal(none)
	require.NoError(t, err)
	require.NoError(t, dirty.Unmarshal(data, &got))
	assert.Equal(t, want, got)
	assert.Nil(t, got.IP)
}

// TestDuration: Python takes seconds where Go counts nanoseconds, so a Duration
// goes neither out nor in.
func TestDuration(t *testing.T) {
	type fields struct{ D time.Duration }
	for name, v := range map[string]any{
		"alone":     time.Second,
		"pointer":   new(time.Duration),
		"in a list": []any{1, time.Second},
		"slice":     []time.Duration{1},
		"array":     [1]time.Duration{1},
		"map":       map[string]time.Duration{"k": 1},
		"key":       map[time.Duration]int{1: 1},
		"struct":    fields{1},
		"dict":      dirty.Dict{{"k", time.Second}},
	} {
		_, err := dirty.Marshal(v)
		require.ErrorIs(t, err, dirty.ErrUnsupportedType, name)
		assert.ErrorContains(t, err, "Seconds()", name)
		_, err = dirty.AppendMessage(nil, dirty.NewRequest(1, "a:b", "c", []any{v}, nil))
		assert.ErrorIs(t, err, dirty.ErrUnsupportedType, name)
	}
	for name, dst := range map[string]any{"alone": new(time.Duration), "slice": new([]time.Duration), "map": new(map[string]time.Duration), "key": new(map[time.Duration]int), "struct": new(fields)} {
		value := map[string]any{"alone": 1, "slice": []int{1}, "map": map[string]int{"k": 1}, "key": map[string]int{"1": 1}, "struct": map[string]int{"D": 1}}[name]
		assert.ErrorIs(t, dirty.Unmarshal(raw(t, value), dst), dirty.ErrUnsupportedType, name)
	}
	d := time.Second
	require.NoError(t, dirty.Unmarshal(raw(t, nil), &d))
	assert.Equal(t, time.Second, d)
	type other time.Duration // a type of one's own is a number
	assert.Equal(t, raw(t, 5), raw(t, other(5)))
}

// TestJSONNumber checks that a json.Number is encoded as a number, and that a number
// can be decoded into one.
func TestJSONNumber(t *testing.T) {
	for text, want := range map[string]any{
		"": int64(0), "0": int64(0), "-0": int64(0), "12": int64(12), "-9223372036854775808": int64(math.MinInt64),
		"1.0": 1.0, "1e3": 1000.0, "-2.5E-1": -0.25,
	} {
		encoded, err := dirty.Marshal(struct{ N json.Number }{json.Number(text)})
		require.NoError(t, err, text)
		var v map[string]any
		require.NoError(t, dirty.Unmarshal(encoded, &v))
		assert.Equal(t, want, v["N"], text)
	}
	for text, want := range map[string]error{
		"9223372036854775808": dirty.ErrOverflow, "1e400": dirty.ErrOverflow,
		"+1": dirty.ErrUnsupportedType, "007": dirty.ErrUnsupportedType, "true": dirty.ErrUnsupportedType, "null": dirty.ErrUnsupportedType,
		"1 ": dirty.ErrUnsupportedType, "NaN": dirty.ErrUnsupportedType, "-": dirty.ErrUnsupportedType, "e": dirty.ErrUnsupportedType, `"1"`: dirty.ErrUnsupportedType,
	} {
		_, err := dirty.Marshal(json.Number(text))
		assert.ErrorIs(t, err, want, text)
	}
	for text, value := range map[json.Number]any{"12": 12, "-9223372036854775808": int64(math.MinInt64), "1.0": 1.0, "0.1": 0.1, "1e+21": 1e21, "old": nil} {
		n := json.Number("old")
		require.NoError(t, dirty.Unmarshal(raw(t, value), &n))
		assert.Equal(t, text, n)
		if value != nil {
			assert.Equal(t, raw(t, value), raw(t, n))
		}
	}
	var n json.Number
	assert.ErrorIs(t, dirty.Unmarshal(raw(t, math.Inf(1)), &n), dirty.ErrOverflow)
	assert.ErrorIs(t, dirty.Unmarshal(raw(t, math.NaN()), &n), dirty.ErrOverflow)
	assert.ErrorIs(t, dirty.Unmarshal(raw(t, "12"), &n), dirty.ErrTypeMismatch)
	assert.ErrorIs(t, dirty.Unmarshal(raw(t, true), &n), dirty.ErrTypeMismatch)
}

// marshaler is a Marshaler that calls the function.
type marshaler func(b []byte) ([]byte, error)

func (m marshaler) AppendTLV(b []byte) ([]byte, error) { return m(b) }

// TestMarshalersOfOthers checks that a Marshaler can do no harm.
func TestMarshalersOfOthers(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		m    marshaler
		want error
	}{
		{"appends", func(b []byte) ([]byte, error) { return dirty.AppendInt64(b, 7), nil }, nil},
		{"another slice", func([]byte) ([]byte, error) { return raw(t, 7), nil }, dirty.ErrMalformed},
		{"another slice, long", func([]byte) ([]byte, error) { return raw(t, strings.Repeat("x", 1000)), nil }, dirty.ErrMalformed},
		{"a copy", func(b []byte) ([]byte, error) { return dirty.AppendInt64(append([]byte{}, b...), 7), nil }, nil},
		{"cuts what was there", func(b []byte) ([]byte, error) { return append(b[:1], 0), nil }, dirty.ErrMalformed},
		{"changes what was there", func(b []byte) ([]byte, error) { clear(b); return dirty.AppendInt64(b, 7), nil }, dirty.ErrMalformed},
		{"nothing", func(b []byte) ([]byte, error) { return b, nil }, dirty.ErrMalformed},
		{"nil", func([]byte) ([]byte, error) { return nil, nil }, dirty.ErrMalformed},
		{"two values", func(b []byte) ([]byte, error) { return append(b, 0, 0), nil }, dirty.ErrTrailingData},
		{"no value", func(b []byte) ([]byte, error) { return append(b, 0xff), nil }, dirty.ErrMalformed},
		{"fails", func(b []byte) ([]byte, error) { return b, boom }, boom},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, around := range []any{tt.m, []any{"before", tt.m, "after"}, map[string]any{"a": "before", "b": tt.m}} {
				encoded, err := dirty.Marshal(around)
				if tt.want != nil {
					assert.ErrorIs(t, err, tt.want)
					continue
				}
				require.NoError(t, err)
				want := any(7)
				switch around.(type) {
				case []any:
					want = []any{"before", 7, "after"}
				case map[string]any:
					want = map[string]any{"a": "before", "b": 7}
				}
				assert.Equal(t, raw(t, want), dirty.RawValue(encoded))
			}
		})
	}
	large := marshaler(func(b []byte) ([]byte, error) { return dirty.AppendBytes(b, make([]byte, 100)), nil })
	_, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxPayload: 100}}.Marshal([]any{large})
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
}

// TestMarshalMethods checks which method is called where. It is as in encoding/json.
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

// TestPlansConcurrent encodes types for the first time from several goroutines at once.
// The types refer to each other.
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

// TestUnmarshalNumbers decodes numbers at the edges of every type. A number is stored
// exactly or refused.
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

// TestUnmarshalNone decodes None into everything. It is as null in encoding/json.
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

type pixel uint16

// TestUnmarshalErrors checks the path, offset, kind and Go type of values that do not
// fit.
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

// TestUnmarshalNeverPanics checks that no input panics in types whose methods and
// fields reflection cannot reach.
func TestUnmarshalNeverPanics(t *testing.T) {
	for _, dst := range []any{new(hiddenPointer), new(hiddenTLV), new(hiddenText), new(hiddenZero)} {
		for _, in := range []any{nil, map[string]any{}, map[string]any{"x": nil}, map[string]any{"x": map[string]any{}},
			map[string]any{"x": map[string]any{"A": 1}}, map[string]any{"x": "text"}} {
			b := mustMarshal(t, in)
			_ = calmly(t, func() error { return dirty.Unmarshal(b, dst) })
		}
	}
}

// TestUnmarshalPointerCycle runs in a process of its own. If decoding followed the
// cycle, the process would end.
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
