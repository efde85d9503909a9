//go:build unix

package interop

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// until polls, for conditions of which no event tells.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	begin := time.Now()
	for !is() {
		require.Less(t, time.Since(begin), maxWait, "waiting until %s", what)
		time.Sleep(2 * time.Millisecond)
	}
}

// pidFile is where gunicorn writes the id of the arbiter.
func (g *gunicorn) pidFile() string {
	return filepath.Join(g.folder, "gunicorn-dirty-"+filepath.Base(g.folder)+".pid")
}

func (g *gunicorn) arbiterPID(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(g.pidFile())
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return pid
}

// workerPIDs returns the process ids of booted workers, oldest first. It closes its
// connection at once, because workers that are forked later inherit open ones.
func (g *gunicorn) workerPIDs(t *testing.T) []int {
	t.Helper()
	p := g.dial(t)
	defer p.Close()
	var pids []int
	for _, w := range p.status()["workers"].([]any) {
		worker := w.(map[string]any)
		if beat, ok := worker["last_heartbeat"].(float64); ok && beat >= 0 {
			pids = append(pids, int(worker["pid"].(int64)))
		}
	}
	return pids
}

// awaitWorkers waits until there are n booted workers, and none of those that have to
// be gone.
func (g *gunicorn) awaitWorkers(t *testing.T, n int, gone ...int) []int {
	t.Helper()
	var pids []int
	until(t, "there are new workers", func() bool {
		pids = g.workerPIDs(t)
		return len(pids) == n && !slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(gone, pid) })
	})
	return pids
}

func isDead(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// signal sends a signal to a process of this server, and returns when.
func (g *gunicorn) signal(t *testing.T, pid int, s syscall.Signal) time.Time {
	t.Helper()
	require.Contains(t, g.processes(), pid)
	now := time.Now()
	require.NoError(t, syscall.Kill(pid, s))
	return now
}

// put stores a value in the stash without the checks of the client.
func (g *gunicorn) put(t *testing.T, table string, key, value any) {
	t.Helper()
	p := g.dial(t)
	defer p.Close()
	p.stash(dirty.StashPut, table, key, value, "")
}
