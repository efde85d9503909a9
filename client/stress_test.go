package client_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var stressCalls = flag.Int("stress.calls", 20_000, "how many calls TestStress makes, of five one over pipes")

// TestStress makes calls of all kinds, cancelled and timed out at random, to an
// arbiter with faults that restarts meanwhile. Each reply that is delivered must
// belong to its caller; no call that changes something is acted on twice; none is
// that is said to be safe to make again. For a million:
//
//	go test -race -run TestStress -timeout 30m -v ./client -stress.calls 1000000
func TestStress(t *testing.T) {
	t.Run("sockets", func(t *testing.T) { stress(t, *stressCalls*4/5, false) })
	t.Run("pipes", func(t *testing.T) { stress(t, *stressCalls/5, true) })
}

func stress(t *testing.T, calls int, pipes bool) {
	p, timeout := newStressPeer(t, calls), stressTimeout(t)
	common := []client.Option{
		client.WithResolver(p.resolve), client.WithTimeout(timeout), client.WithStreamTimeout(timeout), client.WithWaitForServer(timeout),
	}
	if pipes {
		common = append(common, client.WithDialer(p.pipe))
	}
	clients := []*client.Client{ // replies to one can come to another
		newClient(t, append(common, client.WithMaxConns(8), client.WithMaxIdle(2, time.Millisecond))...),
		newClient(t, append(common, client.WithMaxConns(12), client.WithReadAhead(300), client.WithInterceptor(passOn))...),
		newClient(t, append(common, client.WithMaxDials(2), client.WithInterceptor(passOn), client.WithTracer((&retries{}).tracer()))...), // with connections to spare
	}
	s := &stressed{t: t, safe: make([]bool, calls), good: make([]bool, calls)}
	var next atomic.Int64
	var callers, restarter sync.WaitGroup
	done := make(chan bool)
	begin := time.Now()
	for i := range stressCallers {
		callers.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= calls {
					return
				}
				s.call(clients[i%len(clients)], n)
			}
		})
	}
	restarter.Go(func() {
		for i := 1; ; i++ {
			for next.Load() < int64(calls*i/8) {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
			if pipes {
				p.cut()
			} else {
				p.restart(t)
			}
		}
	})
	callers.Wait()
	close(done)
	restarter.Wait()
	took := time.Since(begin)
	for _, c := range clients {
		requireQuiet(t, c)
	}
	require.Eventually(t, func() bool { p.cut(); return p.open() == 0 }, within, time.Millisecond, "what was sent was acted on")

	for n := range calls {
		acted := p.acted[n].Load()
		if acted > 1 || acted > 0 && s.safe[n] || acted == 0 && s.good[n] {
			require.Fail(t, "wrong", "call %d: acted on %d times, good %v, said to be safe to make again %v", n, acted, s.good[n], s.safe[n])
		}
	}
	t.Logf("%d calls in %v, timeout %v, %d restarts or cuts: %d good, %d chunks, %d left, %d failed", calls, took.Round(time.Millisecond), timeout, 8,
		s.goods.Load(), s.chunks.Load(), s.left.Load(), s.failed.Load())
	t.Logf("the context of %d calls ended before them; the last of these came %v late", s.ended.Load(), time.Duration(s.latest.Load()))
	assert.Less(t, time.Duration(s.latest.Load()), latestEnd)
	if calls >= 4000 {
		assert.NotZero(t, s.ended.Load())
	}
	var total client.Stats
	for _, c := range clients {
		stats := c.Stats()
		t.Logf("%+v", stats)
		total.Mismatches += stats.Mismatches
		total.Retries += stats.Retries
		total.Reused += stats.Reused
	}
	if calls >= 4000 { // the faults did happen
		assert.NotZero(t, total.Mismatches)
		assert.NotZero(t, total.Reused)
		assert.Greater(t, s.goods.Load(), int64(calls/5), "on a machine that is busy with other things")
	}
}

// stressCallers is how many calls are made at one time.
const stressCallers = 30

