package dirtytest_test

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestFaults: a client sees what each fault says, in a call and in a stream of three
// chunks. The next call is served.
func TestFaults(t *testing.T) {
	is := func(targets ...error) []error { return targets }
	lost := is(client.ErrOutcomeUnknown, io.ErrUnexpectedEOF)
	for _, tt := range []struct {
		name   string
		fault  dirtytest.Fault
		call   []error // what the error of a call matches; nil: there is none
		stream []error
		chunks int           // how many chunks of the stream come
		after  time.Duration // when the call ends
	}{
		{name: "delay", fault: dirtytest.Delay(time.Second), chunks: 3, after: time.Second},
		{name: "hang", fault: dirtytest.Hang(), call: is(client.ErrTimeout, client.ErrOutcomeUnknown), stream: is(client.ErrTimeout), after: 30 * time.Second},
		{name: "close before", fault: dirtytest.CloseBefore(), call: lost, stream: lost},
		{name: "close at once", fault: dirtytest.CloseAfter(0), call: lost, stream: lost},
		{name: "close in the header", fault: dirtytest.CloseAfter(7), call: lost, stream: lost},
		{name: "close in the second chunk", fault: dirtytest.CloseAfter(50), stream: lost, chunks: 1},
		{name: "reply", fault: dirtytest.Reply(dirty.ErrNoWorkers), call: is(dirty.ErrNoWorkers), stream: is(dirty.ErrNoWorkers)},
		{name: "garbage", fault: dirtytest.Garbage(), call: is(dirty.ErrBadMagic, client.ErrOutcomeUnknown), stream: is(dirty.ErrBadMagic)},
		{name: "wrong id", fault: dirtytest.WrongID(), call: is(client.ErrIDMismatch, client.ErrOutcomeUnknown), stream: is(client.ErrIDMismatch)},
		{name: "truncate", fault: dirtytest.Truncate(3), call: lost, stream: lost},
		{name: "truncate all and more", fault: dirtytest.Truncate(math.MaxInt), call: lost, stream: lost},
		{name: "truncate less than nothing", fault: dirtytest.Truncate(-1000), stream: lost, chunks: 1},
		{name: "oversize header", fault: dirtytest.OversizeHeader(), call: is(dirty.ErrTooLarge), stream: is(dirty.ErrTooLarge)},
		{name: "no end", fault: dirtytest.NoEnd(), stream: is(client.ErrTimeout), chunks: 3},
		{name: "slow chunks", fault: dirtytest.SlowChunks(time.Second), chunks: 3},
		{name: "chunks that are too slow", fault: dirtytest.SlowChunks(time.Minute), stream: is(client.ErrTimeout)},
		{name: "bad UTF-8", fault: dirtytest.BadUTF8(), call: is(dirty.ErrInvalidUTF8), stream: is(dirty.ErrInvalidUTF8)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := dirtytest.NewServer(t, newMux(), dirtytest.WithInMemory())
				c := s.Client()
				rule := s.Fault(dirtytest.MatchCall(app, ""), tt.fault).Times(2)

				begin := time.Now()
				got, err := c.Execute(t.Context(), app, "echo", "x")
				assert.Equal(t, tt.after, time.Since(begin))
				requireMatches(t, err, tt.call)
				if tt.call == nil {
					assert.Equal(t, "x", got)
				}

				chunks := 0
				var streamErr error
				other := s.Client() // the first may hold a connection that is about to end
				for i, err := range client.StreamOf[int](t.Context(), other, app, "count", 3) {
					if streamErr = err; err == nil {
						assert.Equal(t, chunks, i)
						chunks++
					}
				}
				requireMatches(t, streamErr, tt.stream)
				assert.Equal(t, tt.chunks, chunks)
				assert.Equal(t, 2, rule.Hits())

				got, err = s.Client().Execute(t.Context(), app, "echo", "y")
				require.NoError(t, err)
				assert.Equal(t, "y", got)
			})
		})
	}
}

func requireMatches(t *testing.T, err error, targets []error) {
	t.Helper()
	if targets == nil {
		require.NoError(t, err)
	}
	for _, target := range targets {
		require.ErrorIs(t, err, target)
	}
}

// TestStaleReply: each client gets the answer to the request before its own, as with
// gunicorn up to 26.0.
func TestStaleReply(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	c, other := s.Client(), s.Client()
	_, err := other.Execute(t.Context(), app, "echo", "secret")
	require.NoError(t, err)
	s.Fault(dirtytest.MatchAny, dirtytest.StaleReply())
	for range 3 {
		got, err := c.Execute(t.Context(), app, "echo", "mine")
		require.ErrorIs(t, err, client.ErrIDMismatch)
		assert.Nil(t, got)
	}
	assert.EqualValues(t, 3, c.Stats().Mismatches)
	s.ClearFaults()
	_, err = c.Execute(t.Context(), app, "echo", "mine")
	require.NoError(t, err)
}

