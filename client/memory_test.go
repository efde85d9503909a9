package client_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pointsIntoItself copies what it keeps, and keeps it in itself.
type pointsIntoItself struct {
	buf  [64]byte
	text []byte
}

func (v *pointsIntoItself) UnmarshalTLV(data []byte) error {
	var s string
	if err := dirty.Unmarshal(data, &s); err != nil {
		return err
	}
	v.text = append(v.buf[:0], s...)
	return nil
}

// TestChunksOfTheirOwn: a chunk that refers to what it was decoded into is not
// overwritten by the next.
func TestChunksOfTheirOwn(t *testing.T) {
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		for _, text := range []string{"hello", "world"} {
			if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), text)); err != nil {
				return err
			}
		}
		return c.WriteMessage(dirty.NewEnd(m.RequestID()))
	}))
	c := p.client(t)
	var kept []pointsIntoItself
	for v, err := range client.StreamOf[pointsIntoItself](context.Background(), c, app, "s") {
		require.NoError(t, err)
		kept = append(kept, v)
	}
	require.Len(t, kept, 2)
	assert.Equal(t, "hello", string(kept[0].text))
	assert.Equal(t, "world", string(kept[1].text))

	s, err := c.OpenStream(context.Background(), app, "s")
	require.NoError(t, err)
	defer s.Close()
	v, err := client.RecvOf[pointsIntoItself](s)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(v.text))
}

// TestBytesKeepOnlyThemselves: bytes do not keep the shared memory of a larger
// reply alive.
func TestBytesKeepOnlyThemselves(t *testing.T) {
	list := make([]int64, 110_000)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if m.(*dirty.Request).Action == "list" {
			return c.WriteMessage(dirty.NewResponse(m.RequestID(), list))
		}
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), make([]byte, 64<<10)))
	}))
	c := p.client(t, client.WithMaxConns(1))
	before := liveHeap()
	var kept [][]byte
	for range 50 {
		_, err := client.Call[[]int64](context.Background(), c, app, "list")
		require.NoError(t, err)
		b, err := client.Call[[]byte](context.Background(), c, app, "bytes")
		require.NoError(t, err)
		kept = append(kept, b)
	}
	assert.Less(t, liveHeap()-before, int64(3*50*64<<10), "of 50 times 64 KiB")
	runtime.KeepAlive(kept)
}

func liveHeap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
