package dirty_test

import (
	"encoding/json"
	"errors"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tagSet is a map with UnmarshalText, and tagList a slice.
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

// TestJSONNumber: a number goes out as one, and a number comes in as one.
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
	for text, value := range map[json.Number]any{"12": 12, "-9223372036854775808": math.MinInt64, "1.0": 1.0, "0.1": 0.1, "1e+21": 1e21, "old": nil} {
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

// marshaler appends what the function returns.
type marshaler func(b []byte) ([]byte, error)

func (m marshaler) AppendTLV(b []byte) ([]byte, error) { return m(b) }

// TestMarshalersOfOthers: what a Marshaler does is caught, or harms nothing.
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
