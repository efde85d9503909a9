//go:build unix

package interop

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// json25 is the last release that speaks JSON. It is not a supported release.
const json25 = "25.0.3"

// python is an interpreter that has a release of gunicorn.
type python struct {
	release string // of gunicorn
	version string // of Python, as in "3.13"
	path    string
}

func (p python) String() string { return p.release + "-py" + p.version }

// pythons are the interpreters to test with, those with the oldest release first.
// pythons25 have json25. TestMain sets both.
var pythons, pythons25 []python

// eachPython runs test as a subtest for each release on each Python, several
// at a time.
func eachPython(t *testing.T, test func(t *testing.T, p python)) { eachOf(t, pythons, test) }

func eachOf(t *testing.T, ps []python, test func(t *testing.T, p python)) {
	noteInputs()
	for _, p := range ps {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// newestPythons are those of pythons that have the newest release. They are for tests
// that take long and give the same result with every release.
func newestPythons() []python {
	return slices.DeleteFunc(slices.Clone(pythons), func(p python) bool {
		return p.release != pythons[len(pythons)-1].release
	})
}

// noteInputs reads what the result of a test depends on, because go test watches what
// tests read to know whether a cached result is still valid. It does not see what
// TestMain and Python read.
var noteInputs = sync.OnceFunc(func() {
	for _, name := range []string{
		"DIRTY_INTEROP", "DIRTY_INTEROP_RELEASES", "DIRTY_INTEROP_PYTHON", "DIRTY_INTEROP_PYTHONS", "DIRTY_INTEROP_CACHE",
	} {
		_ = os.Getenv(name)
	}
	for _, pattern := range []string{"*.py", "app/*.py", "judge/*"} {
		scripts, _ := filepath.Glob(pattern)
		for _, script := range scripts {
			_, _ = os.ReadFile(script)
		}
	}
})

// findPythons sets pythons and pythons25. It asks envs.py for the environments of each
// interpreter, and lets it make them if makeThem is set.
// DIRTY_INTEROP_RELEASES, a list with commas, limits the releases.
func findPythons(makeThem bool) error {
	wanted, err := wantedReleases()
	if err != nil {
		return err
	}
	bases, err := baseInterpreters()
	if err != nil {
		return err
	}
	for _, b := range bases {
		found, err := environments(b, append(slices.Clone(wanted), json25), makeThem)
		if err != nil {
			return err
		}
		for _, p := range found {
			if p.release == json25 {
				pythons25 = append(pythons25, p)
			} else {
				pythons = append(pythons, p)
			}
		}
	}
	slices.SortStableFunc(pythons, func(a, b python) int {
		return cmp.Compare(slices.Index(wanted, a.release), slices.Index(wanted, b.release))
	})
	loud.Say("interop: gunicorn %s on Python %s", strings.Join(wanted, ", "), describe(bases))
	return nil
}

// environments asks envs.py for the environments of an interpreter.
func environments(b interpreter, wanted []string, makeThem bool) ([]python, error) {
	args := []string{"-B", "envs.py"}
	if !makeThem {
		args = append(args, "--list")
	}
	cmd := exec.Command(b.command, append(args, wanted...)...)
	cmd.Env = append(os.Environ(), "DIRTY_INTEROP_PYTHON="+b.command)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s envs.py: %w", b.command, err)
	}
	var found []python
	for line := range strings.Lines(string(out)) {
		release, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if i := slices.Index(wanted, release); i >= 0 {
			wanted = slices.Delete(wanted, i, i+1)
			found = append(found, python{release, b.minor(), path})
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("no environment for gunicorn %s on Python %s", strings.Join(wanted, ", "), b.version)
	}
	return found, nil
}

func wantedReleases() ([]string, error) {
	text, err := os.ReadFile("releases.txt")
	if err != nil {
		return nil, err
	}
	all := strings.Fields(string(text))
	filter := os.Getenv("DIRTY_INTEROP_RELEASES")
	if filter == "" {
		return all, nil
	}
	wanted := strings.Split(filter, ",")
	for _, release := range wanted {
		if !slices.Contains(all, release) {
			return nil, fmt.Errorf("DIRTY_INTEROP_RELEASES: %q is not in releases.txt", release)
		}
	}
	slices.SortFunc(wanted, func(a, b string) int { return cmp.Compare(slices.Index(all, a), slices.Index(all, b)) })
	return wanted, nil
}
