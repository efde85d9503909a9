package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// findIn has find look into one folder only, which it returns: other arbiters of this
// machine are not the test's. It waits long for those of the test.
func findIn(t *testing.T) string {
	setTime(t, &findTime, patience)
	folder := shortTempDir(t)
	t.Setenv("TMPDIR", folder)
	t.Setenv(client.EnvSocket, "")
	was := listeningSockets
	t.Cleanup(func() { listeningSockets = was })
	listeningSockets = func() []string { return nil }
	return folder
}

// serveAt starts a server at a path of gunicorn's kind, in a folder of its own.
func serveAt(t *testing.T, folder, name string) string {
	place := filepath.Join(folder, "gunicorn-dirty-"+name)
	require.NoError(t, os.Mkdir(place, 0o700))
	path := filepath.Join(place, "arbiter.sock")
	l, err := server.Listen(path, 0o600)
	require.NoError(t, err)
	s := &server.Server{Handler: scriptApp()}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return path
}

// refusesAt leaves a socket on which nobody listens.
func refusesAt(t *testing.T, folder, name string) string {
	place := filepath.Join(folder, "gunicorn-dirty-"+name)
	require.NoError(t, os.Mkdir(place, 0o700))
	path := filepath.Join(place, "arbiter.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	return path
}

func TestFindNothing(t *testing.T) {
	findIn(t)
	assert.Equal(t, result{exitNegative, "", "dirty: no arbiter answers\n"}, dirtyRun("", "find"))
	got := dirtyRun("", "status")
	assert.Equal(t, exitNoArbiter, got.code)
	assert.Contains(t, got.stderr, "no arbiter was found")
	assert.Contains(t, got.stderr, client.EnvSocket)
}

// TestFindOne: the only one that answers is used, whatever else lies about.
func TestFindOne(t *testing.T) {
	folder := findIn(t)
	alive := serveAt(t, folder, "alive")
	dead := refusesAt(t, folder, "dead")
	got := dirtyRun("", "find")
	assert.Equal(t, exitOK, got.code, got.stderr)
	assert.Regexp(t, `(?m)^`+alive+` +answers +`+strconv.Itoa(os.Getpid())+` +1 +demo:App `, got.stdout)
	assert.Regexp(t, `(?m)^`+dead+` +refuses +- `, got.stdout)

	got = dirtyRun("", "find", "-o", "json")
	assert.Contains(t, got.stdout, `{"path":"`+alive+`","state":"answers","pid":`)
	assert.Equal(t, 2, strings.Count(got.stdout, "\n"))

	assert.Equal(t, result{exitOK, "3.0\n", ""}, dirtyRun("", "exec", demoApp, "add", "1", "2"))
}

// TestFindTwo: of two that answer none is chosen, and both are named.
func TestFindTwo(t *testing.T) {
	folder := findIn(t)
	one, two := serveAt(t, folder, "one"), serveAt(t, folder, "two")
	got := dirtyRun("", "status")
	assert.Equal(t, exitNoArbiter, got.code)
	assert.Contains(t, got.stderr, "2 arbiters answer")
	assert.Contains(t, got.stderr, one)
	assert.Contains(t, got.stderr, two)
	assert.Contains(t, got.stderr, "-s PATH")
	assert.Equal(t, exitOK, dirtyRun("", "status", "-s", one).code)
}

// TestFindDistrusts: an arbiter where others could have put one is not chosen.
func TestFindDistrusts(t *testing.T) {
	folder := findIn(t)
	path := serveAt(t, folder, "open")
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
	got := dirtyRun("", "find")
	assert.Equal(t, exitOK, got.code)
	assert.Contains(t, got.stdout, "not this user's alone")
	got = dirtyRun("", "status")
	assert.Equal(t, exitNoArbiter, got.code)
	assert.Contains(t, got.stderr, path)

	// A link to a socket is no socket.
	link := filepath.Join(folder, "gunicorn-dirty-link")
	require.NoError(t, os.Mkdir(link, 0o700))
	require.NoError(t, os.Symlink(path, filepath.Join(link, "arbiter.sock")))
	assert.Equal(t, exitNoArbiter, dirtyRun("", "status").code)
}

// TestFindOther: what does not answer, or not as an arbiter, is told of and ends find
// in time.
func TestFindOther(t *testing.T) {
	for _, tt := range []struct {
		name, answer, state string
		time                time.Duration // how long find waits
	}{
		{"silent", "", "silent", 100 * time.Millisecond},
		{"other", "HTTP/1.1 400 Bad Request\r\n\r\n", "no arbiter", patience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := findIn(t)
			setTime(t, &findTime, tt.time)
			place := filepath.Join(folder, "gunicorn-dirty-"+tt.name)
			require.NoError(t, os.Mkdir(place, 0o700))
			l, err := net.Listen("unix", filepath.Join(place, "arbiter.sock"))
			require.NoError(t, err)
			go func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = nc.Write([]byte(tt.answer))
					defer nc.Close()
				}
			}()
			t.Setenv(client.EnvSocket, filepath.Join(folder, "missing", "x"))
			got := dirtyRun("", "find")
			require.NoError(t, l.Close())
			assert.Equal(t, exitNegative, got.code)
			assert.Regexp(t, `(?m)`+tt.name+`/arbiter\.sock +`+tt.state+` `, got.stdout)
			assert.Regexp(t, `(?m)missing/x +missing `, got.stdout)
		})
	}
}

// TestFindOddNames: a path that is no text is shown all the same, in both formats.
func TestFindOddNames(t *testing.T) {
	folder := findIn(t)
	refusesAt(t, folder, "\xff\x1b[1m")
	text := dirtyRun("", "find")
	assert.Contains(t, text.stdout, `gunicorn-dirty-\ufffd\u001b[1m/arbiter.sock`)
	lines := dirtyRun("", "find", "-o", "json")
	assert.Equal(t, exitNegative, lines.code)
	assert.Contains(t, lines.stdout, `\u001b[1m/arbiter.sock","state":"refuses"`)
	assert.Contains(t, dirtyRun("", "status", "-o", "json").stderr, `"kind":"unavailable"`)
	got := dirtyRun("", "doctor", "-o", "json", "-s", filepath.Join(folder, "\xff"))
	assert.Contains(t, got.stdout, `"level":"bad"`)
}

// TestFindManyFiles: not more than some are asked.
func TestFindManyFiles(t *testing.T) {
	folder := findIn(t)
	for n := range maxCandidates + 5 {
		refusesAt(t, folder, strconv.Itoa(n))
	}
	found, err := findArbiters(t.Context())
	require.NoError(t, err)
	assert.Len(t, found, maxCandidates)
}

// TestWhoMayNot: the part of a path that is closed is named, with its mode.
func TestWhoMayNot(t *testing.T) {
	folder := shortTempDir(t)
	assert.Regexp(t, `^`+folder+` is owned by \w+, mode 0700: run as that user\.$`, whoMayNot(filepath.Join(folder, "missing", "x")))
	path := filepath.Join(folder, "x")
	require.NoError(t, os.WriteFile(path, nil, 0o640))
	assert.Regexp(t, `^`+path+` is owned by \w+, mode 0640`, whoMayNot(path))
}
