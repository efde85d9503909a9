package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/bench/internal/report"
)

func TestReplaceReadmeTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	require.NoError(t, os.WriteFile(file, []byte("Before\n\n| dirty / | a |\n| --- | ---: |\n| x | 1 |\n| y | 2 |\n\nAfter | x |\n"), 0o600))
	table := report.Table{Columns: []string{"time of dirty / time of", "b", "c"}, Rows: []report.Row{{Name: "z", Cells: []string{"3", "4"}}}}
	want := "Before\n\n| dirty / | b | c |\n| --- | ---: | ---: |\n| z | 3 | 4 |\n\nAfter | x |\n"
	for range 2 { // the second finds what the first has written
		require.NoError(t, replaceReadmeTable(file, &table))
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	require.Equal(t, "time of dirty / time of", table.Columns[0], "the page keeps its table")

	require.NoError(t, os.WriteFile(file, []byte("Nothing\n"), 0o600))
	require.ErrorContains(t, replaceReadmeTable(file, nil), `no table that begins with "| dirty / |"`)
}

// TestReadme: the README has a place for the table.
func TestReadme(t *testing.T) { require.NoError(t, replaceReadmeTable(readme, nil)) }
