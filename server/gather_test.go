package server_test

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
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

// TestGatheredChunksOverOddConnections: whatever Write of a connection does while
// gathered chunks are written, the process lives, the handler hears of it at once,
// and nothing is left.
func TestGatheredChunksOverOddConnections(t *testing.T) {
	for name, write := range map[string]func() (int, error){
		"panics":              func() (int, error) { panic("the reason") },
		"goexits":             func() (int, error) { runtime.Goexit(); return 0, nil },
		"is short":            func() (int, error) { return 1, nil },
		"fails":               func() (int, error) { return 0, errBoom },
		"returns -1":          func() (int, error) { return -1, nil },
		"returns a typed nil": func() (int, error) { return 0, (*usercodetest.NilError)(nil) },
		"an error that panics, Is": func() (int, error) {
			return 0, usercodetest.BadError{Method: "Is", Fail: func() { panic("the reason") }}
		},
		"an error that exits, Is": func() (int, error) { return 0, usercodetest.BadError{Method: "Is", Fail: runtime.Goexit} },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := streaming(func(ctx context.Context, yield func(any, error) bool) {
				var err error
				defer func() { ended <- err }() // also if the write was not gathered, and ended this goroutine
				for i := 0; i < 3 && yield(i, nil); i++ {
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
					err = errBoom
				}
			})
			ours, theirs := net.Pipe()
			writes := 0
			c := &usercodetest.OddConn{Conn: theirs}
			c.OnWrite = func(b []byte) (int, error) {
				if writes++; writes == 1 {
					return theirs.Write(b) // of its own goroutine
				}
				return write()
			}
			served := make(chan error, 1)
			go func() {
				defer close(served)
				served <- s.ServeConn(ctx, c)
			}()
			require.NoError(t, dirty.WriteMessage(ours, dirty.NewRequest(1, app, "s", nil, nil)))
			_, err := dirty.ReadMessage(ours)
			require.NoError(t, err)
			require.NoError(t, wait(t, "the end of the handler's context", ended))
			wait(t, "ServeConn", served)
			require.NoError(t, s.Shutdown(within(t, time.Minute)))
			noGoroutines(t)
		})
	}
}

// TestGatheredChunksNotRead: a client that does not read ends the context of a
// handler that waits after its chunks.
func TestGatheredChunksNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 1)
		s := streaming(func(ctx context.Context, yield func(any, error) bool) {
			for i := 0; i < 3 && yield(i, nil); i++ {
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
		})
		s.WriteTimeout = 10 * time.Second
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(t.Context(), theirs) }()
		require.NoError(t, dirty.WriteMessage(ours, dirty.NewRequest(1, app, "s", nil, nil)))
		begin := time.Now()
		_, err := dirty.ReadMessage(ours) // the first chunk, but not the next
		require.NoError(t, err)
		assert.ErrorIs(t, <-causes, os.ErrDeadlineExceeded)
		assert.LessOrEqual(t, time.Since(begin), 15*time.Second)
		<-served
		_ = ours.Close()
	})
}
