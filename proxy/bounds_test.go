package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/proxy"
)

// TestMaxConns: a client beyond the bound is closed at once, those within it are not
// disturbed, and a place that becomes free can be taken.
func TestMaxConns(t *testing.T) {
	arbiter := newArbiter(t)
	var seen events
	var logged lockedBuffer
	p := &proxy.Proxy{
		Dial: proxy.DialUnix(arbiter.Socket()), Tap: seen.tap, MaxConns: 2,
		Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	path := start(t, p)
	first, second := connectAndAsk(t, path), connectAndAsk(t, path)
	for range 3 {
		refused := dialRaw(t, path)
		_, err := refused.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
	}
	ask(t, first)
	ask(t, second)
	one, other := net.Pipe()
	defer other.Close()
	require.ErrorIs(t, p.ServeConn(one), proxy.ErrTooManyConns)
	_, err := other.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "it closes the connection")
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		nc, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer nc.Close()
		return tryAsk(nc) == nil
	}, time.Minute, 5*time.Millisecond)
	shutdown(t, p)
	refused := 0
	for _, e := range seen.all() {
		if e.Kind == proxy.Closed && errors.Is(e.Err, proxy.ErrTooManyConns) {
			refused++
		}
	}
	assert.GreaterOrEqual(t, refused, 4)
	assert.Equal(t, refused, countLogged(t, logged.String(), "refuses clients"))
}

// countLogged counts the lines with a text, and those that they say were dropped.
func countLogged(t *testing.T, log, text string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(log) {
		if !strings.Contains(line, text) {
			continue
		}
		n++
		if _, dropped, found := strings.Cut(line, "dropped="); found {
			count, err := strconv.Atoi(strings.TrimSpace(dropped))
			require.NoError(t, err)
			n += count
			if !strings.Contains(line, "limit=") && !strings.Contains(line, "error=") {
				n-- // it stands for no client of its own
			}
		}
	}
	return n
}

// TestLogIsBounded: clients that come while the arbiter is away do not fill the log, and
// each of them is counted.
func TestLogIsBounded(t *testing.T) {
	const clients, away = 100, `msg="dirty: a proxy cannot reach the arbiter"`
	synctest.Test(t, func(t *testing.T) {
		var logged lockedBuffer
		p := &proxy.Proxy{
			Dial:   func(context.Context) (net.Conn, error) { return nil, errors.New("away") },
			Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		}
		ask := func() {
			for range clients {
				near, _ := net.Pipe()
				require.ErrorContains(t, p.ServeConn(near), "away")
			}
		}
		ask()
		assert.Equal(t, 1, strings.Count(logged.String(), away))
		time.Sleep(time.Second)
		ask()
		assert.Equal(t, 2, strings.Count(logged.String(), away))
		shutdown(t, p)
		assert.Equal(t, 3, strings.Count(logged.String(), away), "the last one tells the rest")
		assert.Equal(t, 2*clients, countLogged(t, logged.String(), away))
	})
}

// TestMaxConnsUnbounded: a negative number is no bound.
func TestMaxConnsUnbounded(t *testing.T) {
	arbiter := newArbiter(t)
	path := start(t, &proxy.Proxy{Dial: proxy.DialUnix(arbiter.Socket()), MaxConns: -1})
	for range 10 {
		connectAndAsk(t, path)
	}
}

// dialRaw connects, and bounds what the test does with the connection.
func dialRaw(t *testing.T, path string) net.Conn {
	t.Helper()
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	return nc
}

func connectAndAsk(t *testing.T, path string) net.Conn {
	t.Helper()
	nc := dialRaw(t, path)
	ask(t, nc)
	return nc
}

func ask(t *testing.T, nc net.Conn) {
	t.Helper()
	require.NoError(t, tryAsk(nc))
}

// tryAsk asks for the status.
func tryAsk(nc net.Conn) error {
	c := dirty.NewConn(nc)
	if err := c.WriteMessage(dirty.NewStatusRequest(7)); err != nil {
		return err
	}
	_, err := c.ReadFrame()
	return err
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestCalled: each type of request has a name, and no type of answer has.
func TestCalled(t *testing.T) {
	for typ, want := range map[dirty.MessageType]string{
		dirty.TypeRequest: "a:A b", dirty.TypeStash: " stash get", dirty.TypeStatus: " status", dirty.TypeManage: " manage remove",
		dirty.TypeResponse: " ", dirty.TypeError: " ", dirty.TypeChunk: " ", dirty.TypeEnd: " ",
	} {
		op := int(dirty.StashGet)
		if typ == dirty.TypeManage {
			op = int(dirty.ManageRemove)
		}
		payload, err := dirty.Marshal(dirty.Dict{{Key: "app_path", Value: "a:A"}, {Key: "op", Value: op}, {Key: "action", Value: "b"}})
		require.NoError(t, err)
		app, action := proxy.Called(typ, payload)
		assert.Equal(t, want, app+" "+action, typ)
		for n := range payload { // whatever is cut off, it is no reason to fail
			proxy.Called(typ, payload[:n])
		}
		if typ == dirty.TypeRequest {
			app, action = proxy.Called(typ, payload[:len(payload)-1])
			assert.Equal(t, "a:A ", app+" "+action)
		}
	}
}
