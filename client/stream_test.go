package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// aheads are ways of reading streams.
var aheads = map[string]int{"": 0, "a little ahead": 1, "ahead": 1 << 20}

// endless sends chunks until it fails.
func endless(c *dirty.Conn, m dirty.Message) error {
	for i := 0; ; i++ {
		if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), i)); err != nil {
			return err
		}
	}
}

// TestRecv: chunk by chunk, of any types, and io.EOF at the end and after it.
func TestRecv(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answering(arbiter))
			c := p.client(t, client.WithReadAhead(ahead))
			for range 2 {
				s, err := c.OpenStream(context.Background(), app, "count", 1, "two", []any{3}, nil)
				require.NoError(t, err)
				n, err := client.RecvOf[int](s)
				require.NoError(t, err)
				assert.Equal(t, 1, n)
				text, err := client.RecvOf[string](s)
				require.NoError(t, err)
				assert.Equal(t, "two", text)
				list, err := s.Recv()
				require.NoError(t, err)
				assert.Equal(t, []any{int64(3)}, list)
				none, err := client.RecvOf[*int](s)
				require.NoError(t, err)
				assert.Nil(t, none)
				for range 3 {
					_, err = s.Recv()
					assert.True(t, err == io.EOF, "%v: as it is, as of any reader", err)
				}
				require.NoError(t, s.Close())
				_, err = s.Recv()
				assert.True(t, err == io.EOF, "the end was before")
				assert.Equal(t, 1, c.Stats().Idle, "the connection is free")
			}
			assert.Equal(t, 1, p.connections())
		})
	}
}

// TestStreamIsLazy: nothing is sent before the loop begins.
func TestStreamIsLazy(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	seq := c.Stream(context.Background(), app, "count", 1)
	assert.Zero(t, p.connections())
	assert.Zero(t, c.Stats().Calls)
	got, err := collect(seq)
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1)}, got)
}

// TestSecondRange: a sequence can be used once, whether the first use came to the
// end or not.
func TestSecondRange(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	second := func(got []any, err error) {
		t.Helper()
		assert.Empty(t, got)
		require.ErrorIs(t, err, client.ErrStreamUsed)
		requireOp(t, err, client.StagePrepare, false)
		assert.False(t, isUnknown(err))
		assert.False(t, client.SafeToRetry(err))
	}
	for _, leave := range []bool{false, true} {
		seq := c.Stream(context.Background(), app, "count", 1, 2)
		for range seq {
			if leave {
				break
			}
		}
		second(collect(seq))
		second(collect(seq))

		s, err := c.OpenStream(context.Background(), app, "count", 1, 2)
		require.NoError(t, err)
		for range s.All() {
			if leave {
				break
			}
		}
		second(collect(s.All()))
	}
	assert.EqualValues(t, 4, c.Stats().Calls)
}

// TestRecvThenAll: the rest.
func TestRecvThenAll(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	s, err := p.client(t).OpenStream(context.Background(), app, "count", 1, 2, 3)
	require.NoError(t, err)
	_, err = s.Recv()
	require.NoError(t, err)
	got, err := collect(s.All())
	require.NoError(t, err)
	assert.Equal(t, []any{int64(2), int64(3)}, got)
}

// TestLeaveStream: leaving the loop in any way closes the connection, which is
// what stops the action.
func TestLeaveStream(t *testing.T) {
	for how, leave := range map[string]func(c *client.Client, ctx context.Context){
		"break": func(c *client.Client, ctx context.Context) {
			for range c.Stream(ctx, app, "x") {
				break
			}
		},
		"panic": func(c *client.Client, ctx context.Context) {
			defer func() { _ = recover() }()
			for range c.Stream(ctx, app, "x") {
				panic("in the loop")
			}
		},
		"exit": func(c *client.Client, ctx context.Context) {
			done := async(func() error {
				func() {
					for range c.Stream(ctx, app, "x") {
						return
					}
				}()
				return nil
			})
			<-done
		},
		"close": func(c *client.Client, ctx context.Context) {
			s, err := c.OpenStream(ctx, app, "x")
			if err == nil {
				_ = s.Close()
				_ = s.Close()
			}
		},
		"break of all": func(c *client.Client, ctx context.Context) {
			s, err := c.OpenStream(ctx, app, "x")
			if err == nil {
				for range s.All() {
					break
				}
			}
		},
		"a chunk of another type": func(c *client.Client, ctx context.Context) {
			_, _ = collect(client.StreamOf[string](ctx, c, app, "x"))
		},
	} {
		for name, ahead := range aheads {
			t.Run(how+"/"+name, func(t *testing.T) {
				p := newPeer(t, answering(endless))
				c := p.client(t, client.WithReadAhead(ahead), client.WithMaxConns(1))
				for i := range 3 { // the place is free again
					leave(c, context.Background())
					await(t, "the peer sees it", func() bool { return p.open() == 0 })
					s := c.Stats()
					assert.Zero(t, s.InUse+s.Idle)
					assert.Equal(t, client.ClosedStats{Cancel: uint64(i + 1)}, s.Closed)
				}
			})
		}
	}
}

