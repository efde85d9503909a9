package dirty_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goldens are values and their encodings, which were written by hand.
var goldens = []struct {
	name  string
	value any
	hex   string
}{
	{"None", nil, "00"},
	{"false", false, "01 00"},
	{"true", true, "01 01"},
	{"0", int64(0), "05 0000000000000000"},
	{"1", int64(1), "05 0000000000000001"},
	{"-1", int64(-1), "05 ffffffffffffffff"},
	{"max int64", int64(math.MaxInt64), "05 7fffffffffffffff"},
	{"min int64", int64(math.MinInt64), "05 8000000000000000"},
	{"bytes of an int in order", int64(0x0102030405060708), "05 0102030405060708"},
	{"1.5", 1.5, "06 3ff8000000000000"},
	{"-0.0", math.Copysign(0, -1), "06 8000000000000000"},
	{"inf", math.Inf(1), "06 7ff0000000000000"},
	{"-inf", math.Inf(-1), "06 fff0000000000000"},
	{"least float", math.SmallestNonzeroFloat64, "06 0000000000000001"},
	{"no bytes", []byte{}, "10 00000000"},
	{"bytes", []byte{0x00, 0xff}, "10 00000002 00ff"},
	{"no text", "", "11 00000000"},
	{"text", "hé", "11 00000003 68c3a9"},
	{"NUL, BOM and U+FFFF in text", "\x00\ufeff\uffff", "11 00000007 00 efbbbf efbfbf"},
	{"an astral character", "😀", "11 00000004 f09f9880"},
	{"empty list", []any{}, "20 00000000"},
	{"list", []any{nil, true, []any{}}, "20 00000003 00 0101 20 00000000"},
	{"empty dict", map[string]any{}, "21 00000000"},
	{"dict", map[string]any{"a": int64(5), "": nil}, "21 00000002 11 00000000 00 11 00000001 61 05 0000000000000005"},
}

func TestGolden(t *testing.T) {
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			b, err := dirty.Append([]byte("x"), tt.value)
			require.NoError(t, err)
			assert.Equal(t, want, b[1:])
			assert.Equal(t, byte('x'), b[0])
			require.NoError(t, dirty.Validate(want))

			got := any("before")
			require.NoError(t, dirty.Unmarshal(want, &got))
			assert.Equal(t, tt.value, got)
			if f, ok := tt.value.(float64); ok {
				assert.Equal(t, math.Float64bits(f), math.Float64bits(got.(float64)))
			}
			got = nil
			rest, err := dirty.UnmarshalFirst(append(want, 0xee, 0x01), &got)
			require.NoError(t, err)
			assert.Equal(t, tt.value, got)
			assert.Equal(t, []byte{0xee, 0x01}, rest)
			assert.ErrorIs(t, dirty.Unmarshal(append(want, 0), &got), dirty.ErrTrailingData)
		})
	}
}

// TestNaN checks that every bit of a NaN is kept.
func TestNaN(t *testing.T) {
	for _, digits := range []string{"7ff8000000000000", "7ff8000000000001", "fff8000000000000", "7ff0000000000001", "7fffffffffffffff"} {
		b := unhex(t, "06"+digits)
		var got any
		require.NoError(t, dirty.Unmarshal(b, &got))
		assert.Equal(t, b, mustMarshal(t, got), digits)
		var typed []float64
		require.NoError(t, dirty.Unmarshal(join("\x20\x00\x00\x00\x01", b), &typed))
		assert.Equal(t, b, mustMarshal(t, typed)[5:], digits)
	}
}

// composite is the encoding of a value that holds every kind.
const composite = `21 00000003
	11 00000003 616263  20 00000005  00  01 01  05 0000000000000001  06 3ff0000000000000  10 00000002 ffff
	11 00000002 c3a9    21 00000001  11 00000000  11 00000003 e282ac
	11 00000001 7a      20 00000001 20 00000001 21 00000000`

