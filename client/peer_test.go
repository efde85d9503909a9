package client_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/require"
)

// links are the connections of a peer.
type links struct {
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	accepted int
	handlers sync.WaitGroup
}

// start serves a connection. It is closed when the handler returns.
func (l *links) start(nc net.Conn, serve func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[net.Conn]struct{}{}
	}
	l.conns[nc] = struct{}{}
	l.accepted++
	l.handlers.Go(func() {
		defer func() {
			_ = nc.Close()
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.conns, nc)
		}()
		serve(nc)
	})
}

// cut closes all connections.
func (l *links) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for nc := range l.conns {
		_ = nc.Close()
	}
}

// connections returns how many connections were accepted so far.
func (l *links) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// open returns how many connections there are. Most handlers return when the
// client closes theirs.
func (l *links) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// scriptedPeer stands in for an arbiter where a real one cannot be made to do
// what a test wants; what real ones do is tested in the folder interop.
type scriptedPeer struct {
	links
	path     string
	serve    func(nc net.Conn)
	listener net.Listener
}

// newPeer listens on a socket and runs serve for each connection. All ends
// with the test.
func newPeer(tb testing.TB, serve func(nc net.Conn)) *scriptedPeer {
	tb.Helper()
	p := &scriptedPeer{path: filepath.Join(shortTempDir(tb), "s"), serve: serve}
	p.listen(tb)
	tb.Cleanup(p.stop)
	return p
}

// shortTempDir is t.TempDir with a path that leaves room for the name of a
// socket, which may have about 100 bytes.
func shortTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "d")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// listen starts the peer, for the first time or after stop.
func (p *scriptedPeer) listen(tb testing.TB) {
	tb.Helper()
	l, err := net.Listen("unix", p.path)
	require.NoError(tb, err)
	p.listenWith(l)
}

func (p *scriptedPeer) listenWith(l net.Listener) {
	p.listener = l
	p.handlers.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			p.start(nc, p.serve)
		}
	})
}

// stop closes the listener and all connections, and waits for their handlers.
func (p *scriptedPeer) stop() {
	_ = p.listener.Close()
	p.cut()
	p.handlers.Wait()
}

// pipePeer is a peer in memory, for tests in which time is synthetic. A kept
// connection to it cannot be checked before it is used.
type pipePeer struct {
	links
	serve func(net.Conn)
}

func newPipePeer(tb testing.TB, serve func(nc net.Conn)) *pipePeer {
	p := &pipePeer{serve: serve}
	tb.Cleanup(func() {
		p.cut()
		p.handlers.Wait()
	})
	return p
}

// dial is a client.Dialer.
func (p *pipePeer) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.start(theirs, p.serve)
	return ours, nil
}

// client returns a client of this peer.
func (p *pipePeer) client(tb testing.TB, opts ...client.Option) *client.Client {
	tb.Helper()
	return newClient(tb, append([]client.Option{client.WithSocket("pipe"), client.WithDialer(p.dial)}, opts...)...)
}

// client returns a client of this peer. It keeps idle connections: tests that count
// them may take longer than the default idle time on a busy machine.
func (p *scriptedPeer) client(tb testing.TB, opts ...client.Option) *client.Client {
	tb.Helper()
	ours := []client.Option{client.WithSocket(p.path), client.WithMaxIdle(client.DefaultMaxIdle, time.Hour)}
	return newClient(tb, append(ours, opts...)...)
}

// answering serves a connection with a reply to each message, until an error or
// the end.
func answering(reply func(c *dirty.Conn, m dirty.Message) error) func(net.Conn) {
	return func(nc net.Conn) {
		c := dirty.NewConn(nc)
		for {
			m, err := c.ReadMessage()
			if err != nil || reply(c, m) != nil {
				return
			}
		}
	}
}

// sending answers each message with bytes.
func sending(reply func(id uint64) []byte) func(net.Conn) {
	return answering(func(c *dirty.Conn, m dirty.Message) error {
		_, err := c.NetConn().Write(reply(m.RequestID()))
		return err
	})
}

// sendingOnce answers the first message with bytes, and later ones as an
// arbiter does.
func sendingOnce(reply func(id uint64) []byte) func(net.Conn) {
	var once sync.Once
	return answering(func(c *dirty.Conn, m dirty.Message) (err error) {
		done := false
		once.Do(func() {
			done = true
			_, err = c.NetConn().Write(reply(m.RequestID()))
		})
		if !done {
			err = arbiter(c, m)
		}
		return err
	})
}

// mute reads everything and answers nothing.
func mute(nc net.Conn) {
	_, _ = io.Copy(io.Discard, nc)
}

// frames returns the bytes of messages.
func frames(messages ...dirty.Message) (b []byte) {
	for _, m := range messages {
		var err error
		if b, err = dirty.AppendMessage(b, m); err != nil {
			panic(err)
		}
	}
	return b
}

// rawFrame returns a frame with any payload.
func rawFrame(t dirty.MessageType, id uint64, payload []byte) []byte {
	b, err := dirty.Frame{Header: dirty.Header{Type: t, RequestID: id}, Payload: payload}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// encoded returns a value as TLV.
func encoded(v any) []byte {
	b, err := dirty.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
