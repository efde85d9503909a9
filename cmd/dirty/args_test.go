package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// TestParseArg: an ARG is JSON if it is valid JSON, else a string.
func TestParseArg(t *testing.T) {
	for _, tt := range []struct {
		word string
		want any
	}{
		{"1", 1}, {"-1", -1}, {"1.0", 1.0}, {"1e3", 1000.0}, {"-0", 0}, {" 1 ", 1},
		{"9223372036854775807", int64(9223372036854775807)}, {"-9223372036854775808", int64(-9223372036854775808)},
		{"true", true}, {"null", nil}, {`"1"`, "1"}, {`"\ud83d\ude00"`, "😀"},
		{"[1,\n 2\r\n]", []any{1, 2}}, {"\n{\"a\":\n1}\n", dirty.Dict{{Key: "a", Value: 1}}},
		{`{"$bytes":"AP8="}`, []byte{0, 255}}, {`{"$dict":[["$bytes",1]]}`, dirty.Dict{{Key: "$bytes", Value: 1}}},
		// No JSON, and so strings.
		{"", ""}, {"cat", "cat"}, {"True", "True"}, {"NaN", "NaN"}, {"-", "-"}, {"01", "01"}, {"1.", "1."}, {"+1", "+1"},
		{"0x10", "0x10"}, {"1 2", "1 2"}, {"[1", "[1"}, {"h'00'", "h'00'"}, {"\"a\nb\"", "\"a\nb\""}, {"a\nb", "a\nb"},
		{`{"a":1`, `{"a":1`}, {"'x'", "'x'"},
	} {
		t.Run(tt.word, func(t *testing.T) {
			got, err := parseArg(tt.word)
			require.NoError(t, err)
			want, err := dirty.Marshal(tt.want)
			require.NoError(t, err)
			assert.Equal(t, dirty.Diagnose(want), dirty.Diagnose(got))
		})
	}
	for word, why := range map[string]string{
		"9223372036854775808":  "not an int64",
		"-9223372036854775809": "not an int64",
		"1e999":                "not a float64",
		`"\ud800"`:             "not a Unicode character",
		`{"$bytes":"?"}`:       "not base64",
		`{"$int":1}`:           `unknown key "$int"`,
		"a\xff":                "UTF-8",
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001): "more than 1000",
	} {
		_, err := parseArg(word)
		var known *statusError
		require.ErrorAs(t, err, &known, word)
		assert.Equal(t, exitUsage, known.status)
		assert.Contains(t, known.text, why)
	}
}

// TestArgText: what is printed for a value is an ARG that stands for the same value.
func TestArgText(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{"cat", "cat"}, {"a b", "a b"}, {"1", `"1"`}, {1, "1"}, {1.0, "1.0"}, {"true", `"true"`}, {true, "true"}, {nil, "null"},
		{"", `""`}, {"@x", `"@x"`}, {"-x", `"-x"`}, {"a\nb", `"a\nb"`}, {"\x1b[1m", `"\u001b[1m"`}, {[]byte{0}, `{"$bytes":"AA=="}`},
		{"\u202e", `"\u202e"`},
	} {
		raw, err := dirty.Marshal(tt.value)
		require.NoError(t, err)
		text, err := argText(raw)
		require.NoError(t, err)
		assert.Equal(t, tt.want, text)
		again, err := parseArg(text)
		require.NoError(t, err)
		assert.Equal(t, dirty.RawValue(raw), again)
	}
}

// TestKeyword: what is taken for NAME=ARG.
func TestKeyword(t *testing.T) {
	for word, name := range map[string]string{
		"k=v": "k", "_k1=": "_k1", "größe=1": "größe", "k=a=b": "k",
		"=v": "", "1=2": "", "a b=c": "", `"a"=b`: "", "a.b=c": "", "-k=v": "", "http://x?a=b": "",
	} {
		match := append(keyword.FindStringSubmatch(word), "", "")
		assert.Equal(t, name, match[1], word)
	}
}

// FuzzParseArg: every word is a value or a wrong command line, and what is printed for
// the value is a word that stands for it.
func FuzzParseArg(f *testing.F) {
	for _, word := range []string{
		"1", "-1.5e3", "cat", `"a\u202e"`, `[1,{"$bytes":"AP8="}]`, `{"$dict":[["$a",null]]}`, `{"$float":"7ff0000000000001"}`, "a\xff", "@x",
	} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		value, err := parseArg(word)
		if err != nil {
			var known *statusError
			require.ErrorAs(t, err, &known)
			assert.Equal(t, exitUsage, known.status)
			return
		}
		require.NoError(t, dirty.Validate(value))
		text, err := argText(value)
		require.NoError(t, err)
		again, err := parseArg(text)
		require.NoError(t, err, text)
		assert.Equal(t, value, again, text)
	})
}
