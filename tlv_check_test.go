package dirty_test

import (
	"io"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTruncation cuts a value at every byte. It is malformed then, which is no EOF.
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