// TestCloseWhileReading: Close may come from anywhere, and ends a Recv that
// waits.
func TestCloseWhileReading(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, mute)
			c := p.client(t, client.WithReadAhead(ahead))
			for range 20 {
				s, err := c.OpenStream(context.Background(), app, "x")
				require.NoError(t, err)
				done := async(func() error {
					_, err := s.Recv()
					return err
				})
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { assert.NoError(t, s.Close()) })
				}
				wg.Wait()
				err = receive(t, "Recv", done)
				require.ErrorIs(t, err, client.ErrStreamClosed)
				requireOp(t, err, client.StageRead, true)
				_, err = s.Recv()
				assert.ErrorIs(t, err, client.ErrStreamClosed)
				got, err := collect(s.All())
				assert.Empty(t, got)
				assert.ErrorIs(t, err, client.ErrStreamClosed)
			}
			requireQuiet(t, c)
			assert.Zero(t, c.Stats().Idle)
		})
	}
}

// TestCloseWhileChunksCome: whichever comes first, Recv and Close do not
// disturb each other.
func TestCloseWhileChunksCome(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				for i := range 20 {
					if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), i)); err != nil {
						return err
					}
				}
				return c.WriteMessage(dirty.NewEnd(m.RequestID()))
			}))
			c := p.client(t, client.WithReadAhead(ahead))
			for range 100 {
				s, err := c.OpenStream(context.Background(), app, "x")
				require.NoError(t, err)
				done := async(func() error {
					for i := 0; ; i++ {
						n, err := client.RecvOf[int](s)
						if err != nil {
							return err
						}
						assert.Equal(t, i, n)
					}
				})
				go s.Close()
				if err := receive(t, "Recv", done); err != io.EOF {
					require.ErrorIs(t, err, client.ErrStreamClosed)
				}
			}
		})
	}
}

// TestChunkOfAnotherType: it is lost, and the stream goes on; a loop ends there.
func TestChunkOfAnotherType(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answering(arbiter))
			c := p.client(t, client.WithReadAhead(ahead))
			s, err := c.OpenStream(context.Background(), app, "count", 1, "two", 3)
			require.NoError(t, err)
			n, err := client.RecvOf[int](s)
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			_, err = client.RecvOf[int](s)
			requireOp(t, err, client.StageDecode, true)
			var wrong *dirty.UnmarshalTypeError
			require.ErrorAs(t, err, &wrong)
			assert.False(t, isUnknown(err))
			n, err = client.RecvOf[int](s)
			require.NoError(t, err)
			assert.Equal(t, 3, n)
			_, err = s.Recv()
			assert.Equal(t, io.EOF, err)
			assert.Equal(t, 1, c.Stats().Idle)

			got, err := collect(client.StreamOf[int](context.Background(), c, app, "count", 1, "two", 3))
			assert.Equal(t, []int{1}, got)
			requireOp(t, err, client.StageDecode, true)
		})
	}
}

