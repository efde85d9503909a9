package dirty_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeIsShort: somebody who has just found the project reads it to its end. The
// package internal/pages tests the code in it.
func TestReadmeIsShort(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(readme), "\n"), 200)
}

// TestReadmeFigures: what the README says of the speed is what was measured. Both come
// from one run of go run -C bench .
func TestReadmeFigures(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	measured, err := os.ReadFile(filepath.Join("docs", "BENCHMARKS.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| (en|de)code .*$`).FindAllString(string(readme), -1)
	require.Len(t, rows, 5)
	head := regexp.MustCompile(`(?m)^\| dirty / (\| .*)$`).FindStringSubmatch(string(readme))
	require.NotNil(t, head)
	require.Contains(t, string(measured), "| time of dirty / time of "+head[1]+"\n")
	for _, row := range rows {
		require.Contains(t, string(measured), row+"\n")
	}
}
