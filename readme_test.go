package dirty_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme compiles the Go code of the README: the quick start, which is a
// program, and the other blocks, which are parts of a function.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	_, body, _ := strings.Cut(blocks[0][1], "func main() {\n")
	require.LessOrEqual(t, strings.Count(body, "\n"), 20, "the quick start has at most 20 lines")
	for i, block := range blocks {
		if strings.HasPrefix(block[1], "func Test") {
			continue // as in the example of package dirtytest
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) { buildProgram(t, asProgram(block[1])) })
	}
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

// asProgram puts code that is no program into one.
func asProgram(code string) string {
	if strings.HasPrefix(code, "package ") {
		return code
	}
	var used strings.Builder // or the compiler complains
	for _, names := range regexp.MustCompile(`(?m)^([\w, ]+?) :=`).FindAllStringSubmatch(code, -1) {
		for name := range strings.SplitSeq(names[1], ", ") {
			used.WriteString("_ = " + name + "\n")
		}
	}
	return `package main
import (
	"context"
	"github.com/gunicorn-go/dirty/client"
)
func part(ctx context.Context, c *client.Client, image []byte, prompt string) {
` + code + used.String() + `}
func main() {}
`
}

// buildProgram builds a program as if it were a package of this module.
func buildProgram(t *testing.T, code string) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(main, []byte(code), 0o600))
	root, err := os.Getwd()
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "internal", "readme", "main.go"): main}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	out, err := exec.Command("go", "build", "-overlay", overlayFile, "-o", filepath.Join(dir, "readme"), "./internal/readme").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
