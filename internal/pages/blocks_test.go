//go:build unix

package pages_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/internal/pages"
)

const root = "../.."

// checks is what becomes of the blocks of each language. A block of another language
// fails the test.
var checks = map[string]func(t *testing.T, blocks []pages.Block){
	"go":      compileGo,
	"python":  compilePython,
	"ini":     checkUnits,
	"yaml":    checkYAML,
	"sh":      checkShell,
	"console": checkElsewhere,
	"frame":   checkElsewhere,
	"haproxy": checkElsewhere,
	"":        checkElsewhere,
	"text":    func(*testing.T, []pages.Block) {}, // pictures: nothing in them can be wrong for a machine
}

// elsewhere are the blocks that a test of another module checks: by page and language,
// the file of that test and its name.
var elsewhere = map[string][2]string{
	"README.md console":  {"cmd/dirty/readme_test.go", "TestReadmeSession"}, // runs it
	"docs/SPEC.md frame": {"cmd/dirty/main_test.go", "TestSpecExamples"},    // decodes and encodes it
	"docs/CLI.md ":       {"cmd/dirty/page_test.go", "TestCLIPage"},         // the commands print it
	"docs/CLI.md sh":     {"cmd/dirty/page_test.go", "TestCLIPage"},

	"docs/CLUSTER.md sh":      {"cmd/dirty/cluster_test.go", "TestClusterPage"}, // runs them
	"docs/CLUSTER.md haproxy": {"cluster/haproxy_test.go", "TestHAProxy"},       // runs it
}

// commands are the shell commands that are not run here: by page and text, with the
// reason.
var commands = map[string]string{
	"README.md: pip install 'gunicorn>=26.1'\ngunicorn &\n" +
		"go mod init first && go get github.com/gunicorn-go/dirty && go run .": "it asks registries; TestReadmeFirstCall does the same with what is there",
	"docs/FAULTS.md: DIRTY_INTEROP=require DIRTY_INTEROP_PYTHONS=all go test -json -timeout 90m -run ClientFault -count 10 ./interop |\n" +
		"    python3 interop/faults.py": "it takes hours; CI runs these tests once",
	"nats/README.md: go test -race ./...":                "CI runs it",
	"examples/redisstore/README.md: go test -race ./...": "CI runs it",
	"examples/tokens/README.md: go test -race ./...":     "CI runs it",
	"examples/tokens/README.md: go run .":                "it serves until it is stopped; the tests of the module do the same",
	"examples/tokens/README.md: (cd python && DIRTY_SOCKET=/tmp/tokens.sock gunicorn -c gunicorn.conf.py) &\n" +
		"go run . -socket /tmp/tokens.sock": "it serves until it is stopped; TestPython of the module does the same",
}

// TestBlocks checks every block of code of every page.
func TestBlocks(t *testing.T) {
	list, err := pages.List(root)
	require.NoError(t, err)
	byLanguage := map[string][]pages.Block{}
	for _, page := range list {
		blocks, err := pages.Read(root, page)
		require.NoError(t, err)
		for _, b := range blocks {
			if assert.Containsf(t, checks, b.Language, "%v: say in checks how this is checked", b) {
				byLanguage[b.Language] = append(byLanguage[b.Language], b)
			}
		}
	}
	for _, language := range slices.Sorted(maps.Keys(checks)) {
		t.Run("language "+language, func(t *testing.T) {
			if assert.NotEmpty(t, byLanguage[language], "no page has such a block any more") {
				checks[language](t, byLanguage[language])
			}
		})
	}
}

// checkElsewhere checks that each block has another test, which exists.
func checkElsewhere(t *testing.T, blocks []pages.Block) {
	for _, b := range blocks {
		test, ok := elsewhere[b.Page+" "+b.Language]
		require.Truef(t, ok, "%v: say in elsewhere which test checks it", b)
		source, err := os.ReadFile(filepath.Join(root, test[0]))
		require.NoError(t, err)
		assert.Contains(t, string(source), "func "+test[1]+"(")
	}
}

// compileGo compiles all blocks, each as a package of the module that it belongs to.
func compileGo(t *testing.T, blocks []pages.Block) {
	files := map[string]map[string]string{} // by folder of a module: the sources by their paths
	for i, b := range blocks {
		source, err := pages.Source(b)
		require.NoError(t, err)
		module := pages.Folder(root, source)
		if files[module] == nil {
			files[module] = map[string]string{}
		}
		files[module][fmt.Sprintf("internal/blocks/block%d/main.go", i)] = source
	}
	for module, sources := range files {
		out, err := build(t, module, sources, os.DevNull)
		assert.NoError(t, err, out)
	}
}

