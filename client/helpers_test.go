package client_test

import (
	"errors"
	"io"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// within bounds what should come at once, but may be slow on a busy machine.
const within = time.Minute

// newClient makes a client that is closed at the end of the test, and checked to
// have let go of everything.
func newClient(tb testing.TB, opts ...client.Option) *client.Client {
	tb.Helper()
	c, err := client.New(opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		requireQuiet(tb, c)
		assert.NoError(tb, c.Close())
		s := c.Stats()
		assert.Zero(tb, s.InUse+s.Idle+s.Dialing+s.Closing+s.Waiting, "%+v", s)
		assert.Empty(tb, goroutinesLeft(), "goroutines are left")
	})
	return c
}

// requireQuiet waits until nothing is in use; what is cancelled lets go a
// moment later.
func requireQuiet(tb testing.TB, c *client.Client) {
	tb.Helper()
	quiet := func() bool {
		s := c.Stats()
		return s.InUse+s.Waiting+s.Dialing+s.Closing == 0
	}
	if !eventually(quiet) {
		require.Fail(tb, "connections are still in use", "%+v", c.Stats())
	}
}

// eventually waits for a condition, and reports whether it came in time.
func eventually(condition func() bool) bool {
	for end := time.Now().Add(within); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return condition()
		}
	}
	return true
}

// await waits for a condition.
func await(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	require.True(tb, eventually(condition), "not in time: %s", what)
}

// receive waits for a value.
func receive[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		require.Fail(tb, "not in time: "+what)
	}
	return v
}

// async runs a function in a goroutine, and returns where its error comes.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// requireOp checks that err is the failure of a call at a stage.
func requireOp(tb testing.TB, err error, stage client.Stage, sent bool) *client.OpError {
	tb.Helper()
	var op *client.OpError
	require.ErrorAs(tb, err, &op)
	require.Equal(tb, stage, op.Stage, "%v", err)
	require.Equal(tb, sent, op.Sent, "%v", err)
	assert.NotErrorIs(tb, err, io.EOF, "it would be taken for the end of a stream")
	return op
}

// timesOut reports whether err is a timeout, as package net has it.
func timesOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// collect ranges to the end.
func collect[T any](seq iter.Seq2[T, error]) (values []T, err error) {
	for v, err := range seq {
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

// isUnknown reports whether the peer may have acted without our knowing.
func isUnknown(err error) bool { return errors.Is(err, client.ErrOutcomeUnknown) }
