package dirty_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unhex reads hexadecimal digits; spaces are for the eye.
func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	require.NoError(t, err)
	return b
}

// raceEnabled tells whether the race detector is on: then sync.Pool forgets
// at random, and allocations cannot be counted.
var raceEnabled = func() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// allocated returns how many bytes f allocates, at the least of a few times:
// the runtime allocates too.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 4 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// join joins encoded values.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case dirty.RawValue:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		}
	}
	return b
}

// goldens are values and their encodings, written by hand.
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

// TestNaN: the bits of a NaN are data.
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

// composite holds every kind.
const composite = `21 00000003
	11 00000003 616263  20 00000005  00  01 01  05 0000000000000001  06 3ff0000000000000  10 00000002 ffff
	11 00000002 c3a9    21 00000001  11 00000000  11 00000003 e282ac
	11 00000001 7a      20 00000001 20 00000001 21 00000000`

// TestTruncation cuts a value everywhere: that is malformed, and never an EOF.
func TestTruncation(t *testing.T) {
	whole := unhex(t, composite)
	require.NoError(t, dirty.Validate(whole))
	for cut := range whole {
		got := any("before")
		typed := struct{ ABC []any }{ABC: []any{"before"}}
		var raw dirty.RawValue
		errs := []error{
			dirty.Validate(whole[:cut]),
			dirty.Unmarshal(whole[:cut], &got),
			dirty.Unmarshal(whole[:cut:cut], &typed),
			dirty.Unmarshal(whole[:cut], &raw),
			func() error { _, err := dirty.UnmarshalFirst(whole[:cut], &got); return err }(),
			dirty.NewDecoder(whole[:cut]).Skip(),
		}
		for i, err := range errs {
			var e *dirty.ProtocolError
			require.ErrorAs(t, err, &e, "cut at %d, case %d", cut, i)
			assert.ErrorIs(t, err, dirty.ErrMalformed, "cut at %d, case %d", cut, i)
			assert.NotErrorIs(t, err, io.EOF)
			assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.False(t, e.Fatal)
			assert.LessOrEqual(t, e.Offset, int64(cut))
		}
		assert.Equal(t, "before", got, "nothing is stored")
		assert.Equal(t, []any{"before"}, typed.ABC, "nothing is stored")
		assert.Nil(t, raw)
	}
}

func TestUnknownKinds(t *testing.T) {
	known := map[byte]bool{0: true, 1: true, 5: true, 6: true, 0x10: true, 0x11: true, 0x20: true, 0x21: true}
	n := 0
	for k := range 256 {
		if known[byte(k)] {
			continue
		}
		n++
		for at, b := range map[int64][]byte{
			0: append([]byte{byte(k)}, make([]byte, 12)...),
			6: join(unhex(t, "20 00000002 00"), []byte{byte(k)}, make([]byte, 12)),
		} {
			err := dirty.Validate(b)
			var e *dirty.ProtocolError
			require.ErrorAs(t, err, &e)
			assert.ErrorIs(t, err, dirty.ErrMalformed)
			assert.Equal(t, at, e.Offset)
			assert.EqualValues(t, k, e.Found)
			var v any
			assert.ErrorIs(t, dirty.Unmarshal(b, &v), dirty.ErrMalformed)
			_, err = dirty.NewDecoder(b[at:]).Kind()
			assert.ErrorIs(t, err, dirty.ErrMalformed)
		}
	}
	assert.Equal(t, 248, n)
}

