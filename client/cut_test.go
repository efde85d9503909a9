package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cutAfter answers the first messages as an arbiter does, the next one with n
// bytes of its reply, and closes; on later connections it only answers.
func cutAfter(answered, n int) func(net.Conn) {
	first := make(chan struct{}, 1)
	first <- struct{}{}
	return func(nc net.Conn) {
		select {
		case <-first:
		default:
			answering(arbiter)(nc)
			return
		}
		c := dirty.NewConn(nc)
		for i := 0; ; i++ {
			m, err := c.ReadMessage()
			if err != nil {
				return
			}
			if i < answered {
				_ = arbiter(c, m)
				continue
			}
			_, _ = nc.Write(replyTo(m)[:n])
			return
		}
	}
}

// replyTo returns the bytes with which an arbiter answers.
func replyTo(m dirty.Message) []byte {
	ours, theirs := net.Pipe()
	go func() {
		_ = arbiter(dirty.NewConn(theirs), m)
		_ = theirs.Close()
	}()
	b, err := io.ReadAll(ours)
	if err != nil {
		panic(err)
	}
	return b
}

// raising fails with the peer's error.
var raising = operation{"execute", false, func(ctx context.Context, c *client.Client) error {
	_, err := c.Execute(ctx, app, "raise")
	if errors.Is(err, dirty.ErrApp) {
		return nil // the whole reply
	}
	return err
}}

// lengths returns how long the reply to an operation is.
func lengths(t *testing.T, op operation) int {
	size := make(chan int, 1)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		size <- len(replyTo(m))
		return arbiter(c, m)
	}))
	require.NoError(t, op.call(context.Background(), p.client(t)))
	return <-size
}

// alike are operations with replies like those of others, of which only the
// borders are tried.
var alike = map[string]bool{
	"manage remove": true, "stash delete": true, "stash keys": true, "stash clear": true, "stash info": true,
	"stash ensure": true, "stash delete_table": true, "stash tables": true, "stash exists": true,
}

// TestCutReply: the peer closes after each number of bytes of each kind of reply,
// on a new connection and on a kept one. Only a call that changes nothing is made
// again, and only if nothing at all came on a kept connection.
func TestCutReply(t *testing.T) {
	for i, op := range append(operations, raising) {
		if i > 0 && operations[i-1].name == op.name {
			continue // Ping is a status
		}
		size := lengths(t, op)
		for answered, kept := range []string{"new", "kept"} {
			t.Run(op.name+"/"+kept, func(t *testing.T) {
				for n := range size {
					if alike[op.name] && n > 1 && n != 15 && n != 16 && n != size-1 {
						continue
					}
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						p := newPeer(t, cutAfter(answered, n))
						c := p.client(t)
						for range answered {
							require.NoError(t, c.Ping(context.Background()))
						}
						err := op.call(context.Background(), c)
						s := c.Stats()
						if answered > 0 && n == 0 && op.reads {
							require.NoError(t, err)
							assert.EqualValues(t, 1, s.Retries)
							assert.Equal(t, 2, p.connections())
							return
						}
						require.ErrorIs(t, err, io.ErrUnexpectedEOF)
						requireOp(t, err, client.StageRead, true)
						assert.Equal(t, !op.reads, isUnknown(err), "%v", err)
						assert.Equal(t, op.reads, client.SafeToRetry(err), "%v", err)
						assert.False(t, timesOut(err))
						assert.Zero(t, s.Retries)
						assert.Equal(t, client.ClosedStats{Failed: 1}, s.Closed)
						want := 1
						if answered == 0 && n == 0 {
							want = 2 // the probe for gunicorn 25.0
						}
						assert.Equal(t, want, p.connections())
					})
				}
			})
		}
	}
}

// TestCutStream: what came before the cut was delivered.
func TestCutStream(t *testing.T) {
	chunks := []any{int64(1), "two", []any{int64(3)}}
	whole := func(id uint64, end dirty.Message) (b []byte, border []int) {
		for _, chunk := range chunks {
			b = append(b, frames(dirty.NewChunk(id, chunk))...)
			border = append(border, len(b))
		}
		return append(b, frames(end)...), border
	}
	for name, end := range map[string]func(id uint64) dirty.Message{
		"end":   func(id uint64) dirty.Message { return dirty.NewEnd(id) },
		"error": func(id uint64) dirty.Message { return dirty.NewErrorReply(id, errors.New("boom")) },
	} {
		for ahead, size := range map[string]int{"": 0, " ahead": 1 << 20} {
			t.Run(name+ahead, func(t *testing.T) {
				b, border := whole(0, end(0))
				for n := 1; n < len(b); n++ {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
							b, _ := whole(m.RequestID(), end(m.RequestID()))
							_, _ = c.NetConn().Write(b[:n])
							return io.EOF
						}))
						c := p.client(t, client.WithReadAhead(size))
						got, err := collect(c.Stream(context.Background(), app, "x"))
						require.ErrorIs(t, err, io.ErrUnexpectedEOF)
						requireOp(t, err, client.StageRead, true)
						assert.True(t, isUnknown(err))
						delivered := 0
						for delivered < len(border) && border[delivered] <= n {
							delivered++
						}
						assert.Equal(t, chunks[:delivered], append([]any{}, got...))
					})
				}
			})
		}
	}
}

// TestOneByteAtATime: how a reply arrives does not matter.
func TestOneByteAtATime(t *testing.T) {
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		for _, b := range replyTo(m) {
			if _, err := c.NetConn().Write([]byte{b}); err != nil {
				return err
			}
		}
		return nil
	}))
	for name, ahead := range map[string]int{"": 0, "ahead": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			c := p.client(t, client.WithReadAhead(ahead))
			for _, op := range append(operations, raising) {
				require.NoError(t, op.call(context.Background(), c), op.name)
			}
			got, err := collect(client.StreamOf[int](context.Background(), c, app, "count", 1, 2, 3))
			require.NoError(t, err)
			assert.Equal(t, []int{1, 2, 3}, got)
			requireServes(t, c)
			assert.Zero(t, c.Stats().Closed)
		})
	}
}

// TestRepliesInOnePiece: chunks that arrive together with the end.
func TestRepliesInOnePiece(t *testing.T) {
	p := newPeer(t, sending(func(id uint64) []byte {
		var b []byte
		for i := range 1000 {
			b = append(b, frames(dirty.NewChunk(id, i))...)
		}
		return append(b, frames(dirty.NewEnd(id))...)
	}))
	for name, ahead := range map[string]int{"": 0, "ahead": 100, "far ahead": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			c := p.client(t, client.WithReadAhead(ahead))
			for range 2 {
				got, err := collect(client.StreamOf[int](context.Background(), c, app, "x"))
				require.NoError(t, err)
				require.Len(t, got, 1000)
				for i, v := range got {
					require.Equal(t, i, v)
				}
			}
			assert.EqualValues(t, 1, c.Stats().Dials)
		})
	}
}
