package cluster_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// network connects fronts and agents in memory, with a delay for each write. It counts
// the writes, and how often an agent refuses a request.
type network struct {
	writes    atomic.Int64
	refusals  atomic.Int64
	mu        sync.Mutex
	listeners map[string]*memListener
}

// memListener accepts what is dialled in a network.
type memListener struct {
	name  string
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func (l *memListener) Network() string { return "memory" }
func (l *memListener) String() string  { return l.name }
func (l *memListener) Addr() net.Addr  { return l }
func (l *memListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (n *network) listen(name string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{name: name, conns: make(chan net.Conn), ended: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[string]*memListener{}
	}
	n.listeners[name] = l
	return l
}

// delay is how long a write takes in a network.
const delay = 200 * time.Microsecond

// slowConn is a connection with a delay.
type slowConn struct {
	net.Conn
	network *network
}

func (c slowConn) Write(p []byte) (int, error) {
	c.network.writes.Add(1)
	if bytes.Contains(p, []byte("refused_for")) {
		c.network.refusals.Add(1)
	}
	time.Sleep(delay)
	return c.Conn.Write(p)
}

func (n *network) dial(ctx context.Context, name string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[name]
	n.mu.Unlock()
	near, far := net.Pipe()
	select {
	case l.conns <- slowConn{far, n}:
		return slowConn{near, n}, nil
	case <-l.ended:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// simulation is a cluster in memory, in the time of a synctest bubble.
type simulation struct {
	t       *testing.T
	network network
	members []cluster.Member
	fronts  []*cluster.Front
	ends    []func()

	logger    *slog.Logger            // of the agents and the fronts
	toAgent   func(net.Conn) net.Conn // changes a connection of a front; may be nil
	toArbiter func(net.Conn) net.Conn // changes a connection of an agent; may be nil
}

// change changes a connection, if there is a function that does.
func change(nc net.Conn, by func(net.Conn) net.Conn) net.Conn {
	if by == nil {
		return nc
	}
	return by(nc)
}

// add adds a host.
func (s *simulation) add(name string, slots int, handler server.Handler) {
	arbiter := &server.Server{Handler: handler, MaxConns: -1}
	dial := func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = arbiter.ServeConn(context.Background(), far) }()
		return change(near, s.toArbiter), nil
	}
	a, err := cluster.NewAgent(cluster.AgentConfig{Plain: true, Host: name, Slots: slots, Logger: s.logger,
		Arbiter: []client.Option{client.WithSocket("memory"), client.WithDialer(dial)}})
	require.NoError(s.t, err)
	l, served := s.network.listen(name), make(chan error, 1)
	go func() { served <- a.Serve(l) }()
	s.members = append(s.members, cluster.Member{Addr: name})
	s.ends = append(s.ends, func() {
		assert.NoError(s.t, a.Close())
		assert.ErrorIs(s.t, <-served, server.ErrServerClosed)
		assert.NoError(s.t, arbiter.Close())
	})
}

// front adds a front of all hosts there are.
func (s *simulation) front() *client.Client {
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := s.network.dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		return change(nc, s.toAgent), nil
	}
	f, err := cluster.NewFront(cluster.FrontConfig{Plain: true, Members: cluster.Static(s.members...), Dial: dial, MaxWait: time.Hour, Logger: s.logger})
	require.NoError(s.t, err)
	c, err := f.Client(client.WithMaxConns(1000), client.WithMaxDials(1000), client.WithTimeout(0))
	require.NoError(s.t, err)
	s.fronts = append(s.fronts, f)
	s.ends = append(s.ends, func() {
		assert.NoError(s.t, f.Close())
		assert.NoError(s.t, c.Close())
	})
	return c
}

// end ends all of it, the fronts before the hosts.
func (s *simulation) end() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
}
