//go:build unix

package interop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	goserver "github.com/gunicorn-go/dirty/server"
)

// forwarder forwards all frames, as the example of server.FrameHandler does.
type forwarder struct{ to *client.Client }

func (h forwarder) ServeFrame(ctx context.Context, w *goserver.ResponseWriter, f dirty.Frame) error {
	err := h.to.Forward(ctx, f, w.Frame)
	if errors.Is(err, client.ErrOutcomeUnknown) {
		panic(goserver.ErrAbortHandler)
	}
	return err
}

// forwarded starts a forwarder to this server, and returns its socket.
func (g *gunicorn) forwarded(t *testing.T) (near string) {
	t.Helper()
	near = filepath.Join(shortFolder(t), "near.sock")
	l, err := goserver.Listen(near, 0)
	require.NoError(t, err)
	s := &goserver.Server{FrameHandler: forwarder{g.client(t)}}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, goserver.ErrServerClosed)
	})
	return near
}

// callWithPython runs forwarder.py.
func (g *gunicorn) callWithPython(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(newLongContext(t), g.python.path, append([]string{"-B", "forwarder.py"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestForwarder checks that gunicorn's own clients see the same through a forwarder as
// without it: values, the order of keyword arguments, large payloads, errors, streams,
// the stash.
func TestForwarder(t *testing.T) {
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		direct := g.callWithPython(t, g.address(), "calls")
		require.Contains(t, direct, `{'args': [], 'kwargs': {'z': 1, 'a': 2, 'm': 3, '': 4, 'b': {'z': 1, 'a': 2}}}`)
		require.Contains(t, direct, `"DirtyAppError"`)
		require.Contains(t, direct, "20971520 bytes")
		assert.Equal(t, direct, g.callWithPython(t, g.forwarded(t), "calls"))
	})
}

// eachNewest is eachFresh with the newest release. The forwarder does not depend on it.
func eachNewest(t *testing.T, test func(t *testing.T, g *gunicorn)) {
	eachOf(t, newestPythons(), func(t *testing.T, p python) { test(t, fresh(t, p, options{})) })
}

// TestForwarderStatusAndManage checks the messages for which gunicorn has no client.
func TestForwarderStatusAndManage(t *testing.T) {
	eachNewest(t, func(t *testing.T, g *gunicorn) {
		c, err := client.New(client.WithSocket(g.forwarded(t)))
		require.NoError(t, err)
		defer c.Close()
		ctx := newLongContext(t)
		status, err := c.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, g.arbiterPID(t), status.ArbiterPID)
		assert.Len(t, status.Workers, 1)
		scaled, err := c.AddWorkers(ctx, 1)
		require.NoError(t, err)
		assert.Equal(t, 2, scaled.Total)
		assert.Equal(t, int64(2), g.dial(t).status()["worker_count"], "asked without the forwarder")
		scaled, err = c.RemoveWorkers(ctx, 1)
		require.NoError(t, err)
		assert.Equal(t, 1, scaled.Changed)
	})
}

// TestForwarderLeaves checks that a client which leaves a stream in its middle ends it
// in the worker, too.
func TestForwarderLeaves(t *testing.T) {
	eachNewest(t, func(t *testing.T, g *gunicorn) {
		own := token(t)
		out := g.callWithPython(t, g.forwarded(t), "leave", own)
		assert.Equal(t, "[0,1,2]", strings.Join(strings.Fields(out), ""))
		g.events.await(t, "left "+own)
	})
}

// TestForwarderAborts checks that the end of the arbiter in a call looks to gunicorn's
// client as it does without a forwarder: its outcome is not known.
func TestForwarderAborts(t *testing.T) {
	eachNewest(t, func(t *testing.T, g *gunicorn) {
		near := g.forwarded(t)
		outcomes := map[string]string{}
		for _, socket := range []string{g.address(), near} {
			own := token(t)
			done := make(chan string, 1)
			go func() { done <- g.callWithPython(t, socket, "hold", own) }()
			g.events.await(t, "begin "+own)
			require.NoError(t, syscall.Kill(g.arbiterPID(t), syscall.SIGKILL))
			outcomes[socket] = <-done
			until(t, "the arbiter is there again", func() bool { return g.ping() == nil })
		}
		assert.Equal(t, outcomes[g.address()], outcomes[near])
		assert.Contains(t, outcomes[near], "DirtyProtocolError", "what it says when an answer ends too early")
		assert.Contains(t, g.callWithPython(t, near, "leave", token(t)), "2", "the forwarder forwards again")
	})
}