// TestFaultOrder: faults of one rule are applied in order, and of several rules
// the first that applies counts.
func TestFaultOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dirtytest.NewServer(t, newMux(), dirtytest.WithInMemory())
		c := s.Client()
		s.Fault(dirtytest.MatchType(dirty.TypeStatus), dirtytest.Delay(time.Second), dirtytest.Delay(time.Second), dirtytest.WrongID()).Times(1)
		s.Fault(dirtytest.MatchAny, dirtytest.CloseBefore())
		begin := time.Now()
		require.ErrorIs(t, c.Ping(t.Context()), client.ErrIDMismatch)
		assert.Equal(t, 2*time.Second, time.Since(begin))
		require.ErrorIs(t, c.Ping(t.Context()), io.ErrUnexpectedEOF)
	})
}

// TestProb: the same seed makes the same choices, and about as many as p says.
func TestProb(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	outcome := func() (failed []int) {
		c := s.Client()
		for i := range 200 {
			if _, err := c.Execute(t.Context(), app, "echo", i); err != nil {
				require.ErrorIs(t, err, dirty.ErrWorker)
				failed = append(failed, i)
			}
		}
		return failed
	}
	rule := s.Fault(dirtytest.MatchAny, dirtytest.Reply(dirty.ErrWorker)).Prob(0.3, 7)
	first := outcome()
	assert.Len(t, first, rule.Hits())
	assert.InDelta(t, 60, len(first), 30)
	rule.Prob(0.3, 7)
	assert.Equal(t, first, outcome())
	rule.Prob(0, 7)
	assert.Empty(t, outcome())
}

// TestMatches: each Match chooses the requests that it names.
func TestMatches(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	c := s.Client()
	_, _ = c.Execute(t.Context(), app, "echo", 1)
	require.NoError(t, c.Stash("t").Put(t.Context(), "k", 1))
	require.NoError(t, c.Ping(t.Context()))
	_, err := c.AddWorkers(t.Context(), 1)
	require.NoError(t, err)
	requests := s.WaitRequests(4)
	for name, tt := range map[string]struct {
		match dirtytest.Match
		want  []int
	}{
		"any":            {dirtytest.MatchAny, []int{0, 1, 2, 3}},
		"call":           {dirtytest.MatchCall("", ""), []int{0}},
		"app":            {dirtytest.MatchCall(app, ""), []int{0}},
		"action":         {dirtytest.MatchCall("", "echo"), []int{0}},
		"another app":    {dirtytest.MatchCall("x:X", ""), nil},
		"another action": {dirtytest.MatchCall(app, "count"), nil},
		"stash":          {dirtytest.MatchStash(), []int{1}},
		"stash put":      {dirtytest.MatchStash(dirty.StashGet, dirty.StashPut), []int{1}},
		"stash get":      {dirtytest.MatchStash(dirty.StashGet), nil},
		"status":         {dirtytest.MatchType(dirty.TypeStatus), []int{2}},
		"manage":         {dirtytest.MatchType(dirty.TypeManage), []int{3}},
	} {
		var got []int
		for i, r := range requests {
			if tt.match(r) {
				got = append(got, i)
			}
		}
		assert.Equal(t, tt.want, got, name)
	}
	assert.Equal(t, app+".echo", requests[0].String())
	assert.Equal(t, `stash put "t"`, requests[1].String())
	assert.Equal(t, "status", requests[2].String())
	assert.Equal(t, "manage add", requests[3].String())
	assert.Equal(t, app, requests[0].App())
	assert.Equal(t, "echo", requests[0].Action())
	assert.Empty(t, requests[1].App()+requests[1].Action())
}

// TestHangUntilClientLeaves: the connection stays open until the client leaves.
func TestHangUntilClientLeaves(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	s.Fault(dirtytest.MatchAny, dirtytest.Hang()).Times(1)
	c := s.Client()
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	go func() {
		s.WaitRequests(1)
		open, total := s.Conns()
		assert.Equal(t, []int{1, 1}, []int{open, total})
		cancel(reason)
	}()
	_, err := c.Execute(ctx, app, "echo", 1)
	require.ErrorIs(t, err, reason)
	require.Eventually(t, func() bool { open, _ := s.Conns(); return open == 0 }, time.Minute, time.Millisecond)
}

// TestMatchThatDoesNotReturn: a Match that panics fails the test, and one that ends
// its goroutine ends only the connection. No connection stays open.
func TestMatchThatDoesNotReturn(t *testing.T) {
	for name, tt := range map[string]struct {
		match func(dirtytest.Request) bool
		want  string
	}{
		"panic":  {func(dirtytest.Request) bool { panic("oops") }, "dirtytest: panic: oops"},
		"Goexit": {func(dirtytest.Request) bool { runtime.Goexit(); return true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tb := &failingTB{TB: t}
			s := dirtytest.NewServer(tb, newMux())
			s.Fault(tt.match, dirtytest.Hang())
			s.Script(dirtytest.Expect(tt.match))
			for range 2 { // the script, then the fault
				require.ErrorIs(t, s.Client().Ping(t.Context()), io.ErrUnexpectedEOF)
			}
			require.Eventually(t, func() bool { open, _ := s.Conns(); return open == 0 }, time.Minute, time.Millisecond)
			s.ClearFaults()
			require.NoError(t, s.Client().Ping(t.Context()))
			for _, failure := range tb.all() {
				assert.Contains(t, failure, tt.want)
			}
			assert.Equal(t, tt.want != "", len(tb.all()) == 2)
		})
	}
}