// TestLimits: what is at a limit is accepted, one more is refused, by the
// sentinel of the limit even where bytes are missing too.
func TestDecodeLimits(t *testing.T) {
	list := func(n int) []byte { return append(dirty.AppendListHeader(nil, n), make([]byte, n)...) }
	dict := func(n int) []byte {
		b := dirty.AppendDictHeader(nil, n)
		for range n {
			b = dirty.AppendNone(dirty.AppendString(b, ""))
		}
		return b
	}
	levels := func(n int) []byte {
		return append([]byte(strings.Repeat("\x20\x00\x00\x00\x01", n-1)), 0x20, 0, 0, 0, 0)
	}
	for _, tt := range []struct {
		name  string
		lim   dirty.Limits
		data  []byte
		want  error // nil: accepted
		limit int64
		found int64
	}{
		{"list at the default", dirty.Limits{}, list(dirty.MaxElements), nil, 0, 0},
		{"list over the default", dirty.Limits{}, list(dirty.MaxElements + 1), dirty.ErrTooLarge, 1 << 20, 1<<20 + 1},
		{"list over, cut short", dirty.Limits{}, unhex(t, "20 00100001"), dirty.ErrTooLarge, 1 << 20, 1<<20 + 1},
		{"list with the most", dirty.Limits{}, unhex(t, "20 ffffffff"), dirty.ErrTooLarge, 1 << 20, math.MaxUint32},
		{"list at the limit, cut short", dirty.Limits{}, unhex(t, "20 00100000"), dirty.ErrMalformed, 0, 1 << 20},
		{"dict at the default", dirty.Limits{MaxMemory: 1 << 30}, dict(dirty.MaxElements), nil, 0, 0},
		{"dict over, cut short", dirty.Limits{}, unhex(t, "21 00100001"), dirty.ErrTooLarge, 1 << 20, 1<<20 + 1},
		{"list at 3", dirty.Limits{MaxElements: 3}, list(3), nil, 0, 0},
		{"list over 3", dirty.Limits{MaxElements: 3}, list(4), dirty.ErrTooLarge, 3, 4},
		{"dict at 3", dirty.Limits{MaxElements: 3}, dict(3), nil, 0, 0},
		{"dict over 3", dirty.Limits{MaxElements: 3}, dict(4), dirty.ErrTooLarge, 3, 4},
		{"elements are counted one list at a time", dirty.Limits{MaxElements: 2}, unhex(t, "20 00000002 20 00000002 00 00 20 00000002 00 00"), nil, 0, 0},

		{"bytes over the default, cut short", dirty.Limits{}, unhex(t, "10 04000001"), dirty.ErrTooLarge, 64 << 20, 64<<20 + 1},
		{"text over the default, cut short", dirty.Limits{}, unhex(t, "11 04000001"), dirty.ErrTooLarge, 64 << 20, 64<<20 + 1},
		{"bytes with the most", dirty.Limits{}, unhex(t, "10 ffffffff"), dirty.ErrTooLarge, 64 << 20, math.MaxUint32},
		{"key over the default", dirty.Limits{}, unhex(t, "21 00000001 11 04000001 00"), dirty.ErrTooLarge, 64 << 20, 64<<20 + 1},
		{"bytes at the default, cut short", dirty.Limits{}, unhex(t, "10 04000000 00"), dirty.ErrMalformed, 64 << 20, 1},
		{"bytes at 4", dirty.Limits{MaxPayload: 4}, unhex(t, "10 00000004 00000000"), nil, 0, 0},
		{"bytes over 4", dirty.Limits{MaxPayload: 4}, unhex(t, "10 00000005 0000000000"), dirty.ErrTooLarge, 4, 5},
		{"text at 4", dirty.Limits{MaxPayload: 4}, unhex(t, "11 00000004 00000000"), nil, 0, 0},
		{"text over 4", dirty.Limits{MaxPayload: 4}, unhex(t, "11 00000005 ffffffffff"), dirty.ErrTooLarge, 4, 5},
		{"key over 4", dirty.Limits{MaxPayload: 4}, unhex(t, "21 00000001 11 00000005 0000000000 00"), dirty.ErrTooLarge, 4, 5},

		{"depth at the default", dirty.Limits{}, levels(1000), nil, 0, 0},
		{"depth over the default", dirty.Limits{}, levels(1001), dirty.ErrTooDeep, 1000, 1001},
		{"depth over, cut short", dirty.Limits{}, levels(1001)[:5001], dirty.ErrTooDeep, 1000, 1001},
		{"depth at 2", dirty.Limits{MaxDepth: 2}, levels(2), nil, 0, 0},
		{"depth over 2", dirty.Limits{MaxDepth: 2}, levels(3), dirty.ErrTooDeep, 2, 3},
		{"depth before the count", dirty.Limits{MaxDepth: 2, MaxElements: 1}, unhex(t, "20 00000001 20 00000001 20 00000009"), dirty.ErrTooDeep, 2, 3},
		{"depth of dicts", dirty.Limits{MaxDepth: 1}, unhex(t, "21 00000001 11 00000000 21 00000000"), dirty.ErrTooDeep, 1, 2},
		{"depth counts nesting, not lists", dirty.Limits{MaxDepth: 2}, unhex(t, "20 00000003 20 00000000 20 00000000 21 00000000"), nil, 0, 0},
		{"depth at the most", dirty.Limits{MaxDepth: 100_000}, levels(100_000), nil, 0, 0},

		// How much a value counts is Limits' business; elements are at least 1.
		{"values are enough", dirty.Limits{MaxMemory: 24000}, list(1000), nil, 0, 0},
		{"values in a list", dirty.Limits{MaxMemory: 16000}, list(1000), dirty.ErrTooLarge, 0, 0},
		{"values in levels", dirty.Limits{MaxMemory: 160}, levels(10), dirty.ErrTooLarge, 0, 0},
		{"values in dicts", dirty.Limits{MaxMemory: 320}, dict(10), dirty.ErrTooLarge, 0, 0},
		{"values in text", dirty.Limits{MaxMemory: 96}, dirty.AppendString(nil, strings.Repeat("a", 100)), dirty.ErrTooLarge, 0, 0},
		{"values in keys", dirty.Limits{MaxMemory: 960}, join(unhex(t, "21 00000001"), dirty.AppendString(nil, strings.Repeat("k", 1000)), "\x00"), dirty.ErrTooLarge, 0, 0},
		{"values in bytes", dirty.Limits{MaxMemory: 96}, dirty.AppendBytes(nil, make([]byte, 100)), dirty.ErrTooLarge, 0, 0},
		{"values in numbers", dirty.Limits{MaxMemory: 1920}, join(dirty.AppendListHeader(nil, 100), []byte(strings.Repeat("\x05\x00\x00\x00\x00\x00\x00\x00\x01", 100))), dirty.ErrTooLarge, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := dirty.DecodeOptions{Limits: tt.lim}
			var v any
			for _, err := range []error{opts.Validate(tt.data), opts.Unmarshal(tt.data, &v), opts.Unmarshal(tt.data, new(dirty.RawValue))} {
				if tt.want == nil {
					require.NoError(t, err)
					continue
				}
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e)
				assert.ErrorIs(t, err, tt.want)
				if tt.want != dirty.ErrMalformed {
					assert.Greater(t, e.Found, e.Limit)
				}
				if tt.limit != 0 {
					assert.Equal(t, tt.limit, e.Limit, err)
					assert.Equal(t, tt.found, e.Found, err)
				}
				assert.Nil(t, v)
			}
			if !strings.HasPrefix(tt.name, "values") { // nothing is built
				assert.Equal(t, tt.want == nil, opts.NewDecoder(tt.data).Skip() == nil)
			}
		})
	}
	t.Run("bad limits", func(t *testing.T) {
		opts := dirty.DecodeOptions{Limits: dirty.Limits{MaxDepth: -1}}
		var v any
		assert.ErrorContains(t, opts.Unmarshal([]byte{0}, &v), "MaxDepth")
		assert.ErrorContains(t, opts.Validate([]byte{0}), "MaxDepth")
		assert.ErrorContains(t, opts.NewDecoder([]byte{0}).None(), "MaxDepth")
		rest, err := opts.UnmarshalFirst([]byte{0, 1}, &v)
		assert.ErrorContains(t, err, "MaxDepth")
		assert.Equal(t, []byte{0, 1}, rest)
	})
}

