//go:build unix

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// childVariable is the environment variable that makes this program act as the child
// of a dirty worker. TestMain looks at it.
const childVariable = "DIRTY_INTEROP_CHILD"

// childOfWorker calls the arbiter of the worker that has started this program. It
// finds it by the environment.
func childOfWorker() int {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	c, err := client.New()
	if err != nil {
		fmt.Println(err)
		return 0
	}
	defer c.Close()
	got, err := client.Call[string](ctx, c, app, "identity", "found it")
	fmt.Print(got, err)
	return 0
}

// TestClientFoundByEnvironment: a Go program that a worker starts needs no address.
func TestClientFoundByEnvironment(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	eachPath(t, options{Workers: 2}, func(t *testing.T, g *gunicorn) { // two: one waits for its child
		g.awaitWorkers(t, 2)
		c := g.client(t, client.WithSocket(g.address()))
		got, err := c.Execute(t.Context(), app, "run", []string{program}, map[string]string{childVariable: "1"})
		require.NoError(t, err)
		assert.Equal(t, "found it<nil>", got)
	})
}

// TestClientFoundByPIDFile: the pid file leads to the socket, wherever that is.
func TestClientFoundByPIDFile(t *testing.T) {
	onLinux(t)
	eachPath(t, options{}, func(t *testing.T, g *gunicorn) {
		// gunicorn has another folder for temporary files than the tests.
		assert.Equal(t, filepath.Base(g.pidFile()), filepath.Base(client.PIDFileName(filepath.Base(g.folder))))
		c := g.client(t, client.WithResolver(client.FromPIDFile(g.pidFile())))
		requireServes(t, c)
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, g.arbiterPID(t), status.ArbiterPID)
	})
}

// eachPath is eachFresh, once with the socket where the hook puts it and once with
// the socket where gunicorn puts it.
func eachPath(t *testing.T, o options, test func(t *testing.T, g *gunicorn)) {
	t.Run("fixed path", func(t *testing.T) { eachFresh(t, o, test) })
	o.OwnPath = true
	t.Run("own path", func(t *testing.T) { eachFresh(t, o, test) })
}

// TestClientFoundByLink: a link leads to the socket, wherever gunicorn puts it.
func TestClientFoundByLink(t *testing.T) {
	eachFresh(t, options{OwnPath: true}, func(t *testing.T, g *gunicorn) {
		require.NoError(t, os.Symlink(g.address(), g.socket))
		requireServes(t, g.client(t))
	})
}
