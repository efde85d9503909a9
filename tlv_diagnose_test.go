package dirty_test

import (
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
)

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
