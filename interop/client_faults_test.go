//go:build unix

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// onLinux skips tests that need /proc or the process id of a peer. With
// DIRTY_INTEROP=require nothing may be missing, so they fail.
func onLinux(t *testing.T) {
	t.Helper()
	switch {
	case runtime.GOOS == "linux":
	case os.Getenv("DIRTY_INTEROP") == "require":
		t.Fatal("needs Linux")
	default:
		t.Skip("NOT RUN: needs Linux")
	}
}

// report writes down what a caller saw of a fault, and how soon calls were answered
// again. faults.py makes the table in docs/FAULTS.md of these lines.
func report(t *testing.T, fault, sees string, back time.Duration) {
	t.Helper()
	t.Logf("FAULT %s: sees %s; back after %d ms", fault, sees, back.Milliseconds())
}

// describeOutcome describes the outcome of a call in words that are the same each
// time: which errors it matches, gunicorn's message without its varying parts, and
// whether the call can safely be made again.
func describeOutcome(err error) string {
	if err == nil {
		return "the answer"
	}
	var names []string
	for _, known := range []struct {
		err  error
		name string
	}{
		{client.ErrTimeout, "ErrTimeout"}, {client.ErrUnavailable, "ErrUnavailable"},
		{client.ErrIDMismatch, "ErrIDMismatch"}, {client.ErrPoolTimeout, "ErrPoolTimeout"},
		{client.ErrUnsupportedPeer, "ErrUnsupportedPeer"}, {client.ErrOutcomeUnknown, "ErrOutcomeUnknown"},
		{dirty.ErrPeerTimeout, "dirty.ErrPeerTimeout"}, {dirty.ErrWorker, "dirty.ErrWorker"}, {dirty.ErrNoWorkers, "dirty.ErrNoWorkers"},
		{dirty.ErrApp, "dirty.ErrApp"},
		{io.ErrUnexpectedEOF, "EOF"}, {syscall.EAGAIN, "EAGAIN"}, {syscall.ECONNREFUSED, "ECONNREFUSED"},
		{syscall.ECONNRESET, "ECONNRESET"}, {syscall.EPIPE, "EPIPE"}, {os.ErrNotExist, "ENOENT"},
	} {
		if errors.Is(err, known.err) {
			names = append(names, known.name)
		}
	}
	text := strings.Join(names, " + ")
	if remote := (*dirty.RemoteError)(nil); errors.As(err, &remote) {
		message := strings.TrimPrefix(remote.Message, "Worker communication failed: ")
		text += fmt.Sprintf(" %q", varying.ReplaceAllString(message, "N"))
	} else if strings.Contains(err.Error(), "stale socket") {
		text += " + stale socket"
	} else if text == "" {
		text = fmt.Sprintf("%q", varying.ReplaceAllString(err.Error(), "N"))
	}
	if client.SafeToRetry(err) {
		return text + " [safe to retry]"
	}
	return text + " [not safe to retry]"
}

// varying matches what differs from one message to the next.
var varying = regexp.MustCompile(`/tmp/\S+|\b\d{3,}\b`)

// awaitService waits until a call that began after the fault is answered, and returns
// how long after the fault that was. gunicorn loses calls while it recovers, so new
// ones begin all the time. Each has a second, and more time the longer this takes: on
// a busy machine a second may not be enough.
func awaitService(t *testing.T, c *client.Client, fault time.Time) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer awaitCalm(t, c)
	defer cancel() // the calls that are lost
	answered := make(chan time.Time, 1)
	last := errors.New("none was answered")
	failed := make(chan error, 1)
	begin := time.NewTicker(20 * time.Millisecond)
	defer begin.Stop()
	timeout := time.After(maxWait)
	start := time.Now()
	places := make(chan struct{}, client.DefaultMaxConns-1) // leave one to whoever else calls
	for {
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, time.Second+time.Since(start))
			defer cancel()
			got, err := client.Call[int](ctx, c, app, "identity", 17)
			switch {
			case err == nil && got == 17:
				select {
				case answered <- time.Now():
				default:
				}
			case err == nil:
				err = fmt.Errorf("a wrong answer: %d", got)
				fallthrough
			default:
				select {
				case failed <- err:
				default:
				}
			}
		}()
		select {
		case at := <-answered:
			return at.Sub(fault)
		case err := <-failed:
			require.NotContains(t, err.Error(), "a wrong answer")
			last = err
			<-begin.C
		case <-begin.C:
		case <-timeout:
			require.FailNow(t, "service does not come back", "%v", last)
		}
	}
}
