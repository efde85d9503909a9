//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/realgunicorn"
)

// realGunicorn starts the newest gunicorn that there is, with the app of
// testdata/gunicorn and two workers. It returns the folder for temporary files, in
// which find sees nothing else, and the pid file.
func realGunicorn(t *testing.T) (folder, pidFile string) {
	t.Helper()
	python := realgunicorn.Python(t, filepath.Join("..", ".."))
	for _, name := range []string{"gunicorn.conf.py", "app.py", "session.txtar"} { // go test must know
		_, err := os.ReadFile(filepath.Join("testdata", "gunicorn", name))
		require.NoError(t, err)
	}
	folder = findIn(t)
	log, err := os.Create(filepath.Join(folder, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(python, "-B", "-m", "gunicorn", "-c", filepath.Join("testdata", "gunicorn", "gunicorn.conf.py"))
	cmd.Env = append(os.Environ(), "DIRTY_TEST_DIR="+folder, "TMPDIR="+folder)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a stuck worker hears nothing else
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("gunicorn's log:\n%s", text)
		}
	})
	pidFile = client.PIDFileName(filepath.Base(folder))
	c, err := client.New(client.WithResolver(client.FromPIDFile(pidFile)))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, c.WaitReady(ctx, "app:App"))
	for serving := 0; serving < 2; {
		status, err := c.Status(ctx)
		require.NoError(t, err)
		serving = status.Serving("app:App")
	}
	return folder, pidFile
}

// TestRealGunicorn runs the command line against a real arbiter.
func TestRealGunicorn(t *testing.T) {
	folder, pidFile := realGunicorn(t)
	socket, err := client.FromPIDFile(pidFile)(t.Context())
	require.NoError(t, err)
	env := map[string]string{"TMPDIR": folder, "PIDFILE": pidFile, "SOCKET": socket}
	runScript(t, filepath.Join("testdata", "gunicorn", "session.txtar"), nil, env, nil)
}

// TestDoctorRealStuck: of the workers of a real arbiter, doctor finds the one that an
// endless action has stuck, and no other.
func TestDoctorRealStuck(t *testing.T) {
	_, pidFile := realGunicorn(t)
	c, err := client.New(client.WithResolver(client.FromPIDFile(pidFile)), client.WithMaxIdle(1, time.Minute))
	require.NoError(t, err)
	defer c.Close()
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Workers, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.Execute(ctx, "app:App", "spin")
	}()
	defer func() {
		cancel()
		<-ended
	}()

	// The arbiter gives its workers calls in turn. That of spin has come to one of
	// them when doctor has found it.
	bad := regexp.MustCompile(`(?m)^bad   worker: \d+, pid (\d+), has not answered`)
	var got result
	require.Eventually(t, func() bool {
		got = dirtyRun("", "doctor", "--pid-file", pidFile, "--stuck", "5s", "--pause", "100ms")
		return len(bad.FindAllString(got.stdout, -1)) == 1
	}, 2*time.Minute, 10*time.Millisecond, "%v", &got)
	assert.Equal(t, exitNegative, got.code)
	stuck := bad.FindStringSubmatch(got.stdout)[1]
	assert.Contains(t, got.stdout, "py-spy dump --pid "+stuck)
	pids := []string{fmt.Sprint(status.Workers[0].PID), fmt.Sprint(status.Workers[1].PID)}
	assert.Contains(t, pids, stuck)
	assert.Regexp(t, `(?m)^ok    worker: \d+, pid \d+, answers`, got.stdout)
	isStuck, isFree := regexp.MustCompile(`(?m)^\d+ +`+stuck+` +stuck +\d+\.\d s `), regexp.MustCompile(`(?m)^\d+ +\d+ +free +- `)
	require.Eventually(t, func() bool {
		got = dirtyRun("", "top", "--pid-file", pidFile, "-c", "3", "--stuck", "500ms", "-i", "400ms")
		return got.code == exitOK && isStuck.MatchString(got.stdout) && isFree.MatchString(got.stdout)
	}, 2*time.Minute, 10*time.Millisecond, "%v", &got)

	// The process burns time, as only a loop without an end does.
	before := cpuTime(t, stuck)
	require.Eventually(t, func() bool { return cpuTime(t, stuck) > before+5 }, time.Minute, 10*time.Millisecond)
}

// cpuTime returns how long a process has run, in ticks of the system.
func cpuTime(t *testing.T, pid string) (ticks int) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	require.NoError(t, err)
	_, fields, _ := strings.Cut(string(text), ") ")
	_, err = fmt.Sscan(strings.Fields(fields)[11], &ticks)
	require.NoError(t, err)
	return ticks
}
