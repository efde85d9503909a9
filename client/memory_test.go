package client_test

import (
	"bytes"
	"context"
	"fmt"
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

// TestArgumentsAreNotKept: once a request is written its connection does not keep the
// arguments.
func TestArgumentsAreNotKept(t *testing.T) {
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if m.(*dirty.Request).Action == "stream" {
			return c.WriteMessage(dirty.NewChunk(m.RequestID(), true)) // and no end
		}
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), true))
	}))
	c, ctx := p.client(t), context.Background()
	const size = 8 << 20
	before := liveHeap()

	_, err := c.Execute(ctx, app, "call", make([]byte, size))
	require.NoError(t, err)
	assert.Less(t, liveHeap()-before, int64(size/2), "after a call")

	s, err := c.OpenStream(ctx, app, "stream", make([]byte, size))
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Recv()
	require.NoError(t, err)
	assert.Less(t, liveHeap()-before, int64(size/2), "in a stream")
}

func liveHeap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestKeptAtEachSize: what was decoded stays as it is when the next frames come,
// around the sizes at which memory is kept, shared, or given away.
func TestKeptAtEachSize(t *testing.T) {
	var sizes []int
	for _, n := range []int{4 << 10, 32 << 10, 64 << 10, 1 << 20} {
		sizes = append(sizes, n-1, n, n+1)
	}
	type values struct {
		Bytes []byte
		Raw   dirty.RawValue
		Any   any
	}
	value := func(size int, fill byte) map[string]any {
		data := bytes.Repeat([]byte{fill}, size)
		return map[string]any{"Bytes": data, "Raw": data, "Any": data}
	}
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		r := m.(*dirty.Request)
		size, alone := int(r.Args[0].(int64)), r.Args[1].(bool)
		send := func(fill byte) any {
			if alone {
				return bytes.Repeat([]byte{fill}, size)
			}
			return value(size, fill)
		}
		if r.Action == "call" {
			return c.WriteMessage(dirty.NewResponse(r.ID, send(byte(r.Args[2].(int64)))))
		}
		for i := range 3 {
			if err := c.WriteMessage(dirty.NewChunk(r.ID, send(byte(i)))); err != nil {
				return err
			}
		}
		return c.WriteMessage(dirty.NewEnd(r.ID))
	}))
	for name, ahead := range aheads {
		c := p.client(t, client.WithReadAhead(ahead))
		for _, size := range sizes {
			t.Run(fmt.Sprint(name, "/", size), func(t *testing.T) {
				ctx := context.Background()
				var alone [][]byte
				var structs []values
				for i := range 3 {
					b, err := client.Call[[]byte](ctx, c, app, "call", size, true, i)
					require.NoError(t, err)
					v, err := client.Call[values](ctx, c, app, "call", size, false, i)
					require.NoError(t, err)
					alone, structs = append(alone, b), append(structs, v)
				}
				chunks, err := collect(client.StreamOf[[]byte](ctx, c, app, "stream", size, true))
				require.NoError(t, err)
				records, err := collect(client.StreamOf[values](ctx, c, app, "stream", size, false))
				require.NoError(t, err)
				alone, structs = append(alone, chunks...), append(structs, records...)
				require.Len(t, alone, 6)
				require.Len(t, structs, 6)
				for i := range 6 {
					want := bytes.Repeat([]byte{byte(i % 3)}, size)
					require.True(t, bytes.Equal(want, alone[i]), i)
					require.True(t, bytes.Equal(want, structs[i].Bytes), i)
					require.True(t, bytes.Equal(encoded(want), structs[i].Raw), i)
					require.True(t, bytes.Equal(want, structs[i].Any.([]byte)), i)
				}
			})
		}
	}
	assert.Equal(t, len(aheads), p.connections(), "one each, so that the memory was used again")
}
