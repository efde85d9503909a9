package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMaxConns: there are never more, idle ones and those that are being dialled
// or closed included, whatever ends the calls.
func TestMaxConns(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				if _, ok := m.(*dirty.Request); ok {
					switch rand.N(6) {
					case 0:
						return errors.New("close")
					case 1:
						return nil // no answer
					}
				}
				return arbiter(c, m)
			}))
			d := &countingDialer{dial: p.dial}
			c := newClient(t, client.WithSocket("x"), client.WithDialer(d.Dial), client.WithMaxConns(n), client.WithMaxIdle(n/2, time.Millisecond))
			require.NoError(t, c.Ping(context.Background())) // no probe after that
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 300 {
						ctx, cancel := context.WithTimeout(context.Background(), rand.N(time.Millisecond))
						_, _ = c.Execute(ctx, app, "echo", 1)
						cancel()
					}
				})
			}
			wg.Wait()
			open, _ := d.most()
			assert.Equal(t, n, open)
		})
	}
}

// TestMaxDials: there are no more dials at one time, and all calls are served.
func TestMaxDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			time.Sleep(time.Hour)
			return arbiter(c, m)
		}))
		d := &countingDialer{dial: func(ctx context.Context, path string) (net.Conn, error) {
			time.Sleep(time.Second)
			return p.dial(ctx, path)
		}}
		c := newClient(t, client.WithSocket("x"), client.WithDialer(d.Dial), client.WithTimeout(0),
			client.WithMaxConns(20), client.WithMaxDials(4))
		var wg sync.WaitGroup
		begin := time.Now()
		for range 30 {
			wg.Go(func() { assert.NoError(t, c.Ping(context.Background())) })
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		s := c.Stats()
		assert.Equal(t, 4, s.Dialing)
		assert.Equal(t, 30, s.Waiting)
		wg.Wait()
		open, dialling := d.most()
		assert.Equal(t, 20, open)
		assert.Equal(t, 4, dialling)
		assert.Equal(t, 2*time.Hour+3*time.Second, time.Since(begin).Round(time.Second))
	})
}

// TestWaitInOrder: calls that wait are served in the order in which they came.
func TestWaitInOrder(t *testing.T) {
	order, hold := make(chan int64, 100), make(chan bool)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		n := m.(*dirty.Request).Args[0].(int64)
		if n == 0 {
			<-hold
		}
		order <- n
		return arbiter(c, m)
	}))
	c := p.client(t, client.WithMaxConns(1))
	var wg sync.WaitGroup
	left, leave := context.WithCancel(context.Background())
	for i := range 20 {
		ctx := context.Background()
		if i%5 == 4 {
			ctx = left
		}
		wg.Go(func() {
			_, err := c.Execute(ctx, app, "echo", i)
			requireIs(t, err, ctx.Err())
		})
		await(t, "it waits", func() bool { s := c.Stats(); return s.InUse == 1 && s.Waiting == i })
	}
	leave() // who leaves makes no gap
	await(t, "they leave", func() bool { return c.Stats().Waiting == 15 })
	close(hold)
	wg.Wait()
	for i := range 20 {
		if i%5 != 4 {
			assert.EqualValues(t, i, <-order)
		}
	}
	assert.Empty(t, order)
	assert.Equal(t, 1, p.connections())
}

// numbered answers each request with the number of its connection.
func numbered(hold <-chan bool, reached chan<- bool) func(net.Conn) {
	var mu sync.Mutex
	n := 0
	return func(nc net.Conn) {
		mu.Lock()
		n++
		number := n
		mu.Unlock()
		answering(func(c *dirty.Conn, m dirty.Message) error {
			if r, ok := m.(*dirty.Request); ok && r.Action == "hold" {
				reached <- true
				<-hold
			}
			return c.WriteMessage(dirty.NewResponse(m.RequestID(), number))
		})(nc)
	}
}

// TestReuseLast: the connection that was used last is used again, so that the
// others come to their end.
func TestReuseLast(t *testing.T) {
	reached, hold := make(chan bool), make(chan bool)
	p := newPeer(t, numbered(hold, reached))
	c := p.client(t)
	done := make(chan int, 3)
	for range 3 {
		go func() {
			n, err := client.Call[int](context.Background(), c, app, "hold")
			assert.NoError(t, err)
			done <- n
		}()
		<-reached
	}
	last := 0
	for i := range 3 { // they come back one by one
		hold <- true
		last = <-done
		await(t, "it is idle", func() bool { return c.Stats().Idle == i+1 })
	}
	for range 5 {
		n, err := client.Call[int](context.Background(), c, app, "x")
		require.NoError(t, err)
		assert.Equal(t, last, n)
	}
	assert.Equal(t, 3, p.connections())
	assert.EqualValues(t, 5, c.Stats().Reused)
}

