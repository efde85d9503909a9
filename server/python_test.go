package server_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/require"
)

// DIRTY_INTEROP decides what becomes of the tests with real gunicorn, as in the
// folder interop:
//
//	(unset)  run with the environments that are there
//	require  make them; whatever is missing is a failure
//	off      do not run
//
// DIRTY_INTEROP_RELEASES, a list with commas, limits the releases.

// python is an interpreter that has a release of gunicorn.
type python struct{ release, path string }

// pythons are those to test with, oldest release first. TestMain sets them.
var pythons []python

// findPythons asks interop/envs.py for the environments.
func findPythons() error {
	mode := os.Getenv("DIRTY_INTEROP")
	args := []string{"-B", filepath.Join("..", "interop", "envs.py")}
	switch mode {
	case "off":
		return errors.New("DIRTY_INTEROP=off")
	case "":
		args = append(args, "--list")
	case "require":
	default:
		return fmt.Errorf("DIRTY_INTEROP=%s: want require, off or nothing", mode)
	}
	if wanted := os.Getenv("DIRTY_INTEROP_RELEASES"); wanted != "" {
		args = append(args, strings.Split(wanted, ",")...)
	}
	cmd := exec.Command(cmp.Or(os.Getenv("DIRTY_INTEROP_PYTHON"), "python3"), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("interop/envs.py: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if release, path, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			pythons = append(pythons, python{release, path})
		}
	}
	if len(pythons) == 0 {
		return errors.New("no Python environment has gunicorn")
	}
	return nil
}

// sayNotRun says where people see it that gunicorn's clients were not there.
func sayNotRun(reason error) {
	loud.Say("server: NOT RUN with gunicorn's own clients: %v\n"+
		"server: DIRTY_INTEROP=require makes the environments and runs; see interop/README.md", reason)
}

// eachPython runs a test with each release.
func eachPython(t *testing.T, test func(t *testing.T, p python)) {
	for _, name := range []string{"clients.py", "web.py", "gunicorn.conf.py"} { // go test must know
		_, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
	}
	if len(pythons) == 0 {
		t.Skip("no Python environment has gunicorn")
	}
	for _, p := range pythons {
		t.Run(p.release, func(t *testing.T) { test(t, p) })
	}
}

// goApp is what the Python programs of testdata call.
func goApp() *server.Mux {
	const app = "go:App"
	mux := server.NewMux()
	mux.Handle(app, "echo", server.Func(func(_ context.Context, v any) (any, error) { return v, nil }))
	mux.Handle(app, "add", server.Func(func(_ context.Context, arg struct{ A, B int }) (int, error) { return arg.A + arg.B, nil }))
	mux.Handle(app, "size", server.Func(func(_ context.Context, b []byte) (int, error) { return len(b), nil }))
	mux.Handle(app, "text", server.Func(func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }))
	mux.Handle(app, "fail", server.Func(func(_ context.Context, typ string) (any, error) {
		return nil, &dirty.RemoteError{Type: typ, Message: "failed as " + typ, Details: map[string]any{
			"timeout": 5, "socket_path": "/path", "worker_id": 7, "app_path": "a:B", "action": "c", "traceback": "trace",
			"detail": []any{1, nil},
		}}
	}))
	mux.Handle(app, "kind", server.Func(kind))
	mux.Handle(app, "count", server.StreamFunc(func(ctx context.Context, arg struct{ N int }) iter.Seq2[int, error] {
		return counting(nil)(ctx, arg.N)
	}))
	mux.Handle(app, "break", server.StreamFunc(counting(errors.New("the stream broke"))))
	mux.Handle(app, "values", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			_ = yield(nil, nil) && yield(true, nil) && yield(false, nil) && yield(0, nil)
		}
	}))
	mux.Handle(app, "blobs", server.StreamFunc(func(_ context.Context, n int) iter.Seq2[[]byte, error] {
		blob := make([]byte, 4<<20)
		return func(yield func([]byte, error) bool) {
			for range n {
				if !yield(blob, nil) {
					return
				}
			}
		}
	}))
	var cancelled atomic.Int64
	mux.Handle(app, "cancelled", server.Func(func(context.Context, struct{}) (int64, error) { return cancelled.Load(), nil }))
	mux.Handle(app, "wait", server.Func(func(ctx context.Context, _ struct{}) (any, error) {
		<-ctx.Done()
		cancelled.Add(1)
		return nil, ctx.Err()
	}))
	mux.Handle(app, "forever", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for yield("token", nil) {
				time.Sleep(time.Millisecond)
			}
			if errors.Is(context.Cause(ctx), server.ErrClientGone) {
				cancelled.Add(1)
			}
		}
	}))
	return mux
}

// kind fails with one of Go's errors.
func kind(_ context.Context, name string) (any, error) {
	kinds := map[string]error{
		"ErrTimeout": dirty.ErrPeerTimeout, "ErrConnection": dirty.ErrPeerConnection, "ErrWorker": dirty.ErrWorker,
		"ErrApp": dirty.ErrApp, "ErrAppNotFound": dirty.ErrAppNotFound, "ErrNoWorkers": dirty.ErrNoWorkers,
		"ErrProtocol": dirty.ErrPeerProtocol, "deadline": context.DeadlineExceeded, "plain": errors.New("a plain error"),
	}
	switch name {
	case "panic":
		panic("as was asked")
	case "unsendable":
		return func() {}, nil
	}
	return nil, kinds[name]
}

// gunicorn's own clients against our server.
func TestPythonClients(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		s := &server.Server{Handler: goApp()}
		runPythonClients(t, p, start(t, s))
		eventually(t, "all clients have left", func() bool { return s.Stats().Conns == 0 })
		require.Equal(t, 0, s.Stats().Running)
	})
}

// runPythonClients runs the program that checks goApp at a socket.
func runPythonClients(t *testing.T, p python, path string) {
	t.Helper()
	timeout, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(timeout, p.path, "-B", filepath.Join("testdata", "clients.py"))
	big := 2 // what is the same in all releases, but takes long, is for the newest
	if p == pythons[len(pythons)-1] {
		big = 60
	}
	cmd.Env = append(os.Environ(), "GUNICORN_DIRTY_SOCKET="+path,
		fmt.Sprintf("SERVER_PID=%d", os.Getpid()), fmt.Sprintf("BIG_MIB=%d", big))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "\nOK", "%s", out)
}