// build builds packages as if their files were in a module of the repository.
func build(t *testing.T, module string, sources map[string]string, to string) (output string, err error) {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join(root, module))
	require.NoError(t, err)
	own, replace := t.TempDir(), map[string]string{}
	args := []string{"build", "-overlay", filepath.Join(own, "overlay.json"), "-o", to}
	if len(sources) > 1 {
		args = args[:3] // what is built is thrown away
	}
	for path, source := range sources {
		file := filepath.Join(own, strings.ReplaceAll(path, "/", "_"))
		require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
		replace[filepath.Join(folder, path)] = file
		args = append(args, "./"+filepath.Dir(path))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(own, "overlay.json"), overlay, 0o600))
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compilePython compiles all blocks. Those that are most worth it are run by
// TestReadmeFirstCall and its neighbours, under real gunicorn.
func compilePython(t *testing.T, blocks []pages.Block) {
	python := need(t, "python3")
	for _, b := range blocks {
		cmd := exec.Command(python, "-c", "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')", b.String())
		cmd.Stdin = strings.NewReader(b.Code)
		out, err := cmd.CombinedOutput()
		assert.NoErrorf(t, err, "%v: %s", b, out)
	}
}

// checkUnits has systemd check its units, with programs that are there.
func checkUnits(t *testing.T, blocks []pages.Block) {
	analyze := need(t, "systemd-analyze")
	folder := t.TempDir()
	var files []string
	for _, b := range blocks {
		head := regexp.MustCompile(`^# (/etc/systemd/system/)([\w-]+\.(service|socket))\n`).FindStringSubmatch(b.Code)
		require.NotNilf(t, head, "%v: the first line has the path of the unit", b)
		code := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(b.Code, "ExecStart=/bin/true")
		code = regexp.MustCompile(`(?m)^(User|SocketUser)=.*`).ReplaceAllString(code, "${1}=daemon")
		code = regexp.MustCompile(`(?m)^WorkingDirectory=.*`).ReplaceAllString(code, "WorkingDirectory=/")
		path := filepath.Join(folder, head[2])
		require.NoError(t, os.WriteFile(path, []byte(code), 0o600))
		files = append(files, path)
		if head[3] == "socket" { // its service is a program of the reader's
			service := strings.TrimSuffix(path, "socket") + "service"
			require.NoError(t, os.WriteFile(service, []byte("[Service]\nExecStart=/bin/true\n"), 0o600))
		}
	}
	var out bytes.Buffer
	cmd := exec.Command(analyze, append([]string{"verify", "--man=no"}, files...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	assert.NoError(t, err, out.String())
	for line := range strings.Lines(out.String()) { // it may complain of units of this machine too
		assert.NotContains(t, line, folder)
	}
}

// checkYAML parses all documents of all blocks.
func checkYAML(t *testing.T, blocks []pages.Block) {
	for _, b := range blocks {
		for document := range strings.SplitSeq(b.Code, "\n---\n") {
			assert.YAMLEq(t, document, document, b.String())
		}
	}
}

// checkShell has bash parse all blocks. None is run here: each says why.
func checkShell(t *testing.T, blocks []pages.Block) {
	shell, left := need(t, "bash"), maps.Clone(commands)
	for _, b := range blocks {
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(b.Code)
		out, err := cmd.CombinedOutput()
		assert.NoErrorf(t, err, "%v: %s", b, out)
		if elsewhere[b.Page+" sh"] != [2]string{} {
			checkElsewhere(t, []pages.Block{b})
			continue
		}
		if len(b.DirtyCommands()) == strings.Count(b.Code, "\n") {
			continue // TestDocumentedCommands of cmd/dirty parses them
		}
		key := b.Page + ": " + strings.TrimSpace(b.Code)
		assert.NotEmptyf(t, commands[key], "%v: say in commands why this is not run", b)
		delete(left, key)
	}
	assert.Empty(t, left, "no page has these any more")
}

// need returns the path of a program. Without it the test does not run, and says so
// loudly; in CI it fails.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		require.NoError(t, err)
	}
	loud.Say("internal/pages: NOT RUN: %s: %s is not installed", t.Name(), program)
	t.Skip(program + " is not installed")
	return ""
}