// TestServedByWhatComesFirst: a call that waits for its dial takes a connection
// that is given back, and the dial serves another or is kept.
func TestServedByWhatComesFirst(t *testing.T) {
	reached, hold := make(chan bool), make(chan bool)
	p := newPeer(t, numbered(hold, reached))
	g := newGate(func(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) })
	c := p.client(t, client.WithDialer(g.Dial))
	call := func(action string) <-chan int {
		done := make(chan int, 1)
		go func() {
			n, err := client.Call[int](context.Background(), c, app, action)
			assert.NoError(t, err)
			done <- n
		}()
		return done
	}
	first := call("hold")
	receive(t, "a dial", g.waiting) <- nil
	<-reached

	second := call("x")
	dial := receive(t, "a dial", g.waiting)
	close(hold)
	assert.Equal(t, 1, receive(t, "the first", first))
	assert.Equal(t, 1, receive(t, "the second, on the connection of the first", second))
	assert.Equal(t, 1, c.Stats().Dialing)
	dial <- nil
	await(t, "the dial is kept", func() bool { return c.Stats().Idle == 2 })
	await(t, "the peer sees it", func() bool { return p.connections() == 2 })
}

// TestDialServesTheNext: a dial whose caller has left goes on, and serves who
// comes then.
func TestDialServesTheNext(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	g := newGate(func(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) })
	c := p.client(t, client.WithDialer(g.Dial))
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		done := async(func() error { return c.Ping(ctx) })
		await(t, "it waits", func() bool { return c.Stats().Waiting == 1 })
		cancel()
		require.ErrorIs(t, receive(t, "the call", done), context.Canceled)
	}
	done := async(func() error { return c.Ping(context.Background()) })
	await(t, "it waits", func() bool { return c.Stats().Waiting == 1 })
	receive(t, "the dial", g.waiting) <- nil
	require.NoError(t, receive(t, "the call", done))
	assert.Empty(t, g.waiting, "there was one dial")
	assert.EqualValues(t, 1, c.Stats().Dials)

	// Nobody comes: it is kept for whoever does later.
	require.NoError(t, eventualIdle(c, 1))
}

func eventualIdle(c *client.Client, n int) error {
	if !eventually(func() bool { return c.Stats().Idle == n }) {
		return fmt.Errorf("%+v", c.Stats())
	}
	return nil
}

// TestDialErrors: each reaches one call, in order.
func TestDialErrors(t *testing.T) {
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error { return nil }))
	g := newGate(func(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) })
	c := p.client(t, client.WithDialer(g.Dial))
	var done [4]<-chan error
	ctx, cancel := context.WithCancel(context.Background())
	var dials [4]chan<- error
	for i := range done {
		done[i] = async(func() error { return c.Ping(ctx) })
		await(t, "it waits", func() bool { return c.Stats().Waiting == i+1 })
		dials[i] = receive(t, "a dial", g.waiting)
	}
	failures := []error{errors.New("first"), nil, errors.New("third"), errors.New("fourth")}
	for i, failure := range failures {
		dials[i] <- failure
		if failure == nil {
			await(t, "it is served", func() bool { return c.Stats().InUse == 1 })
			continue
		}
		err := receive(t, "the call", done[i])
		require.ErrorIs(t, err, failure)
		requireOp(t, err, client.StageDial, false)
		assert.True(t, client.SafeToRetry(err))
		assert.False(t, isUnknown(err))
	}
	assert.EqualValues(t, 3, c.Stats().DialErrors)
	cancel()
	requireOp(t, receive(t, "the call that was served", done[1]), client.StageRead, true)
}

// idleConns makes that many idle connections.
func idleConns(t *testing.T, c *client.Client, n int) {
	t.Helper()
	streams := make([]*client.Stream, n)
	for i := range streams {
		s, err := c.OpenStream(context.Background(), app, "count", i)
		require.NoError(t, err)
		_, err = s.Recv() // so that the peer has them in this order
		require.NoError(t, err)
		streams[i] = s
	}
	for _, s := range streams {
		_, err := collect(s.All())
		require.NoError(t, err)
	}
	require.Equal(t, n, c.Stats().Idle)
}

