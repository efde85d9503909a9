package main

import (
	"context"
	"errors"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// TestMain lets scripts run this test binary as the command dirty.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" { // else each of hundreds of commands sleeps for a second at its end
		if err := os.Setenv("GORACE", "atexit_sleep_ms=10"); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"dirty": func() {
		findTime, completeTime = patience, patience
		ofMachine := listeningSockets
		listeningSockets = func() []string { // other arbiters of this machine are not the test's
			return slices.DeleteFunc(ofMachine(), func(path string) bool { return !strings.HasPrefix(path, os.TempDir()+"/") })
		}
		main()
	}})
}

// patience is how long a test waits for what takes no time on an idle machine.
const patience = time.Minute

// setTime gives a bound of the command another value until the test ends.
func setTime(t *testing.T, bound *time.Duration, d time.Duration) {
	was := *bound
	t.Cleanup(func() { *bound = was })
	*bound = d
}

// scriptApp is what the scripts call: the app of the demonstration, and a stream
// without an end.
func scriptApp() *server.Mux {
	mux := newDemoMux(func() {}, func() {})
	mux.Handle(demoApp, "ticks", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := 0; yield(n, nil); n++ {
				if wait(ctx, 0.01) != nil {
					return
				}
			}
		}
	}))
	return mux
}

// TestScripts runs each file of testdata/script with the built command and an
// arbiter of its own, whose socket is $SOCKET.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := dirtytest.NewServer(t, scriptApp(), dirtytest.WithUnknownCalls())
			s.SetWorkers(
				client.Worker{PID: 101, Age: 1, Apps: []string{demoApp}, Booted: true, HeartbeatAge: 1500 * time.Millisecond},
				client.Worker{PID: 102, Age: 2, Apps: []string{demoApp}},
			)
			runScript(t, file, s, map[string]string{"SOCKET": s.Socket()}, nil)
		})
	}
}

// scriptCommands are commands of scripts, by name.
type scriptCommands = map[string]func(*testscript.TestScript, bool, []string)

// runScript runs a file. The server, which may be nil, is the one that await looks at.
// The file has these further commands.
func runScript(t *testing.T, file string, s *dirtytest.Server, env map[string]string, further scriptCommands) {
	commands := scriptCommands{
		"exits": exits,
		"until": until,
		"await": func(ts *testscript.TestScript, _ bool, args []string) { awaitRequests(ts, s, args) },
	}
	maps.Copy(commands, further)
	testscript.Run(t, testscript.Params{
		Files:               []string{file},
		RequireExplicitExec: true,
		Cmds:                commands,
		Setup: func(e *testscript.Env) error {
			for key, value := range env {
				e.Setenv(key, value)
			}
			return nil
		},
	})
}

// awaitRequests waits until the arbiter has got so many requests:
//
//	await 3 demo:App.add
func awaitRequests(ts *testscript.TestScript, s *dirtytest.Server, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await COUNT REQUEST")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got := 0
		for _, r := range s.Requests() {
			if r.String() == args[1] {
				got++
			}
		}
		if got >= want {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%d requests %q, want %d", got, args[1], want)
		}
	}
}

// until runs a command again and again until it ends well:
//
//	until dirty ping
func until(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND...")
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Check(err)
		}
	}
}

// exits runs a command that must end with a status:
//
//	exits 2 dirty dance
func exits(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
