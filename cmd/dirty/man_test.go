package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// TestManPages: the generator makes a page for each command, and the reader of man
// pages shows its help, example and flags as they are, without a warning.
func TestManPages(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man")
	out, err := exec.CommandContext(t.Context(), "go", "run", "-tags", "man", ".", folder).CombinedOutput()
	require.NoError(t, err, string(out))
	if _, err := exec.LookPath("man"); err != nil {
		require.Empty(t, os.Getenv("CI"), "CI must have the command man")
		loud.Say("cmd/dirty: NOT RUN: %s: there is no command man to show the pages", t.Name())
		t.Skip(err)
	}
	all := commands()
	pages, err := filepath.Glob(filepath.Join(folder, "*.1"))
	require.NoError(t, err)
	assert.Len(t, pages, len(all))
	for _, cmd := range all {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		page := filepath.Join(folder, name+".1")
		require.FileExists(t, page)
		show := exec.CommandContext(t.Context(), "man", "-l", "--warnings", page)
		show.Env = append(os.Environ(), "MANWIDTH=100", "MAN_KEEP_FORMATTING=", "LC_ALL=C.UTF-8", "MANPAGER=cat")
		var warnings bytes.Buffer
		show.Stderr = &warnings
		shown, err := show.Output()
		require.NoError(t, err, warnings.String())
		assert.Empty(t, warnings.String(), name)
		text := string(shown)
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			assert.Contains(t, text, strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), name)
		}
		words := strings.Join(strings.Fields(text), " ")
		assert.Contains(t, words, cmd.Short, name)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			assert.Contains(t, words, "--"+f.Name, name)
			assert.Contains(t, words, strings.ReplaceAll(f.Usage, "`", ""), "%s --%s", name, f.Name)
		})
	}
}
