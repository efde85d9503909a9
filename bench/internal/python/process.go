// Package python measures our codec beside gunicorn's own, on its interpreter.
package python

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that there is no Python, or that gunicorn cannot be installed.
var ErrMissing = errors.New("no gunicorn to measure")

//go:embed codec.py
var script string

// process is the running script.
type process struct {
	about string // the releases of gunicorn and of its interpreter
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

// start runs the script with the newest release that the interop tests know. It
// makes an environment for it if there is none. The values are in the folder.
func start(folder string) (*process, error) {
	interpreter, err := newest()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	p := &process{cmd: exec.Command(interpreter, "-B", "-c", script, folder)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if p.about, err = p.line(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// timed returns a function that has the script do one thing n times, and returns
// the CPU time that the script took.
func (p *process) timed(what, value string) func(n int) (time.Duration, error) {
	return func(n int) (time.Duration, error) {
		if _, err := fmt.Fprintln(p.in, what, n, value); err != nil {
			return 0, err
		}
		line, err := p.line()
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(line, 10, 64)
		return time.Duration(ns), err
	}
}

func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (p *process) close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// newest returns the interpreter of the newest release.
func newest() (string, error) {
	interop, err := interopFolder()
	if err != nil {
		return "", err
	}
	releases, err := os.ReadFile(filepath.Join(interop, "releases.txt"))
	if err != nil {
		return "", err
	}
	all := strings.Fields(string(releases))
	python := os.Getenv("DIRTY_INTEROP_PYTHON")
	if python == "" {
		python = "python3"
	}
	cmd := exec.Command(python, filepath.Join(interop, "envs.py"), all[len(all)-1])
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("envs.py: %w", err)
	}
	_, interpreter, ok := strings.Cut(strings.TrimSpace(string(out)), "\t")
	if !ok {
		return "", errors.New("envs.py made no environment")
	}
	return interpreter, nil
}

// interopFolder finds the folder beside this module, from whatever folder of
// the module this runs in.
func interopFolder() (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		interop := filepath.Join(folder, "interop")
		if _, err := os.Stat(filepath.Join(interop, "envs.py")); err == nil {
			return interop, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("the folder interop is not found")
		}
		folder = parent
	}
	return "", err
}
