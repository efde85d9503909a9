//go:build unix

package interop

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// TestTypesBothWays sends values of every type, asks Python for their types, and
// receives them again.
func TestTypesBothWays(t *testing.T) {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	values := map[string][]any{
		"NoneType": {nil},
		"bool":     {true, false},
		"int":      {int64(0), int64(1), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), int64(1) << 53},
		"float":    {0.0, math.Copysign(0, -1), 1.5, math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64},
		"bytes":    {[]byte{}, everyByte},
		"str":      {"", "zß水🍌", "\x00", "\ufeff", "\uffff", "\U0010ffff", strings.Repeat("x", 70000)},
		"list":     {[]any{}, []any{nil, true, int64(1), 1.5, []byte("b"), "s", []any{[]any{}}, map[string]any{}}},
		"dict":     {map[string]any{}, map[string]any{"": nil, "k": map[string]any{"水": []any{int64(1)}}}},
	}
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for kind, values := range values {
			for _, value := range values {
				assert.Equal(t, kind, p.call("kind", value))
				assert.Equal(t, value, p.call("identity", value))
			}
		}
	})
}

// TestFloatBits: neither side may change the bits of a NaN or the sign of zero.
func TestFloatBits(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for _, bits := range []uint64{0x7ff8000000000000, 0xfff8000000000001, 0x7ff0000000000001, 0x7ff4deadbeef0001, 1 << 63} {
			result := p.call("identity", math.Float64frombits(bits))
			require.IsType(t, 0.0, result)
			assert.Equal(t, bits, math.Float64bits(result.(float64)), "%016x", bits)
		}
	})
}

// TestPythonValues: values that only Python can send.
func TestPythonValues(t *testing.T) {
	want := map[string]any{
		"tuple":          []any{int64(1), int64(2)},
		"int_min":        int64(math.MinInt64),
		"same_key_twice": map[string]any{"2": "second"},
		"odd_keys": map[string]any{
			"2": "int", "None": "none", "True": "bool", "1.5": "float", "b'b'": "bytes", "(1, 2)": "tuple",
		},
	}
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for name, want := range want {
			assert.Equal(t, want, p.call("value", name), name)
		}
		p = g.dial(t, dirty.WithDict())
		assert.Equal(t, dirty.Dict{{Key: "b", Value: int64(1)}, {Key: "a", Value: dirty.Dict{{Key: "", Value: nil}}}},
			p.call("value", "dict"))
	})
}
