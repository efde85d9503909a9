//go:build unix

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

const app = "dirtyapp:App"

// peer is a connection to an arbiter with one call at a time.
type peer struct {
	*dirty.Conn
	t  *testing.T
	id uint64
}

// dial connects. The connection is closed with the test, and everything on it
// together takes less than maxWait.
func (g *gunicorn) dial(t *testing.T, opts ...dirty.Option) *peer {
	t.Helper()
	c, err := net.Dial("unix", g.address())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(maxWait)))
	conn := dirty.NewConn(c, opts...)
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	return &peer{Conn: conn, t: t, id: rand.Uint64()}
}

// nextID returns an id that no other call has.
func (p *peer) nextID() uint64 {
	p.id++
	return p.id
}

// send writes a message and returns the answer to it.
func (p *peer) send(m dirty.Message) (any, error) {
	if err := p.WriteMessage(m); err != nil {
		return nil, err
	}
	answer, err := p.ReadMessage()
	if err != nil {
		return nil, err
	}
	if answer.RequestID() != m.RequestID() {
		return nil, fmt.Errorf("asked %d, got %s %d", m.RequestID(), answer.Type(), answer.RequestID())
	}
	switch answer := answer.(type) {
	case *dirty.Response:
		return answer.Result, nil
	case *dirty.ErrorReply:
		return nil, answer.Err
	}
	return nil, fmt.Errorf("answered by %s", answer.Type())
}

// try calls an action, and returns its result or what went wrong.
func (p *peer) try(action string, args ...any) (any, error) {
	return p.send(dirty.NewRequest(p.nextID(), app, action, args, nil))
}

// call is try for a call that has to succeed.
func (p *peer) call(action string, args ...any) any {
	p.t.Helper()
	result, err := p.try(action, args...)
	require.NoError(p.t, err)
	return result
}

// fail is try for a call that has to fail with an error of the peer.
func (p *peer) fail(action string, args ...any) *dirty.RemoteError {
	p.t.Helper()
	result, err := p.try(action, args...)
	var remote *dirty.RemoteError
	require.ErrorAs(p.t, err, &remote, "result %.100v", result)
	return remote
}

// stream calls an action and returns its chunks and how it ended.
func (p *peer) stream(action string, args ...any) (chunks []any, err error) {
	p.t.Helper()
	request := dirty.NewRequest(p.nextID(), app, action, args, nil)
	require.NoError(p.t, p.WriteMessage(request))
	for {
		answer, err := p.ReadMessage()
		if err != nil {
			return chunks, err
		}
		require.Equal(p.t, request.ID, answer.RequestID())
		switch answer := answer.(type) {
		case *dirty.Chunk:
			chunks = append(chunks, answer.Data)
		case *dirty.End:
			return chunks, nil
		case *dirty.ErrorReply:
			return chunks, answer.Err
		default:
			return chunks, fmt.Errorf("answered by %s", answer.Type())
		}
	}
}
