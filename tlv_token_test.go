package dirty_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAppendLowLevel: the Append functions give the goldens, one call each.
func TestAppendLowLevel(t *testing.T) {
	for _, tt := range goldens {
		b := []byte("x")
		switch v := tt.value.(type) {
		case nil:
			b = dirty.AppendNone(b)
		case bool:
			b = dirty.AppendBool(b, v)
		case int64:
			b = dirty.AppendInt64(b, v)
		case float64:
			b = dirty.AppendFloat64(b, v)
		case []byte:
			b = dirty.AppendBytes(b, v)
		case string:
			b = dirty.AppendString(b, v)
		case []any:
			b = dirty.AppendListHeader(b, len(v))
		case map[string]any:
			b = dirty.AppendDictHeader(b, len(v))
		}
		want := unhex(t, tt.hex)
		assert.Equal(t, byte('x'), b[0])
		assert.Equal(t, want[:len(b)-1], b[1:], tt.name)
		assert.GreaterOrEqual(t, len(b), 2)
	}
	for _, f := range []func(b []byte, n int) []byte{dirty.AppendListHeader, dirty.AppendDictHeader} {
		assert.Equal(t, []byte{0x01, 0x02, 0x03, 0x04}, f(nil, 0x01020304)[1:])
		assert.Panics(t, func() { f(nil, -1) })
		if math.MaxInt > math.MaxInt32 {
			n := uint64(math.MaxUint32)
			assert.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, f(nil, int(n))[1:])
			assert.Panics(t, func() { n++; f(nil, int(n)) })
		}
	}
}

// walk reads a value with nothing but the Decoder, in the notation of
// Diagnose.
func walk(d *dirty.Decoder) (string, error) {
	k, err := d.Kind()
	if err != nil {
		return "", err
	}
	switch k {
	case dirty.KindNone:
		return "null", d.None()
	case dirty.KindBool:
		v, err := d.Bool()
		return fmt.Sprint(v), err
	case dirty.KindInt64:
		v, err := d.Int64()
		return fmt.Sprint(v), err
	case dirty.KindFloat64:
		v, err := d.Float64()
		return dirty.Diagnose(dirty.AppendFloat64(nil, v)), err
	case dirty.KindBytes:
		v, err := d.Bytes()
		return fmt.Sprintf("h'%x'", v), err
	case dirty.KindString:
		v, err := d.Text()
		return fmt.Sprintf("%q", v), err
	case dirty.KindList:
		n, err := d.ListHeader()
		var items []string
		for range n {
			item, err := walk(d)
			if err != nil {
				return "", err
			}
			items = append(items, item)
		}
		return "[" + strings.Join(items, ", ") + "]", err
	default:
		n, err := d.DictHeader()
		var items []string
		for range n {
			key, err := d.Key()
			if err != nil {
				return "", err
			}
			item, err := walk(d)
			if err != nil {
				return "", err
			}
			items = append(items, fmt.Sprintf("%q: %s", key, item))
		}
		return "{" + strings.Join(items, ", ") + "}", err
	}
}

func TestDecoderWalk(t *testing.T) {
	whole := unhex(t, composite)
	const want = `{"abc": [null, true, 1, 1.0, h'ffff'], "é": {"": "€"}, "z": [[{}]]}`
	d := dirty.NewDecoder(whole)
	got, err := walk(d)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, want, dirty.Diagnose(whole))
	assert.Equal(t, len(whole), d.Offset())
	require.NoError(t, d.Finish())
	for cut := range whole {
		d := dirty.NewDecoder(whole[:cut])
		_, err := walk(d)
		assert.ErrorIs(t, err, dirty.ErrMalformed, cut)
		_, again := d.Kind()
		assert.Same(t, err, again, "faults of the data are sticky")
		assert.Same(t, err, d.Finish())
		assert.Same(t, err, d.Skip())
		assert.Contains(t, dirty.Diagnose(whole[:cut]), "malformed")
	}
}

// TestDecoderWrongMethod: the value stays and can be read by another method.
func TestDecoderWrongMethod(t *testing.T) {
	methods := map[dirty.Kind]func(d *dirty.Decoder) error{
		dirty.KindNone:    func(d *dirty.Decoder) error { return d.None() },
		dirty.KindBool:    func(d *dirty.Decoder) error { _, err := d.Bool(); return err },
		dirty.KindInt64:   func(d *dirty.Decoder) error { _, err := d.Int64(); return err },
		dirty.KindFloat64: func(d *dirty.Decoder) error { _, err := d.Float64(); return err },
		dirty.KindBytes:   func(d *dirty.Decoder) error { _, err := d.Bytes(); return err },
		dirty.KindString:  func(d *dirty.Decoder) error { _, err := d.Text(); return err },
		dirty.KindList:    func(d *dirty.Decoder) error { _, err := d.ListHeader(); return err },
		dirty.KindDict:    func(d *dirty.Decoder) error { _, err := d.DictHeader(); return err },
	}
	for _, tt := range goldens {
		d := dirty.NewDecoder(join("\x00", unhex(t, tt.hex)))
		require.NoError(t, d.None())
		kind, err := d.Kind()
		require.NoError(t, err)
		for k, f := range methods {
			if k == kind {
				continue
			}
			var e *dirty.UnmarshalTypeError
			require.ErrorAs(t, f(d), &e)
			assert.ErrorIs(t, e, dirty.ErrTypeMismatch)
			assert.Equal(t, kind, e.Kind)
			assert.EqualValues(t, 1, e.Offset)
			assert.Equal(t, 1, d.Offset())
			assert.NotContains(t, e.Error(), "Go value of type")
		}
		require.NoError(t, methods[kind](d), tt.name)
	}
	d := dirty.NewDecoder([]byte{0})
	_, err := d.Key()
	assert.ErrorIs(t, err, dirty.ErrMalformed, "a key that is no string is a fault of the data")
	assert.Same(t, err, d.None())
}

