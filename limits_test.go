package dirty_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimitsValidate(t *testing.T) {
	for _, f := range []struct {
		name string
		set  func(l *dirty.Limits, n int)
		max  int
	}{
		{"MaxPayload", func(l *dirty.Limits, n int) { l.MaxPayload = n }, dirty.MaxPayloadSize},
		{"MaxDepth", func(l *dirty.Limits, n int) { l.MaxDepth = n }, 100_000},
		{"MaxElements", func(l *dirty.Limits, n int) { l.MaxElements = n }, dirty.MaxElements},
		{"MaxMemory", func(l *dirty.Limits, n int) { l.MaxMemory = n }, min(16<<30, math.MaxInt/2+1)},
	} {
		for n, ok := range map[int]bool{0: true, 1: true, f.max: true, f.max + 1: false, -1: false, math.MinInt: false, math.MaxInt: false} {
			t.Run(fmt.Sprint(f.name, n), func(t *testing.T) {
				var l dirty.Limits
				f.set(&l, n)
				err := l.Validate()
				_, encodeErr := dirty.EncodeOptions{Limits: l}.Marshal(nil)
				_, messageErr := dirty.EncodeOptions{Limits: l}.AppendMessage(nil, dirty.NewEnd(1))
				frame, _ := dirty.AppendMessage(nil, dirty.NewEnd(1))
				_, _, decodeErr := dirty.DecodeOptions{Limits: l}.DecodeMessage(frame)
				_, readErr := dirty.NewReader(bytes.NewReader(frame), dirty.WithLimits(l)).ReadMessage()
				_, frameErr := dirty.NewReader(bytes.NewReader(frame), dirty.WithLimits(l)).ReadFrame()
				var out bytes.Buffer
				writeErr := dirty.NewWriter(&out, dirty.WithLimits(l)).WriteMessage(dirty.NewEnd(1))
				writeFrameErr := dirty.NewWriter(&out, dirty.WithLimits(l)).WriteFrame(dirty.Frame{Header: dirty.Header{Type: 1}})
				all := []error{err, encodeErr, messageErr, decodeErr, readErr, frameErr, writeErr, writeFrameErr, dirty.DecodeOptions{Limits: l}.Validate([]byte{0})}
				for i, err := range all {
					if ok {
						assert.NoError(t, err, i)
					} else {
						assert.ErrorContains(t, err, "Limits."+f.name, i)
						assert.ErrorContains(t, err, fmt.Sprint(n), i)
						assert.Zero(t, out.Len(), "nothing is written")
					}
				}
			})
		}
	}
}

// TestLimitsReadable checks that the limits in force can be read, with their defaults
// filled in.
func TestLimitsReadable(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	reads := dirty.Limits{MaxPayload: 64 << 20, MaxDepth: 1000, MaxElements: 1 << 20, MaxMemory: 512 << 20}
	writes := reads
	writes.MaxDepth = 900
	for _, tt := range []struct{ given, read, write dirty.Limits }{
		{dirty.Limits{}, reads, writes},
		{dirty.Limits{1, 2, 3, 4}, dirty.Limits{1, 2, 3, 4}, dirty.Limits{1, 2, 3, 4}},
		{dirty.Limits{MaxDepth: 5}, dirty.Limits{64 << 20, 5, 1 << 20, 512 << 20}, dirty.Limits{64 << 20, 5, 1 << 20, 512 << 20}},
	} {
		c := dirty.NewConn(a, dirty.WithLimits(tt.given))
		assert.Equal(t, tt.read, dirty.NewReader(nil, dirty.WithLimits(tt.given)).Limits())
		assert.Equal(t, tt.write, dirty.NewWriter(nil, dirty.WithLimits(tt.given)).Limits())
		assert.Equal(t, tt.read, c.Limits())
	}
	require.NoError(t, reads.Validate())
}

// TestDecodeLimits checks that a value at a limit is accepted, and that one more is
// refused. The error is that of the limit even if bytes are missing too.
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

		// How much memory a value counts is described at Limits.MaxMemory.
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

// TestHostileCounts checks that nothing is allocated because a count or a length
// announces it, in whatever way the bytes are read.
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

// TestDecoderLimits checks that a count fits the data that is left, so that callers
// can loop up to it.
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

// TestStringsAtTheLimit fills a payload up to its last byte with the strings of a
// list, which are appended in a loop of their own.
func TestStringsAtTheLimit(t *testing.T) {
	for spare := range 12 {
		limit := 5 + 2*(5+10) + spare
		opts := dirty.EncodeOptions{Limits: dirty.Limits{MaxPayload: limit}}
		for _, last := range []int{0, 1, 5, 6, 7, 10} {
			ten, end := strings.Repeat("x", 10), strings.Repeat("y", last)
			for _, v := range []any{[]any{ten, ten, end}, []string{ten, ten, end}} {
				b, err := opts.Marshal(v)
				if 5+last <= spare {
					require.NoError(t, err)
					require.Len(t, b, limit-spare+5+last)
					continue
				}
				require.ErrorIs(t, err, dirty.ErrTooLarge, fmt.Sprint(spare, last))
			}
		}
	}
}

// TestEncodeLimits checks that a value at a limit is encoded and that one more is
// refused.
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

// TestEncodeStopsEarly checks that a value which holds one large thing many times is
// refused before memory is allocated for all of it.
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
