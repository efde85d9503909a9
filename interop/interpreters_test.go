//go:build unix

package interop

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// interpreter is a Python interpreter from which environments are made.
type interpreter struct {
	command string
	version string // as in "3.13.0"
}

// minor is the version without its last part, as in "3.13".
func (b interpreter) minor() string { return b.version[:strings.LastIndexByte(b.version, '.')] }

func describe(bases []interpreter) string {
	var texts []string
	for _, b := range bases {
		texts = append(texts, b.version+" ("+b.command+")")
	}
	return strings.Join(texts, ", ")
}

// allMinors are what DIRTY_INTEROP_PYTHONS=all looks for.
var allMinors = []string{"3.10", "3.11", "3.12", "3.13"}

// baseInterpreters are those that DIRTY_INTEROP_PYTHONS names, a list with
// commas or "all"; else the one of DIRTY_INTEROP_PYTHON; else python3.
func baseInterpreters() ([]interpreter, error) {
	list := os.Getenv("DIRTY_INTEROP_PYTHONS")
	if list == "" {
		list = cmp.Or(os.Getenv("DIRTY_INTEROP_PYTHON"), "python3")
	}
	var found []interpreter
	if list == "all" {
		for _, minor := range allMinors {
			if b, err := findBase("python" + minor); err == nil {
				found = append(found, b)
			}
		}
		if found == nil {
			return nil, errors.New("DIRTY_INTEROP_PYTHONS=all: no Python " + strings.Join(allMinors, ", ") + " was found")
		}
		return found, nil
	}
	for _, name := range strings.Split(list, ",") {
		b, err := findBase(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f interpreter) bool { return f.minor() == b.minor() }) {
			found = append(found, b)
		}
	}
	return found, nil
}

// findBase asks a command for its version. If it is not on PATH, or is one of pyenv's
// shims that refuse to run, it looks among the versions that pyenv has.
func findBase(name string) (interpreter, error) {
	b, err := askBase(name)
	if err == nil {
		return b, nil
	}
	for _, path := range pyenvCommands(name) {
		if b, err := askBase(path); err == nil {
			return b, nil
		}
	}
	return interpreter{}, fmt.Errorf("%s: %w", name, err)
}

func askBase(command string) (interpreter, error) {
	out, err := exec.Command(command, "-c", "import sys; print(sys.implementation.name, '%d.%d.%d' % sys.version_info[:3])").Output()
	if err != nil {
		return interpreter{}, err
	}
	name, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if name != "cpython" || strings.Count(version, ".") != 2 {
		return interpreter{}, fmt.Errorf("it is %s %s, not CPython", name, version)
	}
	return interpreter{command, version}, nil
}

// pyenvCommands are the commands of this name that pyenv has, newest first.
func pyenvCommands(name string) []string {
	root := os.Getenv("PYENV_ROOT")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		root = filepath.Join(home, ".pyenv")
	}
	paths, _ := filepath.Glob(filepath.Join(root, "versions", "*", "bin", name))
	patch := func(path string) int {
		version := filepath.Base(filepath.Dir(filepath.Dir(path)))
		n, _ := strconv.Atoi(version[strings.LastIndexByte(version, '.')+1:])
		return n
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(patch(b), patch(a)) })
	return paths
}
