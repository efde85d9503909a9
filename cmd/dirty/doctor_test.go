//go:build linux

package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// withWorker starts a server of gunicorn's kind, whose worker is this process and has
// a socket beside the arbiter's.
func withWorker(t *testing.T, handler server.Handler) *dirtytest.Server {
	findIn(t)
	s := dirtytest.NewServer(t, scriptApp())
	s.SetWorkers(client.Worker{PID: os.Getpid(), Age: 7, Apps: []string{demoApp}, Booted: true})
	if handler != nil {
		l, err := server.Listen(filepath.Join(filepath.Dir(s.Socket()), "worker-7.sock"), 0o600)
		require.NoError(t, err)
		worker := &server.Server{Handler: handler}
		go func() { _ = worker.Serve(l) }()
		t.Cleanup(func() { _ = worker.Close() })
	}
	return s
}

func doctorOf(s *dirtytest.Server, args ...string) result {
	return dirtyRun("", append([]string{"doctor", "-s", s.Socket(), "--stuck", "1s", "--pause", "10ms"}, args...)...)
}

func TestDoctorHealthy(t *testing.T) {
	s := withWorker(t, scriptApp())
	got := doctorOf(s, "--stuck", patience.String())
	assert.Equal(t, exitOK, got.code, got.stdout)
	assert.Empty(t, got.stderr)
	assert.Regexp(t, `(?m)^ok    socket: /.*, by --socket, owned by \w+, mode \d+$`, got.stdout)
	assert.Regexp(t, `(?m)^ok    arbiter: pid \d+ answered in .*, 1 worker$`, got.stdout)
	assert.Regexp(t, `(?m)^ok    worker: 7, pid \d+, answers, demo:App$`, got.stdout)
}

// TestDoctorStuck: a worker that does not answer at its own socket is found, though
// its arbiter says that all is well.
func TestDoctorStuck(t *testing.T) {
	s := withWorker(t, server.HandlerFunc(func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	got := doctorOf(s)
	assert.Equal(t, exitNegative, got.code, got.stdout)
	assert.Empty(t, got.stderr)
	assert.Regexp(t, `(?m)^bad   worker: 7, pid (\d+), has not answered for 1s: .*py-spy dump --pid \d+$`, got.stdout)
	assert.Regexp(t, `"level":"bad","about":"worker","pid":\d+,"text":"7, pid`, doctorOf(s, "-o", "json").stdout)
}

// TestDoctorUnknown: a worker whose socket is not there is neither well nor stuck.
func TestDoctorUnknown(t *testing.T) {
	got := doctorOf(withWorker(t, nil))
	assert.Equal(t, exitOK, got.code)
	assert.Regexp(t, `(?m)^note  worker: 7, pid \d+, cannot be asked`, got.stdout)
}

// TestDoctorCrashes: workers that are replaced between two looks are told of.
func TestDoctorCrashes(t *testing.T) {
	findIn(t)
	var looks atomic.Int64
	s := dirtytest.NewServer(t, scriptApp(), dirtytest.WithServer(func(s *server.Server) {
		s.Status = func(context.Context) (any, error) {
			n := int(looks.Add(1))
			return dirty.StatusResult{
				Workers: []dirty.WorkerStatus{{PID: 1000 + n, Age: n, Apps: []string{demoApp}}},
				Apps:    []string{demoApp},
			}, nil
		}
	}))
	got := doctorOf(s)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "bad   worker: 1 worker ended and 1 worker started within 10ms")
	assert.Regexp(t, `(?m)^note  worker: \d+, pid 10\d\d, has ended meanwhile$`, got.stdout)
	assert.Contains(t, got.stdout, "bad   app: no worker has started demo:App")
}

func TestDoctorNoWorkers(t *testing.T) {
	s := withWorker(t, nil)
	s.SetWorkers()
	got := doctorOf(s)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "bad   worker: there are none")
}

// TestDoctorArbiter: an arbiter that does not answer.
func TestDoctorArbiter(t *testing.T) {
	s := withWorker(t, nil)
	accept := s.RefuseDials()
	got := doctorOf(s)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "bad   arbiter: it does not answer")
	accept()

	s.Fault(dirtytest.MatchType(dirty.TypeStatus), dirtytest.Hang())
	got = doctorOf(s, "--timeout", "3s") // in which a busy machine can send the question
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "accepts connections and does not answer")

	got = dirtyRun("", "doctor", "-s", listenDeaf(t), "--timeout", "100ms")
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "accepts no connections any more")

	got = dirtyRun("", "doctor", "-s", filepath.Join(t.TempDir(), "missing"))
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "is missing")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	got = dirtyRun("", "doctor", "-s", file)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stdout, "is no socket")
}

// listenDeaf returns the path of a socket whose backlog is full.
func listenDeaf(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(shortTempDir(t), "deaf")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0)) // one connection may wait
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return path
}

// TestDoctorInterrupted: it ends at once.
func TestDoctorInterrupted(t *testing.T) {
	s := withWorker(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		s.WaitRequests(1)
		cancel()
	}()
	start := time.Now()
	assert.Equal(t, exitInterrupt, run(ctx, []string{"doctor", "-s", s.Socket(), "--pause", "1h"}, nil, io.Discard, io.Discard))
	assert.Less(t, time.Since(start), time.Minute)
}
