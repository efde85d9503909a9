package main

import (
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	exampleTitles = []string{"PATH", "STATE", "PID", "APPS"}
	exampleRows   = [][]string{
		{"/run/app/dirty.sock", stateAnswers, "4711", "app:Model, app:Math"},
		{"/tmp/x", stateRefuses, "-", "-"},
	}
)

// TestTable: tables look like this, without a terminal and on a narrow one.
func TestTable(t *testing.T) {
	for _, tt := range []struct {
		width int
		cut   bool
		want  string
	}{
		{0, false, `
PATH                 STATE    PID   APPS
/run/app/dirty.sock  answers  4711  app:Model, app:Math
/tmp/x               refuses  -     -`},
		{80, false, `
PATH                 STATE    PID   APPS
/run/app/dirty.sock  answers  4711  app:Model, app:Math
/tmp/x               refuses  -     -`},
		{46, false, `
PATH           STATE    PID   APPS
/run/app/dirt  answers  4711  app:Model,
y.sock                        app:Math
/tmp/x         refuses  -     -`},
		{46, true, `
PATH           STATE    PID   APPS
/run/app/dir…  answers  4711  app:Model, app:…
/tmp/x         refuses  -     -`},
	} {
		assert.Equal(t, tt.want[1:], renderTable(exampleTitles, exampleRows, tableShape{tt.width, tt.cut, false}), tt.width)
	}
}

// TestTableWidths: no width is a reason to fail, and no line is wider if the table has
// room for all its columns.
func TestTableWidths(t *testing.T) {
	for width := range 100 {
		text := renderTable(exampleTitles, exampleRows, tableShape{width, width%2 == 0, true})
		require.NotEmpty(t, text)
		if width >= 24 {
			assert.LessOrEqual(t, lipgloss.Width(text), width)
		}
	}
	assert.Equal(t, "PATH  STATE  PID  APPS", renderTable(exampleTitles, nil, tableShape{}))
}

// TestColors: colours are a matter of --color, NO_COLOR and TERM alone, and nothing
// but colours changes.
func TestColors(t *testing.T) {
	refusesAt(t, findIn(t), "dead")
	plain := dirtyRun("", "find", "--color", "never")
	require.Contains(t, plain.stdout, stateRefuses)
	assert.Equal(t, plain, dirtyRun("", "find"), "no terminal")
	colored := dirtyRun("", "find", "--color", "always")
	assert.Contains(t, colored.stdout, "\x1b[31mrefuses")
	assert.Contains(t, colored.stderr, "\x1b[31mdirty:\x1b[m")
	assert.Equal(t, plain.stdout, ansi.Strip(colored.stdout))
	assert.Equal(t, plain.stderr, ansi.Strip(colored.stderr))
	assert.NotContains(t, dirtyRun("", "find", "--color", "always", "-o", "json").stdout, "\x1b")
	t.Setenv("NO_COLOR", "1")
	assert.Equal(t, colored, dirtyRun("", "find", "--color", "always"), "what is asked for wins")
	got := dirtyRun("", "find", "--color", "blue")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "want one of auto, always or never")
}
