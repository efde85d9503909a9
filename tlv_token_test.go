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

// TestAppendLowLevel checks that one call of an Append function gives the bytes of
// each golden.
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

// walk reads a value with a Decoder and returns it in the notation of Diagnose.
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

// TestDecoderWrongMethod checks that after a wrong method the right one can read the
// value.
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
