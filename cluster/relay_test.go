package cluster_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// relay is the network between a front and an agent, with its faults.
type relay struct {
	to   string
	l    net.Listener
	hole chan struct{} // closed: all is swallowed
	once sync.Once

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	kills atomic.Int64
}

// startRelay starts a relay to an address.
func startRelay(tb testing.TB, to string) *relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	r := &relay{to: to, l: l, hole: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { r.pass(nc) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		r.swallow()
		r.mu.Lock()
		for nc := range r.conns {
			_ = nc.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

// swallow makes the network a hole: nothing comes out, and no connection is closed.
func (r *relay) swallow() { r.once.Do(func() { close(r.hole) }) }

// cut closes all connections at once, as if the agent had died.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for nc := range r.conns {
		_ = nc.(*net.TCPConn).SetLinger(0)
		_ = nc.Close()
		r.kills.Add(1)
	}
}

// cutOne closes one connection, whichever.
func (r *relay) cutOne() {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := 0
	if len(r.conns) > 0 {
		i = rand.IntN(len(r.conns))
	}
	for nc := range r.conns {
		if i--; i < 0 {
			_ = nc.(*net.TCPConn).SetLinger(0)
			_ = nc.Close()
			r.kills.Add(1)
			return
		}
	}
}

// pass passes on what comes on a connection, both ways.
func (r *relay) pass(near net.Conn) {
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		_ = near.Close()
		return
	}
	r.mu.Lock()
	r.conns[near] = struct{}{}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.copy(far, near) })
	both.Go(func() { r.copy(near, far) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, near)
	r.mu.Unlock()
}

// copy copies until one end closes, or the network becomes a hole. Then it closes the
// other end, unless it is a hole.
func (r *relay) copy(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-r.hole:
			_, _ = io.Copy(io.Discard, from)
			_ = to.Close()
			return
		default:
		}
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}
