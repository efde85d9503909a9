package server_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What fnmatch.fnmatchcase says to each pattern and text (Python 3.10 to 3.13).
var globs = []struct {
	pattern string
	yes, no []any
}{
	{"", []any{"", "x", nil, 5}, nil},
	{"*", []any{"", "x", "a/b", "a\nb", nil}, nil},
	{"?", []any{"x", "/", "\n", "ä", "\U0001F600", 5}, []any{"", "xx", 10}},
	{"abc", []any{"abc"}, []any{"ABC", "ab", "abcd", "xabc"}},
	{"user:*", []any{"user:1", "user:", "user:a/b"}, []any{"user", "User:1", "xuser:1"}},
	{"*:1", []any{"user:1", ":1", "1:1:1"}, []any{"user:12", "1"}},
	{"a*b*c", []any{"abc", "axxbxxc", "abcbc", "abbcc"}, []any{"ab", "ac", "acb", "abcd"}},
	{"*a*", []any{"a", "xax"}, []any{"", "x"}},
	{"**", []any{"", "x"}, nil},
	{"a**b", []any{"ab", "axb"}, []any{"a"}},
	{"?*?", []any{"ab", "abc"}, []any{"a", ""}},
	{"*ab", []any{"ab", "abab", "aab"}, []any{"aba", "b"}},
	{"*?b", []any{"ab", "bb", "abb"}, []any{"b"}},
	{"[12]", []any{"1", "2", 1, 2}, []any{"3", "12", "", 3}},
	{"[!1]", []any{"2", "!", "]"}, []any{"1", "", "22"}},
	{"[^1]", []any{"1", "^"}, []any{"2"}},
	{"[a-c]x", []any{"ax", "bx", "cx"}, []any{"dx", "-x", "Bx"}},
	{"[!a-c]", []any{"d", "-", "A"}, []any{"a", "b"}},
	{"[a-]", []any{"a", "-"}, []any{"b"}},
	{"[-a]", []any{"a", "-"}, []any{"b"}},
	{"[a-b-d]", []any{"a", "b", "-", "d"}, []any{"c"}},
	{"[--0]", []any{"-", ".", "/", "0"}, []any{"1", ","}},
	{"[c-a]", nil, []any{"a", "b", "c", "-", ""}},
	{"[!c-a]", []any{"a", "b", "-"}, []any{"", "ab"}},
	{"[c-ab]", []any{"b"}, []any{"a", "c", "-"}},
	{"[]]", []any{"]"}, []any{"", "["}},
	{"[]a]", []any{"]", "a"}, []any{"b"}},
	{"[!]]", []any{"a", "["}, []any{"]"}},
	{"[!]a-c]", []any{"d"}, []any{"]", "b"}},
	{"[]-a]", []any{"]", "^", "_", "a"}, []any{"b", "-"}},
	{"[[]", []any{"["}, []any{"a", "[["}},
	{"[", []any{"["}, []any{"", "x"}},
	{"[]", []any{"[]"}, []any{"", "x"}},
	{"[!]", []any{"[!]"}, []any{"x"}},
	{"[a", []any{"[a"}, []any{"a"}},
	{"a]", []any{"a]"}, []any{"a"}},
	{"[*]", []any{"*"}, []any{"x", ""}},
	{"[?]", []any{"?"}, []any{"x"}},
	{"[a*]b", []any{"ab", "*b"}, []any{"axb"}},
	{`\*`, []any{`\`, `\x`}, []any{"*"}},
	{`[\]`, []any{`\`}, []any{"]"}},
	{`[\d]`, []any{`\`, "d"}, []any{"5"}},
	{"{a,b}", []any{"{a,b}"}, []any{"a"}},
	{"a.b", []any{"a.b"}, []any{"axb"}},
	{"a+(b)$", []any{"a+(b)$"}, []any{"aab"}},
	{"[ä-ü]", []any{"ö"}, []any{"a", "z"}},
	{"?", []any{"\u0301"}, []any{"e\u0301"}},
	{"[!]x]*", []any{"a", "abc"}, []any{"x", "]a"}},
	{"[&~|]", []any{"&", "~", "|"}, []any{"\\"}},
	{"[a&&b]", []any{"a", "&", "b"}, nil},
	{"True", []any{true, "True"}, []any{1, "true"}},
	{"None", []any{nil}, []any{false}},
	{"1.?", []any{1.5, 1.0, "1.x"}, []any{1}},
	{"b'*'", []any{[]byte("x"), []byte{}}, []any{"x"}},
}

func TestKeyMatcher(t *testing.T) {
	for _, g := range globs {
		match := server.KeyMatcher(g.pattern)
		for _, key := range g.yes {
			assert.True(t, match(key), "%q must match %#v", g.pattern, key)
		}
		for _, key := range g.no {
			assert.False(t, match(key), "%q must not match %#v", g.pattern, key)
		}
	}
}

// oracle answers lines of JSON, lists of a pattern and a text, with whether they
// match.
const oracle = `
import fnmatch, json, sys, warnings
warnings.simplefilter("ignore")
for line in sys.stdin:
    print(json.dumps([fnmatch.fnmatchcase(text, pattern) for pattern, text in json.loads(line)]))
`

// The table, and random patterns and texts, against Python's own fnmatch.
func TestKeyMatcherAgainstPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		loud.Say("server: NOT RUN against Python's fnmatch: %v", err)
		t.Skip(err)
	}
	var questions [][2]string
	for _, g := range globs {
		for _, key := range slices.Concat(g.yes, g.no) {
			if text, ok := key.(string); ok && g.pattern != "" { // which is all keys in the stash
				questions = append(questions, [2]string{g.pattern, text})
			}
		}
	}
	letters := []rune("ab-]![^*?\\&~|.c\nä")
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	word := func(least, most int) string {
		var b strings.Builder
		for range least + random.IntN(most-least+1) {
			b.WriteRune(letters[random.IntN(len(letters))])
		}
		return b.String()
	}
	for n := range 10000 {
		pattern := word(1, 8)
		if n%2 == 0 {
			pattern = "[" + word(0, 6) + "]" + word(0, 2)
		}
		for range 8 {
			questions = append(questions, [2]string{pattern, word(0, 4)})
		}
	}
	asked, err := json.Marshal(questions)
	require.NoError(t, err)
	cmd := exec.Command(python, "-c", oracle)
	cmd.Stdin = bytes.NewReader(append(asked, '\n'))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var want []bool
	require.NoError(t, json.Unmarshal(out, &want))
	require.Len(t, want, len(questions))
	matches := 0
	for i, q := range questions {
		got := server.KeyMatcher(q[0])(q[1])
		require.Equal(t, want[i], got, "pattern %q, text %q", q[0], q[1])
		if got {
			matches++
		}
	}
	require.Greater(t, matches, len(questions)/100, "the random ones are of use")
}
