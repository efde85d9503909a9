package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// python is an interpreter that has a release of gunicorn.
type python struct {
	release string
	path    string
}

// pythons are those to test with, oldest release first. TestMain sets it.
var pythons []python

// eachPython runs test as a subtest for each release, several at a time.
func eachPython(t *testing.T, test func(t *testing.T, p python)) {
	noteInputs()
	for _, p := range pythons {
		t.Run(p.release, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// noteInputs tells go test what its cached results depend on: it watches what
// tests read, but neither TestMain nor Python.
var noteInputs = sync.OnceFunc(func() {
	for _, name := range []string{"DIRTY_INTEROP", "DIRTY_INTEROP_RELEASES", "DIRTY_INTEROP_PYTHON", "DIRTY_INTEROP_CACHE"} {
		_ = os.Getenv(name)
	}
	for _, pattern := range []string{"*.py", "app/*.py"} {
		scripts, _ := filepath.Glob(pattern)
		for _, script := range scripts {
			_, _ = os.ReadFile(script)
		}
	}
})

// findPythons asks envs.py for the environments, and to make them if makeThem
// is set. DIRTY_INTEROP_RELEASES, a list with commas, limits the releases.
func findPythons(makeThem bool) ([]python, error) {
	wanted, err := wantedReleases()
	if err != nil {
		return nil, err
	}
	base := os.Getenv("DIRTY_INTEROP_PYTHON")
	if base == "" {
		base = "python3"
	}
	args := []string{"-B", "envs.py", "--list"}
	if makeThem {
		args = args[:2]
	}
	cmd := exec.Command(base, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s envs.py: %w", base, err)
	}
	var found []python
	for line := range strings.Lines(string(out)) {
		release, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if i := slices.Index(wanted, release); i >= 0 {
			wanted = slices.Delete(wanted, i, i+1)
			found = append(found, python{release, path})
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("no environment for gunicorn %s", strings.Join(wanted, ", "))
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
	return wanted, nil
}
