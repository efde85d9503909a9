package cluster_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/require"
)

// way is a way to a Go server.
type way struct {
	name   string
	client *client.Client
}

// startWays starts the three ways to a Go server: its own socket, a front in this
// process, and the socket of a front. TLS is on.
func startWays(tb testing.TB) []way {
	ca := newAuthority(tb)
	mux := newMux("gpu1")
	mux.Handle(app, "blocks", server.HandlerFunc(streamBlocks))
	h := startHost(tb, "gpu1", mux, cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 8})
	front, direct := startFront(tb, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	socket := filepath.Join(folder(tb), "front")
	startArbiter(tb, socket, &server.Server{FrameHandler: front})
	awaitUp(tb, front, 1)
	return []way{{"own", dialSocket(tb, h.path)}, {"front", direct}, {"socket", dialSocket(tb, socket)}}
}

// BenchmarkCluster compares the ways.
func BenchmarkCluster(b *testing.B) {
	ways := startWays(b)
	ctx := context.Background()
	for _, test := range []struct {
		name string
		call func(b *testing.B, c *client.Client)
	}{
		{"small", func(b *testing.B, c *client.Client) {
			_, err := c.Execute(ctx, app, "host")
			require.NoError(b, err)
		}},
		{"16MiB", func(b *testing.B, c *client.Client) {
			_, err := client.Call[[]any](ctx, c, app, "echo", large)
			require.NoError(b, err)
		}},
		{"stream64KiB", func(b *testing.B, c *client.Client) { readBlocks(b, c, 64<<10, 1000) }},
		{"stream16B", func(b *testing.B, c *client.Client) { readBlocks(b, c, 16, 10000) }},
	} {
		for _, way := range ways {
			b.Run(test.name+"/"+way.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					test.call(b, way.client)
				}
			})
		}
	}
}

// large is an argument of 16 MiB, more than the buffers of all sockets on its way. With much
// more a very busy machine may take longer than a front waits for word from an agent.
var large = make([]byte, 16<<20)

// dialSocket returns a client of a socket.
func dialSocket(tb testing.TB, path string) *client.Client {
	tb.Helper()
	c, err := client.New(client.WithSocket(path))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// streamBlocks streams blocks of a size.
func streamBlocks(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
	size, n := r.Args[0].(int64), r.Args[1].(int64)
	block := make([]byte, size)
	w.GatherChunks()
	for range n {
		if err := w.Chunk(block); err != nil {
			return err
		}
	}
	return nil
}

// readBlocks reads blocks of a size.
func readBlocks(tb testing.TB, c *client.Client, size, n int) {
	got := 0
	for block, err := range client.StreamOf[[]byte](context.Background(), c, app, "blocks", size, n) {
		require.NoError(tb, err)
		require.Len(tb, block, size)
		got++
	}
	require.Equal(tb, n, got)
}
