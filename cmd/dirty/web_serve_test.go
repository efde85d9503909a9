package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newTestWeb() *webServer {
	return newWebServer(webAbout{}, "watch.example", newWebCollector(false), &webWorkers{})
}

// TestWebRequests: who gets what, and that nobody else's page can read it.
func TestWebRequests(t *testing.T) {
	s := newTestWeb()
	for _, tt := range []struct {
		name, method, host, path string
		header                   string // "Name: value"
		status                   int
	}{
		{"the page", "GET", "127.0.0.1:8080", "/", "", 200},
		{"its script", "GET", "localhost:8080", "/page.js", "", 200},
		{"another port, through a tunnel", "GET", "LOCALHOST:9", "/", "", 200},
		{"IPv6", "GET", "[::1]:8080", "/", "", 200},
		{"without a port", "GET", "[::1]", "/", "", 200},
		{"the host of --web", "GET", "watch.example:80", "/", "", 200},
		{"a link of another site", "GET", "localhost", "/", "Sec-Fetch-Site: cross-site", 200},
		{"a name that leads here", "GET", "evil.example:8080", "/", "", 421},
		{"a name that only begins like it", "GET", "localhost.evil.example", "/events", "", 421},
		{"a name that only looks like a number", "GET", "127.0.0.1.evil.example", "/", "", 421},
		{"no host", "GET", "", "/", "", 421},
		{"POST", "POST", "localhost", "/", "", 405},
		{"HEAD", "HEAD", "localhost", "/", "", 405},
		{"OPTIONS", "OPTIONS", "localhost", "/calls/1", "Origin: http://evil.example", 405},
		{"another site asks", "GET", "localhost", "/calls/1", "Sec-Fetch-Site: cross-site", 403},
		{"another port of this host asks", "GET", "localhost", "/events", "Sec-Fetch-Site: same-site", 403},
		{"no such file", "GET", "localhost", "/missing", "", 404},
		{"no file beside it", "GET", "localhost", "/web.go", "", 404},
		{"no such call", "GET", "localhost", "/calls/1", "Sec-Fetch-Site: same-origin", 404},
		{"no number", "GET", "localhost", "/calls/x", "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(tt.method, "http://x/", nil)
			r.Host, r.URL.Path = tt.host, tt.path
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				r.Header.Set(name, value)
			}
			s.ServeHTTP(w, r)
			assert.Equal(t, tt.status, w.Code)
			policy := w.Header().Get("Content-Security-Policy")
			assert.Contains(t, policy, "default-src 'none'; script-src 'self'; style-src 'self'")
			assert.NotContains(t, policy, "unsafe")
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Equal(t, "same-origin", w.Header().Get("Cross-Origin-Resource-Policy"))
			if tt.status == 200 {
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			}
			for name := range w.Header() {
				assert.False(t, strings.HasPrefix(name, "Access-Control-"), name)
			}
		})
	}
}

// pipeListener accepts the connections of a channel.
type pipeListener struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { close(l.ended); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// TestWebViewers: a viewer that does not read is left, those beyond the most are
// refused, and none of them holds up the events.
func TestWebViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := newTestWeb()
		l := pipeListener{make(chan net.Conn), make(chan struct{})}
		s := &http.Server{Handler: web}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		open := func() net.Conn {
			nc, remote := net.Pipe()
			l.conns <- remote
			_, err := io.WriteString(nc, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			return nc
		}
		var conns []net.Conn
		for range maxWebViewers {
			conns = append(conns, open()) // and read nothing
		}
		synctest.Wait()
		assert.Len(t, web.viewers, maxWebViewers)
		web.calls.tap(webRequest(1, 1, "app:App", "action"))
		web.calls.tap(webResponse(1, 1))
		refused := open()
		answer, err := http.ReadResponse(bufio.NewReader(refused), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)

		// One that reads is told at once and stays.
		reader := bufio.NewReader(conns[0])
		for line := ""; !strings.Contains(line, `"calls":1`); {
			line, err = reader.ReadString('\n')
			require.NoError(t, err)
		}
		go func() { _, _ = io.Copy(io.Discard, reader) }()
		synctestSleep(2 * webWriteTimeout)
		assert.Len(t, web.viewers, 1)

		for _, nc := range append(conns, refused) {
			require.NoError(t, nc.Close())
		}
		synctestSleep(2 * webPause)
		assert.Empty(t, web.viewers)
		require.NoError(t, s.Shutdown(t.Context()))
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// TestWebAddresses: without a word of the user's, only this machine can see the page.
func TestWebAddresses(t *testing.T) {
	for _, tt := range []struct {
		addr    string
		exposed bool
		err     string // part of the error; empty if it works
	}{
		{"127.0.0.1:0", false, ""},
		{"localhost:0", false, ""},
		{"0.0.0.0:0", false, "other hosts can reach this address"},
		{":0", false, "other hosts can reach this address"},
		{":0", true, ""},
		{"8080", false, "want HOST:PORT"},
		{"localhost:http-of-nobody", false, "unknown port"},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			c := &cli{stdout: &output{w: io.Discard}, stderr: io.Discard}
			target := target{resolve: func(context.Context) (string, error) { return "/missing", nil }}
			page, err := c.startWeb(t.Context(), target, "", webFlags{tt.addr, tt.exposed}, false)
			if tt.err == "" {
				require.NoError(t, err)
				page.close()
				return
			}
			require.ErrorContains(t, err, tt.err)
		})
	}
	got := dirtyRun("", "proxy", "x.sock", "--web-exposed")
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "add --web")
}

// TestWebArbiterSilent: the page says why there are no workers.
func TestWebArbiterSilent(t *testing.T) {
	w := &webWorkers{err: errors.New("dirty: no such file")}
	assert.Equal(t, webArbiter{Error: "no such file", Workers: []webWorker{}}, w.view())
	w = &webWorkers{seen: &seenArbiter{ArbiterPID: 7}, asked: time.Now()}
	assert.Equal(t, webArbiter{PID: 7, Workers: []webWorker{}}, w.view())
	w.asked = time.Now().Add(-10 * time.Second)
	assert.Equal(t, webArbiter{Error: "it was asked 10 s ago", Workers: []webWorker{}}, w.view())
}
