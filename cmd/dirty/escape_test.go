package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// requireVisible fails if a text has something that a terminal acts on or does
// not show.
func requireVisible(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text))
	at := strings.IndexFunc(text, func(c rune) bool {
		if c < utf8.RuneSelf {
			return c != '\n' && (c < ' ' || c > '~')
		}
		return unicode.In(c, unicode.C, unicode.Z, unicode.Other_Default_Ignorable_Code_Point)
	})
	require.Negative(t, at, "%q", text[max(at, 0):min(max(at, 0)+20, len(text))])
}

// TestEveryCharacter: each character comes back from both forms, and none is
// printed that a terminal acts on or does not show. Under the race detector it takes
// every 16th of those beyond 16 bits.
func TestEveryCharacter(t *testing.T) {
	var all strings.Builder
	for c := range rune(utf8.MaxRune + 1) {
		if utf8.ValidRune(c) && (!underRace || c <= math.MaxUint16 || c%16 == 0) {
			all.WriteRune(c)
		}
	}
	payload := dirty.AppendDictHeader(nil, 1)
	payload = dirty.AppendNone(dirty.AppendString(payload, all.String())) // keys and values are written alike
	sound := frameOf(t, dirty.TypeResponse, 1, string(payload))
	broken := frameOf(t, dirty.TypeResponse, 1, string(payload)+"x")
	for _, tt := range []struct{ frame, form string }{{sound, "text"}, {sound, "json"}, {broken, "json"}} {
		got := dirtyRun(tt.frame, "decode", "-o", tt.form, "-")
		requireVisible(t, got.stdout)
		requireSameBytes(t, tt.frame, dirtyRun(got.stdout, "encode", "-").stdout, tt.form)
	}
}

func TestEscapes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a\"b\\c/", `"a\"b\\c/"`},
		{"\x00\n\r\t\x1b\x7f", `"\u0000\n\r\t\u001b\u007f"`},
		{"\u0080\u0085\u009b\u009f", `"\u0080\u0085\u009b\u009f"`},             // C1 controls
		{"\u061c\u200e\u200f", `"\u061c\u200e\u200f"`},                         // marks of direction
		{"\u202a\u202e\u2066\u2069", `"\u202a\u202e\u2066\u2069"`},             // bidirectional controls
		{"\u00ad\u200b\u200d\u2060\ufeff", `"\u00ad\u200b\u200d\u2060\ufeff"`}, // no width
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"\u00a0\u2003\u3000", `"\u00a0\u2003\u3000"`},           // spaces
		{"\u034f\u115f\u3164", `"\u034f\u115f\u3164"`},           // letters that are not seen
		{"\ue000\ufffe\U0010ffff", `"\ue000\ufffe\udbff\udfff"`}, // private, no characters
		{"\U000e0041\U000e007f", `"\udb40\udc41\udb40\udc7f"`},   // tags
		{"é€😀e\u0301 <&> '\ufffd", "\"é€😀e\u0301 <&> '\ufffd\""}, // seen
		{"a\xffb", `"a\ufffdb"`},
	} {
		var got strings.Builder
		writeString(&got, tt.in)
		assert.Equal(t, tt.want, got.String())
	}
	assert.Equal(t, `a "b\c" \u202e`, printable("a \"b\\c\" \u202e"))
}

// TestErrorsAreVisible: names and words of the user's or of the input cannot
// play with the terminal.
func TestErrorsAreVisible(t *testing.T) {
	const hostile = "a\x1b[2J\u202eb\u009b\n"
	key := string(dirty.AppendString(nil, hostile))
	for _, tt := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{hostile}},
		{"", []string{"help", hostile}},
		{"", []string{"decode", "-o", hostile, "-"}},
		{"", []string{"decode", "-" + hostile}},
		{"", []string{"decode", "-", hostile}},
		{"", []string{"decode", filepath.Join(t.TempDir(), hostile)}},
		{"", []string{"serve", hostile}},
		{"", []string{"serve", "-s", filepath.Join(t.TempDir(), "missing", hostile)}},
		{"> a\x1b[2J\u202eb\u009b", []string{"encode", "-"}},
		{"{\"a\x1b[2J\u202eb\u009b\":1}", []string{"encode", "-"}},
		{"{\"type\":\"a\x1b[2J\u202eb\u009b\"}", []string{"encode", "-"}},
		{"{\"payload\":{\"$a\x1b[2J\u202eb\u009b\":1}}", []string{"encode", "-"}},
		// The path of an error has a key.
		{frameOf(t, dirty.TypeChunk, 1, "\x21\x00\x00\x00\x01"+key+"\x7f"), []string{"decode", "-"}},
	} {
		got := dirtyRun(tt.stdin, tt.args...)
		assert.NotZero(t, got.code, "%q", tt.args)
		assert.NotEmpty(t, got.stderr)
		requireVisible(t, got.stdout+got.stderr)
	}
}
