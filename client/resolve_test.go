package client_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEmptyPath: an empty path is refused.
func TestEmptyPath(t *testing.T) {
	c := newClient(t, client.WithSocket(""))
	assert.ErrorIs(t, c.Ping(context.Background()), client.ErrNoSocket)
}

// TestPathIsALink: each dial follows the link anew, so that it can be moved.
func TestPathIsALink(t *testing.T) {
	old, next := newPeer(t, answering(arbiter)), newPeer(t, answering(arbiter))
	link := filepath.Join(shortTempDir(t), "link")
	require.NoError(t, os.Symlink(old.path, link))
	c := newClient(t, client.WithSocket(link), client.WithMaxIdle(0, 0))
	require.NoError(t, c.Ping(context.Background()))
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(next.path, link))
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, 1, old.connections())
	assert.Equal(t, 1, next.connections())
}

// TestEnv: the variable is read at each dial.
func TestEnv(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	t.Setenv(client.EnvSocket, "")
	c := newClient(t, client.WithMaxIdle(0, 0)) // it is the default
	err := c.Ping(context.Background())
	require.ErrorIs(t, err, client.ErrNoSocket)
	assert.Contains(t, err.Error(), "GUNICORN_DIRTY_SOCKET")
	assert.Contains(t, err.Error(), "WithSocket")
	t.Setenv("GUNICORN_DIRTY_SOCKET", p.path)
	require.NoError(t, c.Ping(context.Background()))
	path, err := client.FromEnv()(context.Background())
	require.NoError(t, err)
	assert.Equal(t, p.path, path)

	other := newPeer(t, answering(arbiter))
	require.NoError(t, other.client(t).Ping(context.Background()), "an option comes first")
	assert.Equal(t, 1, other.connections())
}

// TestResolver: it is called at each dial, with a deadline, and the caller gets
// its errors.
func TestResolver(t *testing.T) {
	calls := 0
	p := newPeer(t, answering(arbiter))
	c := newClient(t, client.WithMaxIdle(0, 0), client.WithResolver(func(ctx context.Context) (string, error) {
		if calls++; calls == 2 {
			return "", errLeft
		}
		_, bounded := ctx.Deadline()
		assert.True(t, bounded)
		return p.path, nil
	}))
	require.NoError(t, c.Ping(context.Background()))
	assert.ErrorIs(t, c.Ping(context.Background()), errLeft)
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, 3, calls)
}

// TestPIDFileName: the name is the one that gunicorn makes.
func TestPIDFileName(t *testing.T) {
	t.Setenv("TMPDIR", "/somewhere")
	for name, want := range map[string]string{
		"app:wsgi":      "/somewhere/gunicorn-dirty-app:wsgi.pid",
		"my site/admin": "/somewhere/gunicorn-dirty-my_site_admin.pid",
	} {
		assert.Equal(t, want, filepath.ToSlash(client.PIDFileName(name)))
	}
}