// TestHostileCounts: what bytes announce is not allocated, whatever reads them.
func TestHostileCounts(t *testing.T) {
	nested := append([]byte(strings.Repeat("\x20\x00\x10\x00\x00", 50)), make([]byte, 1<<20)...)
	for _, tt := range []struct {
		name string
		data []byte
		want error
		most uint64
	}{
		{"list", unhex(t, "20 00100000"), dirty.ErrMalformed, 4 << 10},
		{"list of 4 Gi", unhex(t, "20 ffffffff"), dirty.ErrTooLarge, 4 << 10},
		{"dict", unhex(t, "21 00100000"), dirty.ErrMalformed, 4 << 10},
		{"dict with a sixth of the bytes", append(unhex(t, "21 00000064"), make([]byte, 599)...), dirty.ErrMalformed, 4 << 10},
		{"bytes", unhex(t, "10 04000000"), dirty.ErrMalformed, 4 << 10},
		{"text", unhex(t, "11 04000000"), dirty.ErrMalformed, 4 << 10},
		{"50 lists that share 1 MiB of None", nested, dirty.ErrMalformed, 64 << 10},
		{"12 million levels", []byte(strings.Repeat("\x20\x00\x00\x00\x01", 12_000_000)), dirty.ErrTooDeep, 256 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			var typed [][]map[string]struct{ A [100]int }
			for i, f := range []func() error{
				func() error { return dirty.Validate(tt.data) },
				func() error { return dirty.Unmarshal(tt.data, &v) },
				func() error { return dirty.Unmarshal(tt.data, &typed) },
				func() error { return dirty.DecodeOptions{UseDict: true}.Unmarshal(tt.data, &v) },
				func() error { return dirty.NewDecoder(tt.data).Skip() },
			} {
				_ = f() // plans and pools
				var err error
				n := allocated(func() { err = f() })
				assert.ErrorIs(t, err, tt.want, i)
				assert.LessOrEqual(t, n, tt.most, i)
			}
		})
	}
}

