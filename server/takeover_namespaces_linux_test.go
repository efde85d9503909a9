package server_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTakeOverAcrossNamespaces takes over between processes that do not see each other,
// as in two containers with a common volume: in pid, mount and network namespaces of
// their own.
func TestTakeOverAcrossNamespaces(t *testing.T) {
	contained := []string{"unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"}
	if err := exec.Command(contained[0], append(contained[1:], "true")...).Run(); err != nil {
		loud.Say("server: NOT RUN: %s, which needs root and unshare: %v", t.Name(), err)
		t.Skip("needs root and unshare")
	}
	path := filepath.Join(folder(t), "s")
	current := startServer(t, "takes over", path, contained...)
	current.await(t, "serving")
	l := &load{stop: make(chan struct{})}
	for range 4 {
		l.runKept(t, path)
	}
	l.runClient(t, path)
	l.runStash(t, path)
	for _, next := range []bool{true, false, true, true, false} { // whether it is in a container
		time.Sleep(20 * time.Millisecond) // of calls
		before := current
		if next {
			current = startServer(t, "takes over", path, contained...)
		} else {
			current = startHeir(t, path)
		}
		current.await(t, "serving")
		wait(t, "the end of the old process", before.ended)
		assert.NoError(t, before.err)
		timeout, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		assert.NoError(t, newClient(t, path, client.WithWaitForServer(0)).Ping(timeout))
	}
	close(l.stop)
	l.callers.Wait()
	t.Logf("%d calls, %d failed, %d wrong", l.ok.Load(), l.failed.Load(), l.wrong.Load())
	assert.Zero(t, l.failed.Load(), "%q", l.failures)
	assert.Zero(t, l.wrong.Load(), "%q", l.wrongs)
	require.Greater(t, l.ok.Load(), int64(100))
}
