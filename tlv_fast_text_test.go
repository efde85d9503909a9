package dirty_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTextAtEveryPlace puts a character that is not ASCII, or bytes that are not UTF-8,
// at every place of strings of every length, because these are looked at in words.
func TestTextAtEveryPlace(t *testing.T) {
	for n := range 26 {
		for at := range n {
			for _, piece := range []string{"é", "\x80", "\xff", "\xc3"} {
				s := (strings.Repeat("x", at) + piece + strings.Repeat("x", n))[:n]
				valid := utf8.ValidString(s)
				alone := dirty.AppendString(nil, s)
				list := dirty.AppendString(dirty.AppendString(dirty.AppendListHeader(nil, 3), "before"), s)
				list = dirty.AppendString(list, "behind")

				_, err := dirty.Marshal(s)
				require.Equal(t, valid, err == nil, "%q", s)
				require.Equal(t, valid, dirty.Validate(alone) == nil, "%q", s)
				for _, strs := range []any{[]any{"before", s, "behind"}, []string{"before", s, "behind"}} {
					got, err := dirty.Marshal(strs)
					if valid {
						require.NoError(t, err, "%q", s)
						require.Equal(t, list, got, "%q", s)
						continue
					}
					var fault *dirty.MarshalError
					require.ErrorAs(t, err, &fault, "%q", s)
					require.ErrorIs(t, err, dirty.ErrInvalidUTF8)
					require.Equal(t, "[1]", fault.Path, "%q", s)
				}
				err = dirty.Validate(list)
				if valid {
					require.NoError(t, err, "%q", s)
					continue
				}
				var fault *dirty.ProtocolError
				require.ErrorAs(t, err, &fault, "%q", s)
				require.ErrorIs(t, err, dirty.ErrInvalidUTF8)
				require.Equal(t, "[1]", fault.Path, "%q", s)
				require.EqualValues(t, 5+5+len("before")+5+validBytes(s), fault.Offset, "%q", s)
			}
		}
	}
}

// validBytes returns how many bytes at the start of s are UTF-8.
func validBytes(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return i
		}
	}
	return len(s)
}

// TestFirstFaultOfStrings checks that the error is that of the first fault, although
// the strings of a list are looked at together.
func TestFirstFaultOfStrings(t *testing.T) {
	text := func(s string) []byte { return dirty.AppendString(nil, s) }
	for _, test := range []struct {
		name  string
		then  []byte // behind "\xff"
		count int
		err   error
	}{
		{"and then bad text", text("\xfe"), 2, dirty.ErrInvalidUTF8},
		{"and then a truncated string", text("x")[:3], 2, dirty.ErrInvalidUTF8},
		{"and then no kind", []byte{0x7f}, 2, dirty.ErrInvalidUTF8},
		{"and then too long a string", []byte{0x11, 0xff, 0xff, 0xff, 0xff}, 2, dirty.ErrInvalidUTF8},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := append(append(dirty.AppendListHeader(nil, test.count), text("a\xff")...), test.then...)
			err := dirty.Validate(data)
			var fault *dirty.ProtocolError
			require.ErrorAs(t, err, &fault)
			assert.ErrorIs(t, err, test.err)
			assert.EqualValues(t, 5+5+1, fault.Offset)
			assert.Equal(t, "[0]", fault.Path)
		})
	}
}
