package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestCallTracker: an answer belongs to the oldest request with its id, and calls
// without an answer are told of.
func TestCallTracker(t *testing.T) {
	var told []string
	calls := callTracker{report: func(c *watchedCall) {
		told = append(told, c.action+" "+c.outcome+" "+c.class+" "+c.last.String())
	}}
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	header := func(typ dirty.MessageType, id uint64) dirty.Header { return dirty.Header{Type: typ, RequestID: id} }
	failed, err := dirty.Marshal(map[string]any{"error": map[string]any{"error_type": "DirtyAppError"}})
	require.NoError(t, err)

	calls.request(1, header(dirty.TypeRequest, 7), "a:A", "one", nil, at(0))
	calls.request(1, header(dirty.TypeRequest, 8), "a:A", "two", nil, at(1))
	calls.request(2, header(dirty.TypeRequest, 7), "a:A", "three", nil, at(2))
	calls.request(1, header(dirty.TypeRequest, 7), "a:A", "four", nil, at(3))
	calls.answer(1, header(dirty.TypeResponse, 9), nil, at(4)) // of nobody
	calls.answer(3, header(dirty.TypeResponse, 7), nil, at(4))
	calls.answer(1, header(dirty.TypeResponse, 7), nil, at(4))
	calls.answer(2, header(dirty.TypeError, 7), failed, at(5))
	calls.answer(1, header(dirty.TypeChunk, 8), nil, at(6))
	calls.answer(1, header(dirty.TypeEnd, 8), nil, at(7))
	calls.close(1)
	calls.answer(1, header(dirty.TypeResponse, 7), nil, at(8))
	assert.Equal(t, []string{"one ok  4s", "three error DirtyAppError 3s", "two ok  6s", "four no answer  0s"}, told)
	assert.Zero(t, calls.count)

	for range maxWatched + 3 {
		calls.request(4, header(dirty.TypeRequest, 1), "", "", nil, start)
	}
	assert.Equal(t, 3, calls.forgotten)
	calls.closeAll()
	assert.Zero(t, calls.count)
	assert.Len(t, told, 4+maxWatched)
}

// blockedOutput is an output whose reader takes nothing.
type blockedOutput struct {
	once             sync.Once
	writing, release chan struct{}
}

func (o *blockedOutput) Write(b []byte) (int, error) {
	o.once.Do(func() { close(o.writing) })
	<-o.release
	return len(b), nil
}

// TestWatchWithBlockedOutput: a command that watches ends although nobody reads its
// output, and says so.
func TestWatchWithBlockedOutput(t *testing.T) {
	defer func(d time.Duration) { endTime = d }(endTime)
	endTime = 50 * time.Millisecond
	s := dirtytest.NewServer(t, scriptApp())
	s.Fault(dirtytest.MatchType(dirty.TypeRequest), dirtytest.Hang())
	for name, args := range map[string][]string{"monitor": {"--lines"}, "proxy": nil} {
		t.Run(name, func(t *testing.T) {
			listen := filepath.Join(t.TempDir(), "watch.sock")
			out := &blockedOutput{writing: make(chan struct{}), release: make(chan struct{})}
			defer close(out.release)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stderr bytes.Buffer
			ended := make(chan int, 1)
			go func() {
				ended <- run(ctx, append([]string{name, listen, "-s", s.Socket()}, args...), new(bytes.Buffer), out, &stderr)
			}()
			require.Eventually(t, func() bool { _, err := os.Stat(listen); return err == nil }, time.Minute, time.Millisecond)
			c, err := client.New(client.WithSocket(listen))
			require.NoError(t, err)
			s.ForgetRequests()
			go func() { _, _ = c.Execute(t.Context(), demoApp, "echo") }() // it has no answer, which is to be told at the end
			s.WaitRequests(1)
			require.NoError(t, c.Ping(t.Context()), "the traffic is not slowed")
			<-out.writing
			require.NoError(t, c.Close())
			cancel()
			select {
			case status := <-ended:
				assert.Equal(t, exitIO, status)
				assert.Contains(t, stderr.String(), errNotTold.text)
			case <-time.After(time.Minute):
				require.Fail(t, "it does not end")
			}
		})
	}
}
