//go:build unix

package interop

import (
	"bytes"
	"context"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// judge is gunicorn's own source archive of the newest release, with its tests and
// examples, and an interpreter that can run them.
type judge struct {
	source string // a folder
	python string
}

// newJudge finds both. If they are not there it gets them with DIRTY_INTEROP=require;
// otherwise it skips the test, and says so loudly.
func newJudge(t *testing.T) judge {
	t.Helper()
	noteInputs()
	newest := pythons[len(pythons)-1]
	args := []string{"-B", "judge/prepare.py"}
	if os.Getenv("DIRTY_INTEROP") != "require" {
		args = append(args, "--list")
	}
	judgePreparation.Lock()
	defer judgePreparation.Unlock()
	cmd := exec.Command(newest.path, append(args, newest.release)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	source, python, ok := strings.Cut(strings.TrimSpace(string(out)), "\t")
	if !ok {
		loud.Say("interop: NOT RUN: %s: the source of gunicorn %s is not there; DIRTY_INTEROP=require gets it", t.Name(), newest.release)
		t.Skip("no source of gunicorn")
	}
	return judge{source, python}
}

// judgePreparation is held while a test looks for them or gets them.
var judgePreparation sync.Mutex

// judgeTime ends gunicorn's tests if they hang. They need half a minute on a machine
// that is not busy.
const judgeTime = 10 * time.Minute

// run runs Python in a folder of the source. If that fails, so does the test, with what
// Python has printed.
func (j judge) run(t *testing.T, folder string, env []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), judgeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.python, append([]string{"-B"}, args...)...)
	cmd.Dir = filepath.Join(j.source, folder)
	cmd.Env = append(os.Environ(), append([]string{"PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1"}, env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	require.NoError(t, err, "%s", out.Bytes())
}

// pytestSummary is what pytest counts.
type pytestSummary struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
}

// pytest runs tests of gunicorn, unchanged. All have to pass.
func (j judge) pytest(t *testing.T, folder string, env []string, args ...string) pytestSummary {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	// gunicorn's own options ask for coverage.
	j.run(t, folder, env, append([]string{"-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "--junit-xml", report}, args...)...)
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	var suites struct {
		Suite pytestSummary `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(text, &suites))
	s := suites.Suite
	assert.Zero(t, s.Failures+s.Errors+s.Skipped, "%+v", s)
	return s
}

// dirtyTests is how many tests of its dirty workers gunicorn 27.0.1 has. Later
// releases may have more.
const dirtyTests = 412

// TestJudgeCodec runs gunicorn's own tests of its dirty workers with our codec in
// the place of gunicorn's.
func TestJudgeCodec(t *testing.T) {
	t.Parallel()
	j := newJudge(t)
	plugins, err := filepath.Abs("judge")
	require.NoError(t, err)
	codec := newCodecServer(t)
	env := []string{"GO_CODEC_SOCKET=" + codec.path, "PYTHONPATH=" + plugins}

	var files []string
	for _, pattern := range []string{"test_dirty_*.py", "dirty/test_*.py"} {
		found, err := filepath.Glob(filepath.Join(j.source, "tests", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		files = append(files, found...)
	}
	summary := j.pytest(t, ".", env, append([]string{"-p", "go_codec"}, files...)...)
	assert.GreaterOrEqual(t, summary.Tests, dirtyTests)
	for _, do := range []string{"encode", "decode", "decode all", "encode header", "decode header", "encode message", "decode message"} {
		assert.NotZero(t, codec.count(do), "the tests have to ask us to %s", do)
	}
	t.Logf("%d tests; asked %v", summary.Tests, codec.asked)
}