// TestBrokenChunk: a payload that cannot be decoded is like one of another type:
// its frame was read whole.
func TestBrokenChunk(t *testing.T) {
	for _, tt := range badPayloads {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte {
				b := frames(dirty.NewChunk(id, 1))
				b = append(b, rawFrame(dirty.TypeChunk, id, tt.payload)...)
				return append(b, frames(dirty.NewChunk(id, 3), dirty.NewEnd(id))...)
			}))
			c := p.client(t)
			s, err := c.OpenStream(context.Background(), app, "x")
			require.NoError(t, err)
			defer s.Close()
			for _, ok := range []bool{true, false, true} {
				_, err := client.RecvOf[int](s)
				if ok {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, tt.want)
				requireOp(t, err, client.StageDecode, true)
			}
			_, err = s.Recv()
			assert.Equal(t, io.EOF, err)
			requireServes(t, c)
			assert.Equal(t, 1, p.connections())
		})
	}
}

// TestChunkPayload: what a chunk may be, besides what gunicorn sends, and an end.
func TestChunkPayload(t *testing.T) {
	p := newPeer(t, sendingOnce(func(id uint64) []byte {
		b := rawFrame(dirty.TypeChunk, id, nil)
		b = append(b, rawFrame(dirty.TypeChunk, id, encoded(map[string]any{}))...)
		b = append(b, rawFrame(dirty.TypeChunk, id, encoded(map[string]any{"data": 1, "type": "end", "result": 2}))...)
		return append(b, rawFrame(dirty.TypeEnd, id, encoded([]any{"anything"}))...)
	}))
	c := p.client(t)
	got, err := collect(c.Stream(context.Background(), app, "x"))
	require.NoError(t, err)
	assert.Equal(t, []any{nil, nil, int64(1)}, got)
	requireServes(t, c)
	assert.Equal(t, 1, p.connections())
}

// TestChunksBeforeError: they are delivered, then the error, once.
func TestChunksBeforeError(t *testing.T) {
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, sendingOnce(func(id uint64) []byte {
				return frames(dirty.NewChunk(id, 1), dirty.NewChunk(id, 2), dirty.NewErrorReply(id, errors.New("boom")))
			}))
			c := p.client(t, client.WithReadAhead(ahead))
			var got []any
			var errs []error
			for v, err := range c.Stream(context.Background(), app, "x") {
				if err != nil {
					assert.Nil(t, v)
					errs = append(errs, err)
					continue // as a careless loop
				}
				got = append(got, v)
			}
			assert.Equal(t, []any{int64(1), int64(2)}, got)
			require.Len(t, errs, 1)
			require.ErrorIs(t, errs[0], dirty.ErrApp)
			requireOp(t, errs[0], client.StageRead, true)
			requireServes(t, c)
			assert.Equal(t, 1, p.connections(), "an error ends a stream as an end does")
		})
	}
}

// TestChunksAreKept: what was delivered is the caller's, whatever comes later on
// the same connection.
func TestChunksAreKept(t *testing.T) {
	var want [][]byte
	for i := range 40 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, 10+i*i*100)) // up to 150 kB
	}
	for name, ahead := range aheads {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				for _, chunk := range want {
					if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), []any{chunk, string(chunk)})); err != nil {
						return err
					}
				}
				return c.WriteMessage(dirty.NewEnd(m.RequestID()))
			}))
			type pair struct {
				bytes []byte
				text  string
			}
			c := p.client(t, client.WithReadAhead(ahead))
			var got []pair
			for range 2 {
				for v, err := range c.Stream(context.Background(), app, "x") {
					require.NoError(t, err)
					list := v.([]any)
					got = append(got, pair{list[0].([]byte), list[1].(string)})
				}
			}
			require.Len(t, got, 2*len(want))
			for i, v := range got {
				require.True(t, bytes.Equal(want[i%len(want)], v.bytes), i)
				require.True(t, string(want[i%len(want)]) == v.text, i)
			}
			assert.Equal(t, 1, p.connections())
		})
	}
}

// TestResultsAreKept is the same for calls.
func TestResultsAreKept(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t)
	var want, got [][]byte
	for i := range 60 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, 10+i*i*30))
		v, err := client.Call[[][]byte](context.Background(), c, app, "echo", want[i])
		require.NoError(t, err)
		got = append(got, v[0])
	}
	for i := range want {
		require.True(t, bytes.Equal(want[i], got[i]), i)
	}
	assert.Equal(t, 1, p.connections())
}

// text copies what it keeps of the data, as it must.
type text string

