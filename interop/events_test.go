//go:build unix

package interop

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// events are what the app tells the tests while it runs: see tell in app/dirtyapp.py.
type events struct {
	conn *net.UnixConn

	lock sync.Mutex
	told []string
	more chan struct{} // closed when there is more
}

// tokens numbers the names of events, so that they differ also when a test runs again.
var tokens atomic.Int64

func token(t *testing.T) string { return fmt.Sprintf("%s/%d", t.Name(), tokens.Add(1)) }

func (e *events) listen(t testing.TB, path string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	e.conn, e.more = conn, make(chan struct{})
	go func() {
		var b [1024]byte
		for {
			n, err := conn.Read(b[:])
			if err != nil {
				return // it was closed
			}
			e.add(string(b[:n]))
		}
	}()
}

func (e *events) add(event string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.told = append(e.told, event)
	close(e.more)
	e.more = make(chan struct{})
}

func (e *events) close() { _ = e.conn.Close() }

// now returns the events so far, and a channel that is closed when there are more.
func (e *events) now() ([]string, <-chan struct{}) {
	e.lock.Lock()
	defer e.lock.Unlock()
	return slices.Clip(e.told), e.more
}

// await waits for an event.
func (e *events) await(t *testing.T, want string) {
	t.Helper()
	e.awaitCount(t, want, 1)
}

// awaitCount waits until so many events that begin with these words were told.
func (e *events) awaitCount(t *testing.T, want string, n int) {
	t.Helper()
	timeout := time.After(maxWait)
	for {
		_, more := e.now()
		if e.count(want) >= n {
			return
		}
		select {
		case <-more:
		case <-timeout:
			told, _ := e.now()
			require.FailNow(t, "nothing was told", "%d times %q, but %d were wanted; the last is %q",
				e.count(want), want, n, told[max(0, len(told)-10):])
		}
	}
}

// count returns how many events begin with these words.
func (e *events) count(want string) int {
	told, _ := e.now()
	n := 0
	for _, event := range told {
		if event == want || strings.HasPrefix(event, want+" ") {
			n++
		}
	}
	return n
}
