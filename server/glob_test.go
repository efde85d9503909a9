package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

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

// oracle answers lines of JSON, a pattern and texts, with whether each matches.
const oracle = `
import fnmatch, json, sys, warnings
warnings.simplefilter("ignore")
for line in sys.stdin:
    pattern, texts = json.loads(line)
    print(json.dumps([fnmatch.fnmatchcase(text, pattern) for text in texts]), flush=True)
`

// Random patterns and texts against Python's own fnmatch.
func TestKeyMatcherAgainstPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		say("NOT RUN against Python's fnmatch: %v", err)
		t.Skip(err)
	}
	cmd := exec.Command(python, "-c", oracle)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	answers := bufio.NewReader(out)
	check := func(pattern string, texts []string) {
		if pattern == "" { // is all keys in the stash
			return
		}
		question, err := json.Marshal([]any{pattern, texts})
		require.NoError(t, err)
		_, err = fmt.Fprintf(in, "%s\n", question)
		require.NoError(t, err)
		line, err := answers.ReadBytes('\n')
		require.NoError(t, err)
		var want []bool
		require.NoError(t, json.Unmarshal(line, &want))
		match := server.KeyMatcher(pattern)
		for i, text := range texts {
			require.Equal(t, want[i], match(text), "pattern %q, text %q", pattern, text)
		}
	}
	for _, g := range globs {
		for _, keys := range [][]any{g.yes, g.no} {
			for _, key := range keys {
				if text, ok := key.(string); ok {
					check(g.pattern, []string{text})
				}
			}
		}
	}
	letters := []rune("ab-]![^*?\\&~|.c\nä")
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	word := func(most int, from []rune) string {
		var b strings.Builder
		for range random.IntN(most + 1) {
			b.WriteRune(from[random.IntN(len(from))])
		}
		return b.String()
	}
	for n := range 20000 {
		pattern := word(8, letters)
		if n%2 == 0 {
			pattern = "[" + word(6, letters) + "]" + word(2, letters)
		}
		texts := make([]string, 8)
		for i := range texts {
			texts[i] = word(4, letters)
		}
		check(pattern, texts)
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}
