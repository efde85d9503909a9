package client_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// TestDial: the connection is to whoever listens at the path, but with a pid file only
// to its process.
func TestDial(t *testing.T) {
	folder := shortTempDir(t)
	path := filepath.Join(folder, "arbiter.sock")
	byPIDFile := client.FromPIDFile(pidFile(t, strconv.Itoa(startListener(t, folder, path))))
	byPath := func(context.Context) (string, error) { return path, nil }
	for _, r := range []client.Resolver{byPath, byPIDFile} {
		nc, err := client.Dial(t.Context(), r)
		require.NoError(t, err)
		assert.IsType(t, &net.UnixConn{}, nc)
		require.NoError(t, nc.Close())
	}

	require.NoError(t, os.Remove(path))
	thief := &scriptedPeer{path: path, serve: func(net.Conn) {}}
	thief.listen(t)
	t.Cleanup(thief.stop)
	_, err := client.Dial(t.Context(), byPIDFile)
	require.ErrorIs(t, err, client.ErrUnavailable)
	require.ErrorContains(t, err, "somebody else")
	nc, err := client.Dial(t.Context(), byPath)
	require.NoError(t, err)
	require.NoError(t, nc.Close())

	boom := errors.New("boom")
	_, err = client.Dial(t.Context(), func(context.Context) (string, error) { return "", boom })
	require.ErrorIs(t, err, boom)
	_, err = client.Dial(t.Context(), func(context.Context) (string, error) { return filepath.Join(folder, "none"), nil })
	require.ErrorIs(t, err, fs.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Dial(ctx, byPath)
	require.ErrorIs(t, err, context.Canceled)
}
