package server_test

import (
	"context"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// streaming is a server whose every action streams what the function yields.
func streaming(f func(ctx context.Context, yield func(any, error) bool)) *server.Server {
	return &server.Server{Handler: server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) { f(ctx, yield) }
	})}
}

// TestGatheredChunks: all chunks arrive, in order, whatever their size is and
// however fast they come.
func TestGatheredChunks(t *testing.T) {
	const n = 20_000
	value := func(i int) any {
		switch {
		case i%1000 == 500: // not gathered
			return strings.Repeat("x", 10<<10) + fmt.Sprint(i)
		case i%1000 == 700:
			return make([]byte, 200<<10)
		}
		return int64(i)
	}
	c := connect(t, streaming(func(_ context.Context, yield func(any, error) bool) {
		for i := range n {
			if i%997 == 0 {
				time.Sleep(100 * time.Microsecond) // longer than the pause that ends gathering
			}
			if !yield(value(i), nil) {
				return
			}
		}
	}))
	for range 2 {
		require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "s", nil, nil)))
		for i := range n {
			require.Equal(t, dirty.NewChunk(1, value(i)), receive(t, c))
		}
		require.Equal(t, dirty.NewEnd(1), receive(t, c))
	}
	usable(t, c)
}

// TestGatheredChunksAreNotHeld: a chunk arrives although no other one follows.
func TestGatheredChunksAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := streaming(func(ctx context.Context, yield func(any, error) bool) {
			for _, burst := range []int{1, 2, 3, 100} {
				for i := range burst {
					if !yield(i, nil) {
						return
					}
				}
				time.Sleep(time.Hour)
			}
		})
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(t.Context(), theirs) }()
		c := dirty.NewConn(ours)
		require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "s", nil, nil)))
		begin := time.Now()
		for hours, burst := range []int{1, 2, 3, 100} {
			for i := range burst {
				require.Equal(t, dirty.NewChunk(1, int64(i)), receive(t, c))
				require.Equal(t, time.Duration(hours)*time.Hour, time.Since(begin))
			}
		}
		require.Equal(t, dirty.NewEnd(1), receive(t, c))
		require.NoError(t, c.Close())
		require.NoError(t, <-served)
		require.NoError(t, s.Close())
	})
}

// TestGatheredChunksOnASocket: the first chunk, and each after a pause, arrive
// while the handler waits for the client's word.
func TestGatheredChunksOnASocket(t *testing.T) {
	seen := make(chan struct{})
	c := connect(t, streaming(func(ctx context.Context, yield func(any, error) bool) {
		for i := range 200 {
			for j := range i%3 + 1 { // one, or some at once
				if !yield(j, nil) {
					return
				}
			}
			select {
			case <-seen:
			case <-ctx.Done():
				return
			}
		}
	}))
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "s", nil, nil)))
	for i := range 200 {
		for j := range i%3 + 1 {
			require.Equal(t, dirty.NewChunk(1, int64(j)), receive(t, c))
		}
		seen <- struct{}{}
	}
	require.Equal(t, dirty.NewEnd(1), receive(t, c))
}

// TestGatheredChunksNobodyReads: the handler waits when 64 KiB wait, and is told
// when the client leaves.
func TestGatheredChunksNobodyReads(t *testing.T) {
	var yielded atomic.Int64
	ended := make(chan error, 1)
	c := connectTo(t, func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		w.Stream()
		w.GatherChunks()
		for {
			if err := w.Chunk("some chunk of a stream that nobody reads"); err != nil {
				ended <- err
				return err
			}
			yielded.Add(1)
		}
	})
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "s", nil, nil)))
	_ = receive(t, c)
	last := int64(-1)
	require.Eventually(t, func() bool {
		now := yielded.Load()
		defer func() { last = now }()
		return now == last
	}, time.Minute, 50*time.Millisecond)
	require.NoError(t, c.Close())
	assert.ErrorIs(t, <-ended, server.ErrClientGone)
	assert.Less(t, yielded.Load()*60, int64(2<<20))
}

// TestGatheredChunkNotEncodable: what came before it arrives, and then the error.
func TestGatheredChunkNotEncodable(t *testing.T) {
	c := connect(t, streaming(func(_ context.Context, yield func(any, error) bool) {
		for i := range 100 {
			yield(i, nil)
		}
		assert.False(t, yield(make(chan int), nil))
	}))
	require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, "s", nil, nil)))
	for i := range 100 {
		require.Equal(t, dirty.NewChunk(1, int64(i)), receive(t, c))
	}
	assert.Contains(t, failed(t, receive(t, c)).Message, "unsupported type")
	usable(t, c)
}

// BenchmarkChunks writes chunks of 20 bytes as fast as they go, one by one and
// gathered, to a client that only counts bytes.
func BenchmarkChunks(b *testing.B) {
	for _, gather := range []bool{false, true} {
		b.Run(map[bool]string{false: "one by one", true: "gathered"}[gather], func(b *testing.B) {
			path := filepath.Join(folder(b), "s")
			s := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
				w.Stream()
				if gather {
					w.GatherChunks()
				}
				for range r.Args[0].(int64) {
					if err := w.Chunk("chunk of 20 bytes..."); err != nil {
						return err
					}
				}
				return nil
			})}
			l, err := server.Listen(path, 0)
			require.NoError(b, err)
			go func() { _ = s.Serve(l) }()
			defer s.Close()
			c := dial(b, path)
			b.ResetTimer()
			require.NoError(b, c.WriteMessage(dirty.NewRequest(1, app, "s", []any{b.N}, nil)))
			buf := make([]byte, 0, 1<<10)
			for {
				f, err := c.ReadFrameInto(buf)
				require.NoError(b, err)
				if f.Type == dirty.TypeEnd {
					break
				}
			}
		})
	}
}