func TestDictGet(t *testing.T) {
	d := dirty.Dict{{Key: "a", Value: 1}, {Key: "b"}, {Key: "a", Value: 2}}
	for key, want := range map[string][2]any{"a": {2, true}, "b": {nil, true}, "A": {nil, false}} {
		v, ok := d.Get(key)
		assert.Equal(t, want, [2]any{v, ok}, "the last one")
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[dirty.Kind]string{0: "None", 1: "bool", 5: "int64", 6: "float64", 0x10: "bytes", 0x11: "string", 0x20: "list", 0x21: "dict", 0x7f: "Kind(0x7f)"} {
		assert.Equal(t, want, k.String())
	}
}

// kindSamples has an encoded value of each kind, and what it decodes to.
var kindSamples = map[dirty.Kind]struct {
	encoded string
	value   any
}{
	dirty.KindNone:    {"00", nil},
	dirty.KindBool:    {"0101", true},
	dirty.KindInt64:   {"05 fffffffffffffffe", int64(-2)},
	dirty.KindFloat64: {"06 3fe0000000000000", 0.5},
	dirty.KindBytes:   {"10 00000002 00ff", []byte{0, 255}},
	dirty.KindString:  {"11 00000002 c3a9", "é"},
	dirty.KindList:    {"20 00000001 00", []any{nil}},
	dirty.KindDict:    {"21 00000001 11 00000001 6b 00", map[string]any{"k": nil}},
}

// TestEveryKind takes every kind through all code that knows kinds. So it fails if a
// new kind was forgotten somewhere. It reads the kinds from the sources.
func TestEveryKind(t *testing.T) {
	known := map[dirty.Kind]bool{}
	for name, code := range constantsOf(t, "Kind") {
		k := dirty.Kind(code)
		known[k] = true
		assert.Equal(t, strings.TrimPrefix(name, "Kind"), strings.ToUpper(k.String()[:1])+k.String()[1:], "kinds in tlv.go")
		sample, ok := kindSamples[k]
		require.True(t, ok, "there is no sample of %s in this test", name)
		data := unhex(t, sample.encoded)
		require.EqualValues(t, k, data[0])
		for around, encoded := range map[string][]byte{
			"alone":     data,
			"in a list": join(dirty.AppendListHeader(nil, 3), data, data, data),
			"in a dict": join(dirty.AppendDictHeader(nil, 1), dirty.AppendString(nil, "k"), data),
		} {
			want := sample.value
			switch around {
			case "in a list":
				want = []any{want, want, want}
			case "in a dict":
				want = map[string]any{"k": want}
			}
			require.NoError(t, dirty.Validate(encoded), "%s %s: tlv_check.go", name, around)
			var v any
			require.NoError(t, dirty.Unmarshal(encoded, &v))
			assert.Equal(t, want, v, "%s %s: tlv_decode.go", name, around)
			back, err := dirty.Marshal(v)
			require.NoError(t, err)
			assert.Equal(t, encoded, back, "%s %s: tlv_encode.go", name, around)
			assert.NotContains(t, dirty.Diagnose(encoded), "<", "%s %s: tlv_diagnose.go", name, around)
			if k != dirty.KindNone || around != "alone" {
				assert.NotEqual(t, "null", dirty.Diagnose(encoded))
			}
			d := dirty.NewDecoder(join(encoded, data))
			_, err = d.Kind()
			require.NoError(t, err)
			skipped, err := d.Raw()
			require.NoError(t, err)
			assert.Equal(t, encoded, []byte(skipped), "%s %s: cursor.skip", name, around)
			var raw struct{ First, K dirty.RawValue }
			if around == "in a dict" {
				require.NoError(t, dirty.Unmarshal(encoded, &raw))
				assert.Equal(t, data, []byte(raw.K))
			}
		}
	}
	for i := range 256 {
		if known[dirty.Kind(i)] {
			continue
		}
		assert.Equal(t, fmt.Sprintf("Kind(0x%x)", i), dirty.Kind(i).String())
		for _, data := range [][]byte{{byte(i)}, join(dirty.AppendListHeader(nil, 1), []byte{byte(i)}), join(dirty.AppendDictHeader(nil, 1), dirty.AppendString(nil, "k"), []byte{byte(i)})} {
			var v any
			assert.ErrorIs(t, dirty.Unmarshal(data, &v), dirty.ErrMalformed)
			assert.Contains(t, dirty.Diagnose(data), "<dirty: malformed")
			_, err := dirty.NewDecoder(data).Raw()
			assert.ErrorIs(t, err, dirty.ErrMalformed)
		}
		_, err := dirty.NewDecoder([]byte{byte(i)}).Kind()
		assert.ErrorIs(t, err, dirty.ErrMalformed)
	}
}