func TestInvalidUTF8(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		at         int
	}{
		{"a continuation", "\x80", 0},
		{"an overlong NUL", "ab\xc0\x80", 2},
		{"an overlong slash", "\xe0\x80\xaf", 0},
		{"a surrogate", "é\xed\xa0\x80", 2},
		{"above U+10FFFF", "\xf4\x90\x80\x80", 0},
		{"ff", "abc\xffd", 3},
		{"cut short", "abc\xe2\x82", 3},
		{"cut short at four", "\xf0\x9f\x98", 0},
		{"Latin-1", "caf\xe9 au lait", 3},
		{"late", strings.Repeat("x", 1000) + "\xfe", 1000},
		{"behind U+FFFD", "\ufffd\xff", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			value := dirty.AppendString(nil, tt.text)
			inList := join(unhex(t, "20 00000002 00"), value)
			key := join(unhex(t, "21 00000002 11 00000001 61 00"), value, "\x00")
			for i, row := range []struct {
				data []byte
				at   int
				path string
			}{{value, 5, ""}, {inList, 11, "[1]"}, {key, 17, ""}} {
				var v any
				err := dirty.Unmarshal(row.data, &v)
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e)
				assert.ErrorIs(t, err, dirty.ErrInvalidUTF8)
				assert.EqualValues(t, row.at+tt.at, e.Offset, i)
				assert.Equal(t, row.path, e.Path, i)
				_, err = dirty.NewDecoder(row.data).Raw()
				assert.ErrorIs(t, err, dirty.ErrInvalidUTF8)
			}
			_, err := dirty.Marshal(tt.text)
			assert.ErrorIs(t, err, dirty.ErrInvalidUTF8)
		})
	}
}

