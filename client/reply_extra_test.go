package client_test

import (
	"context"
	"net"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// extras are what a peer may send behind its reply; gunicorn 26.1 does, after a
// generator whose chunk has no encoding and whose cleanup fails.
var extras = map[string]func(id uint64) []byte{
	"the reply again":  func(id uint64) []byte { return frames(dirty.NewResponse(id, "late")) },
	"an error":         func(id uint64) []byte { return frames(dirty.NewErrorReply(id, nil)) },
	"the next's reply": func(id uint64) []byte { return frames(dirty.NewResponse(id+1, "guessed")) },
	"one byte":         func(uint64) []byte { return []byte("G") },
	"much":             func(id uint64) []byte { return frames(dirty.NewResponse(id, make([]byte, 100_000))) },
}

// TestMoreThanOneReply: a connection on which more came than one reply is not
// used again, and the next call is right.
func TestMoreThanOneReply(t *testing.T) {
	for name, extra := range extras {
		for what, tt := range map[string]struct {
			reply func(id uint64) []byte
			call  func(c *client.Client) (any, error)
			want  any
			err   error
		}{
			"response": {
				func(id uint64) []byte { return frames(dirty.NewResponse(id, "mine")) },
				func(c *client.Client) (any, error) { return c.Execute(context.Background(), app, "x") },
				"mine", nil,
			},
			"error": {
				func(id uint64) []byte {
					return frames(dirty.NewErrorReply(id, &dirty.RemoteError{Type: "DirtyWorkerError"}))
				},
				func(c *client.Client) (any, error) { return c.Execute(context.Background(), app, "x") },
				nil, dirty.ErrWorker,
			},
			"end": {
				func(id uint64) []byte { return frames(dirty.NewChunk(id, "a"), dirty.NewEnd(id)) },
				func(c *client.Client) (any, error) { return collect(c.Stream(context.Background(), app, "x")) },
				[]any{"a"}, nil,
			},
		} {
			t.Run(what+"/"+name+"/at once", func(t *testing.T) {
				p := newPeer(t, sendingOnce(func(id uint64) []byte { return append(tt.reply(id), extra(id)...) }))
				c := p.client(t)
				got, err := tt.call(c)
				assert.Equal(t, tt.want, got)
				requireIs(t, err, tt.err)
				assert.Equal(t, client.ClosedStats{Protocol: 1}, c.Stats().Closed)
				requireServes(t, c)
				assert.Equal(t, 2, p.connections())
			})
			t.Run(what+"/"+name+"/later", func(t *testing.T) {
				first, sent := make(chan net.Conn, 1), make(chan uint64, 1)
				p := newPeer(t, answering(func(conn *dirty.Conn, m dirty.Message) error {
					select {
					case first <- conn.NetConn():
						sent <- m.RequestID()
						_, err := conn.NetConn().Write(tt.reply(m.RequestID()))
						return err
					default:
						return arbiter(conn, m)
					}
				}))
				c := p.client(t)
				got, err := tt.call(c)
				assert.Equal(t, tt.want, got)
				requireIs(t, err, tt.err)
				require.Equal(t, 1, c.Stats().Idle)
				_, err = (<-first).Write(extra(<-sent))
				require.NoError(t, err)
				first <- nil
				requireServes(t, c)
				assert.Equal(t, client.ClosedStats{Dead: 1}, c.Stats().Closed)
				assert.Equal(t, 2, p.connections())
			})
		}
	}
}

// requireServes checks that calls are answered, each by its own reply.
func requireServes(tb testing.TB, c *client.Client) {
	tb.Helper()
	for i := range 3 {
		got, err := client.Call[[]int](context.Background(), c, app, "echo", i)
		require.NoError(tb, err)
		require.Equal(tb, []int{i}, got)
	}
}

// requireIs checks an error, or that there is none.
func requireIs(tb testing.TB, err, want error) {
	tb.Helper()
	if want == nil {
		require.NoError(tb, err)
		return
	}
	require.ErrorIs(tb, err, want)
}
