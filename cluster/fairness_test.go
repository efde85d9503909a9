package cluster_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// network connects fronts and agents in memory, with a delay for each write. It counts
// the writes.
type network struct {
	writes    atomic.Int64
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
}

// add adds a host.
func (s *simulation) add(name string, slots int, handler server.Handler) {
	arbiter := &server.Server{Handler: handler, MaxConns: -1}
	dial := func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { _ = arbiter.ServeConn(context.Background(), far) }()
		return near, nil
	}
	a, err := cluster.NewAgent(cluster.AgentConfig{Plain: true, Host: name, Slots: slots,
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
	f, err := cluster.NewFront(cluster.FrontConfig{Plain: true, Members: cluster.Static(s.members...), Dial: s.network.dial, MaxWait: time.Hour})
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

// TestFairness checks that fronts with few callers get their share beside fronts with
// many, and that little of the slots is lost. Each front has at least as many callers
// as its share.
func TestFairness(t *testing.T) {
	const hosts, slots, work, whole = 3, 8, 10 * time.Millisecond, time.Second / 2
	for _, fronts := range []int{1, 4, 16} {
		t.Run(fmt.Sprintf("%d fronts", fronts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{t: t}
				mux := server.NewMux()
				mux.Handle(app, "work", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
					time.Sleep(work)
					return w.Respond(nil)
				}))
				for i := range hosts {
					s.add(fmt.Sprintf("gpu%d", i), slots, mux)
				}
				counts := make([]atomic.Int64, fronts)
				share := (hosts*slots + fronts - 1) / fronts
				var mu sync.Mutex
				var times []time.Duration
				var callers sync.WaitGroup
				stop := make(chan struct{})
				for i := range fronts {
					c, n := s.front(), share+1
					if i%4 == 0 {
						n = 8 * share // a few fronts have many callers
					}
					for range n {
						callers.Go(func() {
							for {
								select {
								case <-stop:
									return
								default:
								}
								from := time.Now()
								_, err := c.Execute(context.Background(), app, "work")
								assert.NoError(t, err)
								mu.Lock()
								times = append(times, time.Since(from))
								mu.Unlock()
								counts[i].Add(1)
							}
						})
					}
				}
				time.Sleep(whole)
				total, least := int64(0), int64(1<<60)
				for i := range counts {
					total += counts[i].Load()
					least = min(least, counts[i].Load())
				}
				close(stop)
				callers.Wait()
				s.end()
				slices.Sort(times)
				used := float64(total) * float64(work) / float64(whole) / (hosts * slots)
				fair := float64(least) * float64(fronts) / float64(total)
				t.Logf("%.2f of what the slots allow, the front with the fewest calls has %.2f of its share, p50 %v, p99 %v",
					used, fair, times[len(times)/2], times[len(times)*99/100])
				assert.Greater(t, used, 0.85)
				assert.Greater(t, fair, 0.5)
			})
		})
	}
}
