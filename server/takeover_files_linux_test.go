package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() { children["takes over and tells all"] = childThatTellsAll }

// childThatTellsAll is a childThatTakesOver whose log and error are on the standard output.
func childThatTellsAll() error {
	err := serveUntilTakenOver(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	if err != nil {
		fmt.Println(err)
	}
	return err
}

// limitFiles lets a process open so many more files.
func limitFiles(pid, more int) error {
	limit := 0
	for ; more >= 0; limit++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, limit)); err != nil {
			more--
		}
	}
	return exec.Command("prlimit", "--pid", strconv.Itoa(pid), "--nofile="+strconv.Itoa(limit-1)+":").Run()
}

// hasOpen reports whether a process has a file open.
func hasOpen(pid int, name string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool { to, err := os.Readlink(fd); return err == nil && to == name })
}

// TestTakeOverWithoutFiles runs a new process out of file descriptors at each point of a
// take-over. If it has too few from the start it refuses, and the old process serves on.
// If they are used up later, clients find their connections closed. No answer is wrong, nothing hangs, and no
// process ends but one that refuses.
func TestTakeOverWithoutFiles(t *testing.T) {
	for _, tt := range []struct {
		from     string // the packet from which on there are few
		outcomes []string
	}{
		{"O", []string{"no listener", "one listener", "too few files", "serves all"}},
		{"N", []string{"serves none", "serves some", "serves all"}},
	} {
		seen := map[string]bool{}
		for more := 0; !seen["serves all"]; more++ {
			require.Less(t, more, 50, "so many are enough")
			require.True(t, t.Run(fmt.Sprintf("%d more from %s on", more, tt.from), func(t *testing.T) {
				outcome := takeOverWithoutFiles(t, tt.from, more)
				t.Log(outcome)
				seen[outcome] = true
			}))
		}
		assert.ElementsMatch(t, tt.outcomes, slices.Collect(maps.Keys(seen)))
	}
}

// takeOverWithoutFiles starts a process that takes a server over, and can open so many
// more files from a packet on. The server has idle connections, and one with a call under
// way. It returns what became of it.
func takeOverWithoutFiles(t *testing.T, from string, more int) (outcome string) {
	path := filepath.Join(folder(t), "s")
	running, next := make(chan struct{}), make(chan struct{})
	stash := new(server.MemoryStore)
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(echo))
	mux.Handle(app, "put", server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		running <- struct{}{}
		<-next
		return w.Respond(stash.Put(ctx, "t", "k", encoded("v")) == nil)
	}))
	served := takeOver(t, &server.Server{Handler: mux, Stash: stash}, path)
	conns := []*dirty.Conn{dial(t, path)}
	send(t, conns[0], "put")
	wait(t, "the handler", running)
	for range 3 { // idle ones
		c := dial(t, path)
		require.Equal(t, echoed(0), call(t, c, "echo", 0))
		conns = append(conns, c)
	}
	started, limited := make(chan *heir, 1), make(chan error, 1)
	var limit sync.Once
	relayTakeOver(t, path, func(kind string) (cut bool) {
		if kind != from {
			return false
		}
		limit.Do(func() {
			pid := (<-started).Process.Pid
			for from == "O" && hasOpen(pid, filepath.Dir(path)) { // until it has connected
				time.Sleep(time.Millisecond)
			}
			limited <- limitFiles(pid, more)
		})
		return false
	})
	heir := startServer(t, "takes over and tells all", path)
	started <- heir
	require.NoError(t, wait(t, "the limit", limited))

	said := ""
	sayUntil := func(text string) bool {
		line := "first"
		for !strings.Contains(said, text) && line != "" {
			line = wait(t, "the new process to say: "+text, heir.says)
			said += line + "\n"
		}
		return line != ""
	}
	serves := sayUntil("serving\n")
	close(next)
	reply := receive(t, conns[0])
	if !serves {
		wait(t, "the end of the new process", heir.ended)
		assert.Equal(t, 1, heir.ProcessState.ExitCode(), "it returns an error: %s", said)
		assert.Equal(t, dirty.NewResponse(1, true), reply)
		for i, c := range conns {
			assert.Equal(t, echoed(i), call(t, c, "echo", i))
		}
		require.Empty(t, served)
		startHeir(t, path).await(t, "serving")
		assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
		for i, count := range []string{"no listener", "one listener"} {
			if strings.Contains(said, fmt.Sprintf("the running server's listeners did not arrive: %d of 2", i)) {
				return count
			}
		}
		assert.Contains(t, said, "the running server has 4 connections, for which this process needs")
		return "too few files"
	}

	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	arrived := 0
	for i, c := range conns {
		if answersOrIsClosed(t, c, i) {
			arrived++
		}
	}
	if arrived < len(conns) {
		assert.True(t, sayUntil("a connection was lost in a take-over"))
	}
	require.NoError(t, limitFiles(heir.Process.Pid, 100))
	assert.Equal(t, echoed(1), call(t, dial(t, path), "echo", 1), "a new client")
	got, err := newClient(t, path).Stash("t").Get(ctx, "k")
	if assert.ObjectsAreEqual(dirty.NewResponse(1, true), reply) {
		assert.NoError(t, err)
		assert.Equal(t, "v", got)
	} else {
		assert.Equal(t, dirty.NewResponse(1, false), reply, "the handler knows that its value is not there")
		assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	}
	switch arrived {
	case 0:
		return "serves none"
	case len(conns):
		return "serves all"
	}
	return "serves some"
}

// echoed is the reply to a call of echo.
func echoed(i int) dirty.Message { return dirty.NewResponse(1, []any{int64(i)}) }

// answersOrIsClosed reports which of the two is true of a connection. Nothing else may be.
func answersOrIsClosed(t *testing.T, c *dirty.Conn, i int) (answers bool) {
	t.Helper()
	err := c.WriteMessage(dirty.NewRequest(1, app, "echo", []any{i}, nil))
	if err == nil {
		var m dirty.Message
		if m, err = c.ReadMessage(); err == nil {
			assert.Equal(t, echoed(i), m)
			return true
		}
	}
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	return false
}
