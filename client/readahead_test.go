package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadAheadBound: how far a peer can write ahead of a caller who does not
// read; payloads without a byte count as well.
func TestReadAheadBound(t *testing.T) {
	const window = 64 << 10 // what a connection buffers, at most
	chunk := func(size int) func(id uint64) []byte {
		return func(id uint64) []byte { return frames(dirty.NewChunk(id, make([]byte, size))) }
	}
	empty := func(id uint64) []byte { return rawFrame(dirty.TypeChunk, id, nil) }
	for _, tt := range []struct {
		name     string
		ahead    int
		frame    func(id uint64) []byte
		min, max int // bytes
	}{
		{"off", 0, chunk(10_000), 0, 2 * window},
		{"a byte", 1, chunk(10_000), 10_000, 2*window + 10_100},
		{"100 kB", 100_000, chunk(10_000), 100_000, 100_000 + 10_100 + 2*window},
		{"1 MB", 1_000_000, chunk(200_000), 1_000_000, 1_000_000 + 2*200_100 + window},
		{"empty payloads", 64_000, empty, 16 * 64_000 / 80, 16*64_000/64 + 16 + 2*window},
		{"empty payloads, off", 0, empty, 0, 2 * window},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var written, frames atomic.Int64
				p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					b := tt.frame(m.RequestID())
					for {
						n, err := c.NetConn().Write(b)
						written.Add(int64(n))
						frames.Add(1)
						if err != nil {
							return err
						}
					}
				}))
				c := p.client(t, client.WithReadAhead(tt.ahead))
				s, err := c.OpenStream(context.Background(), app, "x")
				require.NoError(t, err)
				synctest.Wait() // until the peer can write no more
				assert.GreaterOrEqual(t, int(written.Load()), tt.min)
				assert.LessOrEqual(t, int(written.Load()), tt.max)

				// Who reads goes on, and so does the peer.
				before := frames.Load()
				for range 2 * before {
					_, err := s.Recv()
					require.NoError(t, err)
				}
				synctest.Wait()
				assert.GreaterOrEqual(t, frames.Load(), 2*before)
				require.NoError(t, s.Close())
			})
		})
	}
}

// TestReadAheadFreesThePeer: a stream that fits is sent whole before anybody
// reads it.
func TestReadAheadFreesThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Bool
		p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			for i := range 1000 {
				if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), i)); err != nil {
					return err
				}
			}
			defer sent.Store(true)
			return c.WriteMessage(dirty.NewEnd(m.RequestID()))
		}))
		c := p.client(t, client.WithReadAhead(1<<20))
		s, err := c.OpenStream(context.Background(), app, "x")
		require.NoError(t, err)
		synctest.Wait()
		assert.True(t, sent.Load())
		n := 0
		for v, err := range s.All() {
			require.NoError(t, err)
			require.EqualValues(t, n, v)
			n++
		}
		assert.Equal(t, 1000, n)
		assert.Equal(t, 1, c.Stats().Idle)
	})
}