// TestFaultPaths: where faults are, in words and in bytes.
func TestFaultPaths(t *testing.T) {
	bad := "\x07"
	dict := func(key string, value any) []byte {
		return join(dirty.AppendString(dirty.AppendDictHeader(nil, 1), key), value)
	}
	list := func(before int, value any) []byte {
		return join(dirty.AppendListHeader(nil, before+1), make([]byte, before), value)
	}
	deep := []byte(bad)
	for i := range 30 {
		deep = list(i, deep)
	}
	lists := func(n int) []byte { return []byte(strings.Repeat("\x20\x00\x00\x00\x01", n) + bad) }
	for _, tt := range []struct {
		name string
		data []byte
		path string
		fail error
	}{
		{"16 steps", lists(16), strings.Repeat("[0]", 16), dirty.ErrMalformed},
		{"17 steps", lists(17), strings.Repeat("[0]", 8) + "..." + strings.Repeat("[0]", 8), dirty.ErrMalformed},
		{"top", []byte(bad), "", dirty.ErrMalformed},
		{"list", list(3, bad), "[3]", dirty.ErrMalformed},
		{"dict", dict("a_1", bad), "a_1", dirty.ErrMalformed},
		{"both", dict("kwargs", dict("image", list(3, bad))), "kwargs.image[3]", dirty.ErrMalformed},
		{"odd keys", dict("a b", dict("", dict("9", dict("é", dict("x", bad))))), `["a b"][""]["9"]["é"].x`, dirty.ErrMalformed},
		{"a key with quotes", dict("\"\n\x00", bad), `["\"\n\x00"]`, dirty.ErrMalformed},
		{"a long key", dict(strings.Repeat("k", 33), bad), `["` + strings.Repeat("k", 32) + `..."]`, dirty.ErrMalformed},
		{"a long key cut in a character", dict(strings.Repeat("k", 31)+"é", bad), `["` + strings.Repeat("k", 31) + `..."]`, dirty.ErrMalformed},
		{"behind other values", join(dirty.AppendDictHeader(nil, 2), dirty.AppendString(nil, "a"), list(2, "\x00"), dirty.AppendString(nil, "b"), bad), "b", dirty.ErrMalformed},
		{"behind a list in a list", join(dirty.AppendListHeader(nil, 2), list(1, "\x00"), bad), "[1]", dirty.ErrMalformed},
		{"long paths", deep, "[29][28][27][26][25][24][23][22]...[7][6][5][4][3][2][1][0]", dirty.ErrMalformed},
		{"the key itself", join(dirty.AppendDictHeader(nil, 1), "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "", dirty.ErrMalformed},
		{"the key itself, inside", dict("a", join(dirty.AppendDictHeader(nil, 1), "\x00\x00\x00\x00\x00\x00\x00")), "a", dirty.ErrMalformed},
		{"a key that is cut short", dict("a", join(dirty.AppendDictHeader(nil, 1), "\x11\x00\x00\x00\x02a")), "a", dirty.ErrMalformed},
		{"a missing element", join(dirty.AppendListHeader(nil, 2), list(1, "\x00"), ""), "[1]", dirty.ErrMalformed},
		{"a count", dict("a", "\x20\x00\x10\x00\x01"), "a", dirty.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			for _, err := range []error{dirty.Validate(tt.data), dirty.Unmarshal(tt.data, &v)} {
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e)
				assert.ErrorIs(t, err, tt.fail)
				assert.Equal(t, tt.path, e.Path)
				if tt.path != "" {
					assert.Contains(t, e.Error(), tt.path)
				}
				if strings.HasSuffix(string(tt.data), bad) {
					assert.EqualValues(t, len(tt.data)-1, e.Offset)
				}
			}
		})
	}
}

// TestDecodeLeniency: what gunicorn's decoder forgives.
func TestDecodeLeniency(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      any
	}{
		{"bool 02", "01 02", true},
		{"bool ff", "01 ff", true},
		{"duplicates: the last value", "21 00000002 11 00000001 61 01 00 11 00000001 61 01 01", map[string]any{"a": true}},
		{"duplicates: to None", "21 00000002 11 00000001 61 01 00 11 00000001 61 00", map[string]any{"a": nil}},
	} {
		var got any
		require.NoError(t, dirty.Unmarshal(unhex(t, tt.hex), &got), tt.name)
		assert.Equal(t, tt.want, got, tt.name)
	}
	var d any // at the first position
	require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(
		unhex(t, "21 00000003 11 00000001 61 01 00 11 00000001 62 00 11 00000001 61 01 01"), &d))
	assert.Equal(t, dirty.Dict{{Key: "a", Value: true}, {Key: "b"}}, d)
	long := dirty.AppendDictHeader(nil, 60)
	for i := range 60 {
		long = dirty.AppendInt64(dirty.AppendString(long, string(rune('a'+i%30))), int64(i))
	}
	require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(long, &d))
	require.Len(t, d, 30)
	for i, e := range d.(dirty.Dict) {
		assert.Equal(t, dirty.Entry{Key: string(rune('a' + i)), Value: int64(i + 30)}, e)
	}
}

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

// TestErrorsHideValues: no error shows what was in the data.
func TestErrorsHideValues(t *testing.T) {
	secret := "hunter2"
	var dst struct{ A []int }
	for _, data := range [][]byte{
		dirty.AppendString(nil, secret+"\xff"),
		join(dirty.AppendString(nil, secret), "\x00"),
		dirty.AppendString(nil, secret),
		mustMarshal(t, map[string]any{"A": secret}),
		mustMarshal(t, map[string]any{"A": []any{secret}}),
	} {
		err := dirty.Unmarshal(data, &dst)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret)
	}
	_, err := dirty.Marshal([]any{secret + "\xff"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
	assert.True(t, errors.Is(err, dirty.ErrInvalidUTF8))
}

// kindSamples has a value of each kind, encoded, and what it decodes to.
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

// TestEveryKind: whatever a new kind is forgotten in, it fails here. The
// constants are read from the sources.
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