func (v *text) UnmarshalTLV(data []byte) error {
	s, err := dirty.NewDecoder(data).Text()
	*v = text(s)
	return err
}

// TestLargeResultsAreKept: what was decoded from a large payload stays as it is
// when others use the memory again.
func TestLargeResultsAreKept(t *testing.T) {
	type record struct {
		Data []byte
		Raw  dirty.RawValue
		Text text
		Any  any
	}
	for _, size := range []int{64 << 10, 300_000, 1_000_000, 1_200_000} {
		data := bytes.Repeat([]byte{7}, size)
		short := data[:size/4]
		other := make([]float64, size/8)
		for name, tt := range map[string]struct {
			value any
			call  func(c *client.Client) (any, error)
		}{
			"bytes":        {data, callTo[[]byte]},
			"any":          {data, callTo[any]},
			"text":         {string(data), callTo[string]},
			"list":         {[]any{data[:size/2], "x", string(data[:size/2])}, callTo[any]},
			"bytes in it":  {[][]byte{short, short, short, short}, callTo[[][]byte]},
			"dict":         {map[string]any{"a": short, "b": map[string]any{string(short): short}}, callTo[any]},
			"array":        {[1 << 16]byte{1, 2, 3}, callTo[[1 << 16]byte]},
			"struct":       {record{short, encoded(short), text(short), short}, callTo[record]},
			"chunks":       {data, firstOf[[]byte]},
			"struct chunk": {record{short, encoded(short), text(short), short}, firstOf[record]},
		} {
			t.Run(fmt.Sprint(name, "/", size), func(t *testing.T) {
				p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					id := m.RequestID()
					switch m.(*dirty.Request).Action {
					case "chunks":
						_, err := c.NetConn().Write(frames(dirty.NewChunk(id, tt.value), dirty.NewChunk(id, other), dirty.NewEnd(id)))
						return err
					case "other":
						return c.WriteMessage(dirty.NewResponse(id, other))
					}
					return c.WriteMessage(dirty.NewResponse(id, tt.value))
				}))
				c := p.client(t)
				useAgain := func() {
					_, err := client.Call[[]float64](context.Background(), c, app, "other")
					require.NoError(t, err)
				}
				useAgain() // so that there is memory
				got, err := tt.call(c)
				require.NoError(t, err)
				useAgain()
				assert.True(t, bytes.Equal(encoded(tt.value), encoded(got)))
				assert.Equal(t, 1, p.connections())
			})
		}
	}
}

func callTo[T any](c *client.Client) (any, error) {
	return client.Call[T](context.Background(), c, app, "x")
}

// firstOf returns the first chunk, when the next one was read.
func firstOf[T any](c *client.Client) (any, error) {
	s, err := c.OpenStream(context.Background(), app, "chunks")
	if err != nil {
		return nil, err
	}
	first, err := client.RecvOf[T](s)
	if err == nil {
		_, err = client.RecvOf[[]float64](s)
	}
	for err == nil {
		_, err = s.Recv()
	}
	if err == io.EOF {
		err = nil
	}
	return first, err
}

// whileDecoding is called by a slow.
var whileDecoding func()

// slow is text that is decoded while something else happens.
type slow string

func (v *slow) UnmarshalTLV(data []byte) error {
	whileDecoding()
	s, err := dirty.NewDecoder(data).Text()
	*v = slow(s)
	return err
}

// TestCloseWhileDecoding: nobody else has the memory of a chunk that is decoded,
// even if its stream was closed.
func TestCloseWhileDecoding(t *testing.T) {
	want := strings.Repeat("x", 500_000)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		if m.(*dirty.Request).Action == "other" {
			return c.WriteMessage(dirty.NewResponse(m.RequestID(), strings.Repeat("y", 499_000)))
		}
		return c.WriteMessage(dirty.NewChunk(m.RequestID(), want))
	}))
	c := p.client(t)
	s, err := c.OpenStream(context.Background(), app, "x")
	require.NoError(t, err)
	whileDecoding = func() {
		require.NoError(t, s.Close())
		_, err := c.Execute(context.Background(), app, "other")
		require.NoError(t, err)
	}
	got, err := client.RecvOf[slow](s)
	require.NoError(t, err)
	assert.True(t, string(got) == want)
}