// TestDeadIdle: kept connections that are at their end, or on which something
// came, are found before they are used, all of them, and the call does not notice.
func TestDeadIdle(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(nc *net.UnixConn) error
		some bool // not all of them
	}{
		{"closed", (*net.UnixConn).Close, false},
		{"half closed", (*net.UnixConn).CloseWrite, false},
		{"talkative", func(nc *net.UnixConn) error { _, err := nc.Write([]byte("G")); return err }, false},
		{"talkative, then closed", func(nc *net.UnixConn) error { _, _ = nc.Write([]byte("G")); return nc.Close() }, false},
		{"some", (*net.UnixConn).Close, true},
	} {
		for _, op := range operations {
			t.Run(tt.name+"/"+op.name, func(t *testing.T) {
				accepted := make(chan *net.UnixConn, 10)
				p := newPeer(t, func(nc net.Conn) {
					accepted <- nc.(*net.UnixConn)
					answering(arbiter)(nc)
				})
				c := p.client(t)
				idleConns(t, c, 5)
				dead := 0
				for i := range 5 {
					if nc := <-accepted; i > 0 || !tt.some { // the first was used longest ago
						require.NoError(t, tt.do(nc))
						dead++
					}
				}
				require.NoError(t, op.call(context.Background(), c))
				s := c.Stats()
				assert.EqualValues(t, dead, s.Closed.Dead)
				assert.Zero(t, s.Retries)
				assert.Equal(t, 1, s.Idle)
				if tt.some {
					assert.Equal(t, 5, p.connections(), "the one that is sound is used")
				} else {
					assert.Equal(t, 6, p.connections())
				}
			})
		}
	}
}

// TestPathChange: an arbiter that restarts has a new path. A dial that finds it
// drops what is left of the old one, and what was in use is not kept.
func TestPathChange(t *testing.T) {
	reached, hold := make(chan bool), make(chan bool)
	old, next := newPeer(t, numbered(hold, reached)), newPeer(t, answering(arbiter))
	var mu sync.Mutex
	path := old.path
	c := newClient(t, client.WithResolver(func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return path, nil
	}))
	busy := async(func() error {
		_, err := c.Execute(context.Background(), app, "hold")
		return err
	})
	<-reached
	idle := async(func() error {
		_, err := c.Execute(context.Background(), app, "hold")
		return err
	})
	<-reached
	hold <- true
	select { // one of the two is idle now
	case err := <-busy:
		require.NoError(t, err)
		busy = idle
	case err := <-idle:
		require.NoError(t, err)
	}
	require.NoError(t, eventualIdle(c, 1))
	mu.Lock()
	path = next.path
	mu.Unlock()

	// The idle connection is good, and used; the next call dials.
	s, err := c.OpenStream(context.Background(), app, "x")
	require.NoError(t, err)
	require.NoError(t, c.Ping(context.Background()))
	assert.Equal(t, 2, old.connections())
	assert.Equal(t, 1, next.connections())
	assert.Equal(t, 1, c.Stats().Idle)

	_, err = collect(s.All())
	require.NoError(t, err)
	hold <- true
	require.NoError(t, receive(t, "the call on the old arbiter", busy))
	await(t, "they are closed", func() bool { return old.open() == 0 })
	assert.Equal(t, 1, c.Stats().Idle)
	assert.EqualValues(t, 2, c.Stats().Closed.Dead)
	requireServes(t, c)
	assert.Equal(t, 1, next.connections())
}

// TestPathChangeDropsIdle: those that are idle when a dial finds a new path.
func TestPathChangeDropsIdle(t *testing.T) {
	old, next := newPeer(t, answering(arbiter)), newPeer(t, answering(arbiter))
	var mu sync.Mutex
	path := old.path
	g := newGate(func(_ context.Context, path string) (net.Conn, error) { return net.Dial("unix", path) })
	c := newClient(t, client.WithDialer(g.Dial), client.WithResolver(func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return path, nil
	}))
	opened := make(chan *client.Stream)
	open := func() {
		s, err := c.OpenStream(context.Background(), app, "count")
		assert.NoError(t, err)
		opened <- s
	}
	var streams []*client.Stream
	for range 3 {
		go open()
		receive(t, "a dial", g.waiting) <- nil
		streams = append(streams, <-opened)
	}
	mu.Lock()
	path = next.path
	mu.Unlock()
	go open()
	dial := receive(t, "a dial", g.waiting)
	for _, s := range streams { // the first serves the call that waits
		_, err := collect(s.All())
		require.NoError(t, err)
	}
	streams = []*client.Stream{<-opened}
	require.Equal(t, 2, c.Stats().Idle)
	dial <- nil
	await(t, "the idle ones are dropped", func() bool { return old.open() == 1 })
	assert.Equal(t, 1, c.Stats().Idle, "the new one")
	_, err := collect(streams[0].All())
	require.NoError(t, err)
	requireServes(t, c)
	await(t, "the last one too", func() bool { return old.open() == 0 })
	assert.Equal(t, 1, next.connections())
}
