package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
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

// hostilePatterns are patterns and keys that would take hours.
func hostilePatterns() map[string][2]string {
	set := "["
	for r := rune(0x1000); r < 0x3000; r += 2 {
		set += string(r)
	}
	set += "a]"
	key := strings.Repeat("a", 20<<20)
	return map[string][2]string{
		"characters":          {"*" + strings.Repeat("a", 60<<10) + "b*", key},
		"sets of many ranges": {"*" + set + set + "b*", key},
		"many parts":          {"*" + strings.Repeat("aaaaaaaaab*", 5<<10), key},
	}
}

// TestFilterKeysIsBounded checks that no pattern takes a core for long.
func TestFilterKeysIsBounded(t *testing.T) {
	for name, test := range hostilePatterns() {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := server.FilterKeys(ctx, []any{test[1], test[1], test[1], test[1], test[1], test[1]}, test[0])
			took := time.Since(begin)
			assert.ErrorContains(t, err, "the pattern takes too long for these keys")
			assert.Less(t, took, time.Minute) // hours without a bound
		})
	}
}

// TestFilterKeysEndsWithItsContext checks that a pattern which takes long stops
// when its client leaves or the server ends.
func TestFilterKeysEndsWithItsContext(t *testing.T) {
	ended, cancel := context.WithCancelCause(ctx)
	cancel(errBoom)
	pattern := hostilePatterns()["characters"]
	_, err := server.FilterKeys(ended, []any{pattern[1]}, pattern[0])
	assert.Equal(t, errBoom, err)
	many := make([]any, 3<<20) // short ones
	for i := range many {
		many[i] = "x"
	}
	_, err = server.FilterKeys(ended, many, "y")
	assert.Equal(t, errBoom, err)
}

// TestFilterKeys checks what is returned, also of very many keys.
func TestFilterKeys(t *testing.T) {
	for pattern, want := range map[string][]any{
		"":    {"user:1", 5, nil, []byte("x"), "ä"},
		"*":   {"user:1", 5, nil, []byte("x"), "ä"},
		"?":   {5, "ä"},
		"*e*": {"user:1", nil},
		"no":  {},
	} {
		got, err := server.FilterKeys(ctx, []any{"user:1", 5, nil, []byte("x"), "ä"}, pattern)
		require.NoError(t, err)
		assert.Equal(t, want, got, pattern)
	}
	keys := make([]any, dirty.MaxElements) // more cannot be told to a client
	for i := range keys {
		keys[i] = "user:session:0123456789abcdef:" + strconv.Itoa(i%10)
	}
	got, err := server.FilterKeys(ctx, keys, "*abcdef*[!0-8]")
	require.NoError(t, err)
	assert.Len(t, got, dirty.MaxElements/10)
}

// TestStashPatternOfAClient checks the bound where a client meets it.
func TestStashPatternOfAClient(t *testing.T) {
	c := connect(t, new(server.Server))
	pattern := hostilePatterns()["sets of many ranges"]
	require.Equal(t, dirty.NewResponse(1, true), ask(t, c, dirty.NewStashRequest(1, dirty.StashPut, "t", pattern[1], nil, "")))
	got := ask(t, c, dirty.NewStashRequest(1, dirty.StashKeys, "t", nil, nil, pattern[0]))
	assert.Equal(t, "dirty: DirtyError: the pattern takes too long for these keys", failed(t, got).Error())
	usable(t, c)
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
