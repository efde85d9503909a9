package dirty_test

import (
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFaultPaths checks the path and the offset of faults.
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