// stressTimeout returns the timeout of the calls. It is short, since some answers never
// come, but many times what a call takes on this machine when it is answered.
func stressTimeout(t *testing.T) time.Duration {
	const each = 10
	c := newPeer(t, answering(arbiter)).client(t, client.WithMaxConns(stressCallers))
	begin := time.Now()
	var callers sync.WaitGroup
	for range stressCallers {
		callers.Go(func() {
			for range each {
				assert.NoError(t, c.Ping(context.Background()))
			}
		})
	}
	callers.Wait()
	return max(100*time.Millisecond, 20*time.Since(begin)/each).Round(time.Millisecond)
}

// stressed are the calls of a stress, and what became of them. Each call has
// elements of its own.
type stressed struct {
	t    *testing.T
	safe []bool // it failed, and can be made again
	good []bool // it changed something, and came back

	goods, chunks, left, failed atomic.Int64

	ended  atomic.Int64 // calls whose context has ended before they have
	latest atomic.Int64 // the longest time from that end to the end of the call
}

// latestEnd is how long after its context a call may end at most. On an idle machine
// it is milliseconds; every other bound of the calls is a hang if this one fails.
const latestEnd = 10 * time.Second

// watchEnd measures how long after its context a call ends. The function that it
// returns is called when the call has.
func (s *stressed) watchEnd(ctx context.Context) func() {
	begin := time.Now()
	var at atomic.Int64
	stop := context.AfterFunc(ctx, func() { at.Store(int64(time.Since(begin)) + 1) })
	return func() {
		now := int64(time.Since(begin))
		stop()
		if at.Load() == 0 {
			return
		}
		s.ended.Add(1)
		late := now - at.Load()
		for old := s.latest.Load(); late > old && !s.latest.CompareAndSwap(old, late); {
			old = s.latest.Load()
		}
	}
}

// call makes the call of that number.
func (s *stressed) call(c *client.Client, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch rand.N(20) {
	case 0, 1:
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, rand.N(time.Millisecond))
		defer stop()
	case 2, 3:
		defer time.AfterFunc(rand.N(time.Millisecond), cancel).Stop()
	case 4:
		cancel()
	}
	want, changes := stressValue(n, 0), true
	defer s.watchEnd(ctx)() // before the deferred cancel
	var err error
	switch rand.N(12) {
	case 0:
		err = c.Stash("t").Put(ctx, n, want)
	case 1:
		changes = false
		var got int64
		if got, err = client.StashGet[int64](ctx, c.Stash("t"), n); err == nil {
			s.same(want, got)
		}
	case 2:
		changes = false
		err = c.Ping(ctx)
	case 3, 4, 5:
		err = s.stream(ctx, c, n)
	case 6:
		var got int64 // a request that takes several writes
		if got, err = client.Call[int64](ctx, c, app, "value", n, make([]byte, 300_000)); err == nil {
			s.same(want, got)
		}
	default:
		var got int64
		if got, err = client.Call[int64](ctx, c, app, "value", n); err == nil {
			s.same(want, got)
		}
	}
	if err == nil {
		s.goods.Add(1)
		s.good[n] = changes
		return
	}
	s.failed.Add(1)
	s.safe[n] = changes && client.SafeToRetry(err)
	if !expected(err) {
		assert.Fail(s.t, "an error that nobody expects", "%v", err)
	}
}

// stream makes the call of that number as a stream, which may be left early.
func (s *stressed) stream(ctx context.Context, c *client.Client, n int) error {
	i := 0
	leave := rand.N(4) == 0
	for v, err := range client.StreamOf[int64](ctx, c, app, "stream", n) {
		if err != nil {
			return err
		}
		s.same(stressValue(n, i), v)
		s.chunks.Add(1)
		i++
		if leave {
			s.left.Add(1)
			return nil
		}
	}
	s.same(int64(stressChunks(n)), int64(i))
	return nil
}

func (s *stressed) same(want, got int64) {
	if want != got {
		assert.Fail(s.t, "a reply to somebody else", "%#x, want %#x", got, want)
	}
}

// expected reports whether the faults and the cancels explain an error.
func expected(err error) bool {
	var op *client.OpError
	if !errors.As(err, &op) {
		return false
	}
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, client.ErrIDMismatch, client.ErrStreamingResponse, client.ErrUnexpectedReply,
		io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, io.ErrClosedPipe, client.ErrUnavailable, dirty.ErrNoWorkers,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
