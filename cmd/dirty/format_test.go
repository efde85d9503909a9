package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryFormat: each command takes -o, with text and JSON or what it has in their
// place, and its errors obey, wherever -o is on the command line.
func TestEveryFormat(t *testing.T) {
	others := map[string]string{"dirty encode": "raw or capture", "dirty stash dump": "json", "dirty decode": "text or json"}
	for _, cmd := range commands() {
		path := cmd.CommandPath()
		flag := cmd.Flags().Lookup("output")
		require.NotNil(t, flag, path)
		want, ok := others[path]
		if !ok {
			want = "text or json"
			if strings.Contains(flag.Usage, formatRaw) {
				want = "text, json or raw"
			}
		}
		first := strings.FieldsFunc(want, func(r rune) bool { return r == ' ' || r == ',' })[0]
		assert.Equal(t, want+"; the default is "+first, flag.Usage, path)
		if !strings.Contains(want, formatJSON) {
			continue
		}
		words := strings.Fields(path)[1:]
		for _, wrong := range [][]string{
			{"-o", "json", "--dance"}, {"--dance", "-o", "json"}, {"--dance", "-ojson"}, {"--dance", "-o=json"}, {"--dance", "--output", "json"}, {"--dance", "--output=json"},
		} {
			got := dirtyRun("", append(words, wrong...)...)
			assert.Equal(t, exitUsage, got.code, "%v %v", words, wrong)
			var told struct {
				Error struct{ Kind, Message, Hint string }
			}
			require.NoError(t, json.Unmarshal([]byte(got.stderr), &told), "%v %v: %s", words, wrong, got.stderr)
			assert.Equal(t, "usage", told.Error.Kind)
			assert.Contains(t, told.Error.Message, "--dance")
		}
	}
}

// TestFormatIn: what looks like -o and is none is no format.
func TestFormatIn(t *testing.T) {
	for _, args := range [][]string{nil, {"--", "-o", "json"}, {"-o"}, {"--out", "json"}, {"o", "json"}} {
		assert.Empty(t, formatIn(args), args)
	}
}

// TestJSONEverywhere: lines of JSON from commands whose output is short.
func TestJSONEverywhere(t *testing.T) {
	got := dirtyRun("", "version", "-o", "json")
	assert.Equal(t, exitOK, got.code)
	var v struct {
		Version, Go, OS, Arch string
		Protocol              int
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	assert.Equal(t, 1, v.Protocol)
	assert.NotEmpty(t, v.Version+v.Go+v.OS+v.Arch)

	for _, args := range [][]string{{"dance", "-o", "json"}, {"stash", "dance", "-o", "json"}, {"stash", "-o", "json"}, {"-o", "json"}} {
		got := dirtyRun("", args...)
		assert.Equal(t, exitUsage, got.code, args)
		assert.Empty(t, got.stdout)
		assert.True(t, json.Valid([]byte(got.stderr)), got.stderr)
	}
	assert.Equal(t, dirtyRun("", "completion", "bash"), dirtyRun("", "completion", "bash", "-o", "json"), "a script is no data")
	assert.Equal(t, dirtyRun("", "help", "decode"), dirtyRun("", "help", "decode", "-o", "json"))
}
