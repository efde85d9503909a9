package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// timeout bounds what takes no time on an idle machine.
const timeout = 2 * time.Minute

func newContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func TestStart(t *testing.T) {
	for _, nodes := range []int{0, 1, 3} {
		servers, err := embedded.Start(embedded.Options{Nodes: nodes})
		require.NoError(t, err)
		t.Cleanup(servers.Close)
		nc, err := nats.Connect(servers.URL(), nats.Timeout(timeout))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		kv, err := js.CreateKeyValue(newContext(t), jetstream.KeyValueConfig{Bucket: "b", Replicas: max(nodes, 1)})
		require.NoError(t, err)
		_, err = kv.PutString(newContext(t), "k", "v")
		require.NoError(t, err)
		assert.EqualValues(t, 1<<20, nc.MaxPayload())
	}
}

// TestDataStays checks that a node keeps its data and its port, and that nobody without
// the token gets in.
func TestDataStays(t *testing.T) {
	dir := t.TempDir()
	servers, err := embedded.Start(embedded.Options{Dir: dir, MaxPayload: 2 << 20})
	require.NoError(t, err)
	t.Cleanup(servers.Close)
	reconnected := make(chan struct{}, 1)
	nc, err := nats.Connect(servers.URL(), nats.Timeout(timeout), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1),
		nats.ReconnectHandler(func(*nats.Conn) { reconnected <- struct{}{} }))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	assert.EqualValues(t, 2<<20, nc.MaxPayload())
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	kv, err := js.CreateKeyValue(newContext(t), jetstream.KeyValueConfig{Bucket: "b"})
	require.NoError(t, err)
	_, err = kv.PutString(newContext(t), "k", "v")
	require.NoError(t, err)

	url := servers.URL()
	require.NoError(t, servers.StopNode(0))
	require.NoError(t, servers.StopNode(0), "it is stopped already")
	require.NoError(t, servers.StartNode(0))
	require.NoError(t, servers.StartNode(0), "it runs already")
	assert.Equal(t, url, servers.URL())
	<-reconnected
	entry, err := kv.Get(newContext(t), "k")
	require.NoError(t, err)
	assert.Equal(t, "v", string(entry.Value()))

	_, err = nats.Connect(nc.ConnectedAddr(), nats.Timeout(timeout))
	assert.ErrorIs(t, err, nats.ErrAuthorization)

	servers.Close()
	servers.Close()
	assert.DirExists(t, filepath.Join(dir, "node1"), "a folder of the caller's is not removed")
}

func TestTemporaryFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	servers, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1)
	servers.Close()
	files, err = os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, files)
}

func TestBadOptions(t *testing.T) {
	for _, options := range []embedded.Options{{Nodes: -1}, {Nodes: embedded.MaxNodes + 1}, {MaxPayload: -1}, {Dir: "/dev/null/x"}} {
		_, err := embedded.Start(options)
		assert.ErrorContains(t, err, "embedded: ", "%+v", options)
	}
	servers, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(servers.Close)
	for _, node := range []int{-1, 1} {
		assert.ErrorContains(t, servers.StartNode(node), "there is no node")
		assert.ErrorContains(t, servers.StopNode(node), "there is no node")
		assert.Empty(t, servers.NodeURL(node))
	}
}
