package main

import (
	"context"
	"errors"
	"iter"
	"os/exec"
	"path/filepath"
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
	testscript.Main(m, map[string]func(){"dirty": main})
}

// scriptApp is what the scripts call: the app of the demonstration, and a stream
// without an end.
func scriptApp() *server.Mux {
	mux := newDemoMux(func() {})
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
			runScript(t, file, map[string]string{"SOCKET": s.Socket()})
		})
	}
}

func runScript(t *testing.T, file string, env map[string]string) {
	testscript.Run(t, testscript.Params{
		Files:               []string{file},
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			for key, value := range env {
				e.Setenv(key, value)
			}
			return nil
		},
	})
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