func TestDecoderRaw(t *testing.T) {
	data := unhex(t, "20 00000002 00 0101  10 00000002 abcd  11 00000001 61")
	d := dirty.NewDecoder(data)
	raw, err := d.Raw()
	require.NoError(t, err)
	assert.Equal(t, dirty.RawValue(data[:8]), raw)
	assert.Equal(t, 8, cap(raw), "it aliases and ends where it ends")
	assert.Same(t, &data[0], &raw[0])
	b, err := d.Bytes()
	require.NoError(t, err)
	assert.Equal(t, []byte{0xab, 0xcd}, b)
	assert.Equal(t, 2, cap(b))
	assert.Same(t, &data[13], &b[0])
	assert.ErrorIs(t, d.Finish(), dirty.ErrTrailingData)
	require.NoError(t, d.Skip(), "Finish is not sticky")
	require.NoError(t, d.Finish())
	assert.ErrorIs(t, d.Skip(), dirty.ErrMalformed)
}

// TestDecoderLimits: counts fit into what is left, for who loops over them.
func TestDecoderLimits(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		lim  dirty.Limits
		want error
	}{
		{"20 00000003 00 00", dirty.Limits{}, dirty.ErrMalformed},
		{"20 00000002 00 00", dirty.Limits{}, nil},
		{"20 00000002 00 00", dirty.Limits{MaxElements: 1}, dirty.ErrTooLarge},
		{"20 00000002 00 00", dirty.Limits{MaxMemory: 16}, nil},
		{"20 00000001 20 00000001 00", dirty.Limits{MaxDepth: 1}, nil},
	} {
		_, err := dirty.DecodeOptions{Limits: tt.lim}.NewDecoder(unhex(t, tt.hex)).ListHeader()
		assert.ErrorIs(t, err, tt.want, tt.hex)
	}
	d := dirty.NewDecoder(append([]byte(strings.Repeat("\x20\x00\x00\x04\x00", 3)), make([]byte, 2000)...))
	_, err := d.ListHeader()
	require.NoError(t, err)
	_, err = d.ListHeader()
	assert.ErrorIs(t, err, dirty.ErrMalformed, "two lists of 1024 do not fit into 2010 bytes")
	deepList := dirty.DecodeOptions{Limits: dirty.Limits{MaxDepth: 1}}.NewDecoder(unhex(t, "20 00000001 20 00000000"))
	assert.ErrorIs(t, deepList.Skip(), dirty.ErrTooDeep)
}

func TestDecoderAllocations(t *testing.T) {
	data := mustMarshal(t, map[string]any{"a": []any{1, 2.5, true, nil}, "b": []byte("bytes")})
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { // the Decoder itself
		d := dirty.NewDecoder(data)
		if n, err := d.DictHeader(); n != 2 || err != nil {
			panic(err)
		}
		for range 2 {
			if err := errors.Join(d.Skip(), d.Skip()); err != nil {
				panic(err)
			}
		}
	}), 1.0)
	if !raceEnabled {
		var err error
		assert.Zero(t, testing.AllocsPerRun(100, func() { err = dirty.Validate(data) }))
		assert.NoError(t, err)
	}
}

func TestDiagnose(t *testing.T) {
	for _, tt := range []struct{ hex, want string }{
		{"00", "null"}, {"01 02", "true"}, {"05 ffffffffffffffff", "-1"},
		{"06 7ff8000000000000", "NaN"}, {"06 7ff8000000000001", "NaN(7ff8000000000001)"}, {"06 fff8000000000000", "NaN(fff8000000000000)"}, {"06 7ff0000000000000", "Infinity"}, {"06 8000000000000000", "-0.0"},
		{"06 3fb999999999999a", "0.1"}, {"06 4341c37937e08000", "1e+16"}, {"11 00000004 22 0a c3a9", `"\"\né"`},
		{"20 00000002 00 07", "[null, <dirty: malformed: type code at offset 6: found 0x07>"},
		{"00 00", "null<dirty: trailing data: bytes after the value at offset 1: found 1, want 0>"},
		{"", "<dirty: malformed: bytes left for a value at offset 0: found 0, want 1>"},
	} {
		assert.Equal(t, tt.want, dirty.Diagnose(unhex(t, tt.hex)))
	}
	assert.Contains(t, dirty.Diagnose([]byte(strings.Repeat("\x20\x00\x00\x00\x01", 5000))), "nested too deep")
}
