//go:build unix

// Package realgunicorn starts gunicorn in tests. The interop package has more than that;
// this is what tests in other folders and modules need.
//
// The environment variable DIRTY_INTEROP decides what becomes of such tests:
//
//	(unset)  run with the environments that are there
//	require  make them; whatever is missing is a failure
//	off      do not run
package realgunicorn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// Python returns an interpreter that has the newest gunicorn. root is the folder of the
// repository. It skips the test, and says so loudly, if there is none or none is wanted.
func Python(t *testing.T, root string) string {
	t.Helper()
	args := []string{"-B", filepath.Join(root, "interop", "envs.py")}
	mode := os.Getenv("DIRTY_INTEROP")
	switch mode {
	case "off":
		notRun(t, "DIRTY_INTEROP=off")
	case "":
		args = append(args, "--list")
	case "require":
	default:
		t.Fatalf("DIRTY_INTEROP=%s: want require, off or nothing", mode)
	}
	releases, err := os.ReadFile(filepath.Join(root, "interop", "releases.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(string(releases))
	cmd := exec.Command("python3", append(args, all[len(all)-1])...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	_, python, found := strings.Cut(strings.TrimSpace(string(out)), "\t")
	switch {
	case mode == "require" && (err != nil || !found):
		t.Fatalf("interop/envs.py made no environment: %v", err)
	case err != nil:
		notRun(t, fmt.Sprintf("interop/envs.py: %v", err))
	case !found:
		notRun(t, "no Python environment has gunicorn")
	}
	return python
}

func notRun(t *testing.T, reason string) {
	t.Helper()
	loud.Say("NOT RUN with real gunicorn: %s: %s\nDIRTY_INTEROP=require makes the environment and runs; see interop/README.md", t.Name(), reason)
	t.Skip(reason)
}

// Start starts gunicorn with a configuration file, in the folder of that file. It is
// killed with all its processes when the test ends. Its log is printed if the test has
// failed. env is added to the environment. Temporary files go into folder, which must
// have a short path.
func Start(t *testing.T, python, config, folder string, env ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(folder, "gunicorn.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(python, "-B", "-m", "gunicorn", "-c", filepath.Base(config))
	cmd.Dir = filepath.Dir(config)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+folder), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("gunicorn's log:\n%s", text)
		}
	})
}

// Folder returns a new folder with a short path, for sockets. It is removed when the test
// ends.
func Folder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}
