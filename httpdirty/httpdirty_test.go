package httpdirty_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/httpdirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const app = "app:App"

// newMux has the actions that the tests call. left gets a word when the client of
// the action "endless" leaves.
func newMux(left chan<- struct{}) *server.Mux {
	mux := server.NewMux()
	mux.Handle(app, "echo", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		kwargs := r.Kwargs
		if kwargs == nil {
			kwargs = map[string]any{}
		}
		return w.Respond(map[string]any{"args": r.Args, "kwargs": kwargs})
	}))
	mux.Handle(app, "nan", server.Func(func(context.Context, struct{}) (float64, error) { return math.NaN(), nil }))
	mux.Handle(app, "bytes", server.Func(func(context.Context, struct{}) ([]byte, error) { return []byte{1, 255}, nil }))
	mux.Handle(app, "fail", server.Func(func(context.Context, struct{}) (any, error) { return nil, errors.New("a secret") }))
	mux.Handle(app, "count", server.StreamFunc(func(_ context.Context, a struct{ N int }) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for i := range a.N {
				if !yield(map[string]any{"i": i, "text": "a\nb"}, nil) {
					return
				}
			}
			if a.N == 3 {
				yield(nil, errors.New("a secret"))
			}
		}
	}))
	mux.Handle(app, "endless", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			yield("first", nil)
			<-ctx.Done()
			left <- struct{}{}
		}
	}))
	mux.Handle(app, "slow", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for i := range 2 {
				time.Sleep(40 * time.Second * time.Duration(i))
				yield(i, nil)
			}
		}
	}))
	mux.Handle(app, "steady", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			for i := range 4 {
				yield(i, nil)
				time.Sleep(10 * time.Second)
			}
		}
	}))
	return mux
}

func newServer(t *testing.T, left chan<- struct{}, opts ...httpdirty.Option) *httptest.Server {
	t.Helper()
	arbiter := dirtytest.NewServer(t, newMux(left), dirtytest.WithUnknownCalls())
	s := httptest.NewServer(httpdirty.Handler(arbiter.Client(), opts...))
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, url, body string, header ...string) (status int, answer string, h http.Header) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answered, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answered.Body.Close()
	text, err := io.ReadAll(answered.Body)
	require.NoError(t, err)
	return answered.StatusCode, string(text), answered.Header
}

func TestCalls(t *testing.T) {
	s := newServer(t, nil, httpdirty.Allow(app), httpdirty.Allow("other:App", "some"), httpdirty.WithMaxBody(200))
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"array", "/app:App/echo", `[1, 1.0, "é", null, {"a": [9007199254740993]}]`, 200, `{"result":{"args":[1,1,"é",null,{"a":[9007199254740993]}],"kwargs":{}}}`},
		{"object", "/app:App/echo", `{"b": 1, "a": {"c": true}}`, 200, `{"result":{"args":[],"kwargs":{"a":{"c":true},"b":1}}}`},
		{"nothing", "/app:App/echo", " \n", 200, `{"result":{"args":[],"kwargs":{}}}`},
		{"bytes", "/app:App/bytes", ``, 200, `{"result":"Af8="}`},
		{"NaN", "/app:App/nan", ``, 502, `{"error":{"outcome":"bad_reply","message":"the result cannot be written as JSON"}}`},
		{"raises", "/app:App/fail", ``, 500, `{"error":{"outcome":"app_error","message":"the action failed"}}`},
		{"unknown action", "/app:App/none", ``, 500, `{"error":{"outcome":"app_error","message":"the action failed"}}`},
		{"unknown app", "/other:App/some", ``, 503, `{"error":{"outcome":"no_workers","message":"no worker has the app"}}`},
		{"not allowed", "/other:App/echo", ``, 403, `{"error":{"outcome":"forbidden","message":"this app or action is not open here"}}`},
		{"no action", "/app:App", ``, 403, `{"error":{"outcome":"forbidden","message":"this app or action is not open here"}}`},
		{"empty action", "/app:App/", ``, 403, `{"error":{"outcome":"forbidden","message":"this app or action is not open here"}}`},
		{"scalar", "/app:App/echo", `1`, 400, `{"error":{"outcome":"bad_request","message":"the body must be an array, an object, or empty"}}`},
		{"two values", "/app:App/echo", `[] []`, 400, `{"error":{"outcome":"bad_request","message":"the body is more than one JSON value"}}`},
		{"too large a number", "/app:App/echo", `[9223372036854775808]`, 400, `{"error":{"outcome":"invalid","message":"the arguments cannot be sent"}}`},
		{"not too large", "/app:App/echo", `["` + strings.Repeat("x", 196) + `"]`, 200, `{"result":{"args":["` + strings.Repeat("x", 196) + `"],"kwargs":{}}}`},
		{"a byte too large", "/app:App/echo", `["` + strings.Repeat("x", 197) + `"]`, 413, `{"error":{"outcome":"too_large","message":"the body is larger than 200 bytes"}}`},
		{"too large", "/app:App/echo", `["` + strings.Repeat("x", 300) + `"]`, 413, `{"error":{"outcome":"too_large","message":"the body is larger than 200 bytes"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer, h := post(t, s.URL+tt.path, tt.body)
			assert.Equal(t, tt.status, status)
			assert.Equal(t, tt.want+"\n", answer)
			assert.Equal(t, "application/json", h.Get("Content-Type"))
		})
	}
	status, answer, _ := post(t, s.URL+"/app:App/echo", `{`)
	assert.Equal(t, 400, status)
	assert.Contains(t, answer, "the body is not JSON")
	status, _, _ = post(t, s.URL+"/app:App/echo", `[1]`, "Content-Type", "text/plain")
	assert.Equal(t, 400, status)
	status, answer, _ = post(t, s.URL+"/app:App/echo", ``, "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, 403, status, "%s", answer)
	answered, err := http.Get(s.URL + "/app:App/echo")
	require.NoError(t, err)
	require.NoError(t, answered.Body.Close())
	assert.Equal(t, 405, answered.StatusCode)
	assert.Equal(t, "POST", answered.Header.Get("Allow"))
}

// TestDefaultMaxBody: the bound that holds if none is set, or none that makes sense.
func TestDefaultMaxBody(t *testing.T) {
	for _, opts := range [][]httpdirty.Option{nil, {httpdirty.WithMaxBody(0)}, {httpdirty.WithMaxBody(-1)}} {
		s := newServer(t, nil, append(opts, httpdirty.Allow(app))...)
		for n, want := range map[int]int{httpdirty.DefaultMaxBody: 200, httpdirty.DefaultMaxBody + 1: 413} {
			status, _, _ := post(t, s.URL+"/app:App/echo", `["`+strings.Repeat("x", n-4)+`"]`)
			assert.Equal(t, want, status)
		}
	}
}

// TestEveryOutcome: each word of client.Outcome has the status that the package comment
// tells, and a text that is not the error's.
func TestEveryOutcome(t *testing.T) {
	arbiter := dirtytest.NewServer(t, newMux(nil))
	remote := func(class string) error { return &dirty.RemoteError{Type: class, Message: "a secret"} }
	rows := []struct {
		word   string
		status int
		err    error // of the call; nil if it comes from elsewhere
	}{
		{"app_error", 500, remote(dirty.ClassApp)},
		{"app_not_found", 404, remote(dirty.ClassAppNotFound)},
		{"no_workers", 503, remote(dirty.ClassNoWorkersAvailable)},
		{"worker_error", 502, remote(dirty.ClassWorker)},
		{"not_found", 404, dirty.ErrKeyNotFound},
		{"remote_error", 502, nil},
		{"timeout", 504, context.DeadlineExceeded},
		{"pool_timeout", 503, client.ErrPoolTimeout},
		{"canceled", 499, context.Canceled},
		{"closed", 503, client.ErrClosed},
		{"unavailable", 503, client.ErrUnavailable},
		{"lost", 502, nil},
		{"bad_reply", 502, client.ErrIDMismatch},
		{"invalid", 400, client.ErrInvalidArgument},
		{"hook_failed", 500, nil},
		{"other", 500, errors.New("a secret")},
	}
	ask := func(c *client.Client) (int, string) {
		w := httptest.NewRecorder()
		httpdirty.Handler(c, httpdirty.Allow(app)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/app:App/echo", nil))
		return w.Code, w.Body.String()
	}
	table, err := os.ReadFile("httpdirty.go")
	require.NoError(t, err)
	words := map[string]bool{"ok": true}
	for _, tt := range rows {
		t.Run(tt.word, func(t *testing.T) {
			c := arbiter.Client(client.WithInterceptor(func(ctx context.Context, _ *client.CallInfo, next func(context.Context) error) error {
				switch {
				case tt.word == "hook_failed":
					panic("a secret")
				case tt.err == nil:
					return next(ctx)
				}
				return tt.err
			}))
			switch tt.word {
			case "remote_error":
				arbiter.Fault(dirtytest.MatchAny, dirtytest.Reply(remote("Unheard"))).Times(1)
			case "lost":
				arbiter.Fault(dirtytest.MatchAny, dirtytest.CloseAfter(0)).Times(1)
			}
			status, answer := ask(c)
			assert.Equal(t, tt.status, status)
			assert.Contains(t, answer, `{"error":{"outcome":"`+tt.word+`","message":"`)
			assert.NotContains(t, answer, "secret")
			assert.Regexp(t, fmt.Sprintf(`(?m)^//	%d  .*\b%s\b`, tt.status, tt.word), string(table))
		})
		words[tt.word] = true
	}
	comment, err := os.ReadFile("../client/outcome.go")
	require.NoError(t, err)
	all := regexp.MustCompile(`(?m)^//	([a-z_]+)  `).FindAllStringSubmatch(string(comment), -1)
	require.NotEmpty(t, all)
	for _, word := range all {
		assert.Contains(t, words, word[1])
	}
}

// TestNothingIsAllowed: an app is open only if somebody says so.
func TestNothingIsAllowed(t *testing.T) {
	status, _, _ := post(t, newServer(t, nil).URL+"/app:App/echo", ``)
	assert.Equal(t, 403, status)
}

func TestMessages(t *testing.T) {
	_, answer, _ := post(t, newServer(t, nil, httpdirty.Allow(app), httpdirty.WithMessages()).URL+"/app:App/fail", ``)
	assert.Contains(t, answer, "a secret")
}

func TestStreams(t *testing.T) {
	s := newServer(t, nil, httpdirty.Allow(app, "count"))
	status, answer, h := post(t, s.URL+"/app:App/count", `[2]`)
	assert.Equal(t, 200, status)
	assert.Equal(t, "text/event-stream", h.Get("Content-Type"))
	assert.Equal(t, "data: {\"i\":0,\"text\":\"a\\nb\"}\n\ndata: {\"i\":1,\"text\":\"a\\nb\"}\n\nevent: end\ndata: {}\n\n", answer)
	_, answer, _ = post(t, s.URL+"/app:App/count", `{"n": 0}`)
	assert.Equal(t, "event: end\ndata: {}\n\n", answer)
	_, answer, _ = post(t, s.URL+"/app:App/count", `[3]`)
	assert.True(t, strings.HasSuffix(answer, "event: error\ndata: {\"error\":{\"outcome\":\"app_error\",\"message\":\"the action failed\"}}\n\n"), answer)
}

// TestBrowserLeavesFirst: the action is told, before it has answered too.
func TestBrowserLeavesFirst(t *testing.T) {
	left, begun := make(chan struct{}, 1), make(chan struct{})
	mux := server.NewMux()
	mux.Handle(app, "quiet", server.Func(func(ctx context.Context, _ struct{}) (any, error) {
		close(begun)
		<-ctx.Done()
		left <- struct{}{}
		return nil, ctx.Err()
	}))
	s := httptest.NewServer(httpdirty.Handler(dirtytest.NewServer(t, mux).Client(), httpdirty.Allow(app)))
	t.Cleanup(s.Close)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/app:App/quiet", nil)
	require.NoError(t, err)
	go func() {
		<-begun
		cancel()
	}()
	_, err = http.DefaultClient.Do(r)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-left:
	case <-time.After(time.Minute):
		require.Fail(t, "the action goes on")
	}
}

// oneConn is a listener that accepts one connection.
type oneConn struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}
func (l oneConn) Close() error   { close(l.ended); return nil }
func (l oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// TestBrowserDoesNotRead: a browser that takes no events holds the worker for 30 s.
func TestBrowserDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan struct{})
		mux := server.NewMux()
		mux.Handle(app, "flood", server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				defer close(left)
				for yield(strings.Repeat("x", 1<<10), nil) {
				}
			}
		}))
		c := dirtytest.NewServer(t, mux, dirtytest.WithInMemory()).Client()
		l := oneConn{make(chan net.Conn), make(chan struct{})}
		s := &http.Server{Handler: httpdirty.Handler(c, httpdirty.Allow(app))}
		go func() { _ = s.Serve(l) }()
		browser, remote := net.Pipe()
		l.conns <- remote
		_, err := io.WriteString(browser, "POST /app:App/flood HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(29 * time.Second)
		select {
		case <-left:
			require.Fail(t, "it was left early")
		default:
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case <-left:
		default:
			assert.Fail(t, "the action goes on")
		}
		require.NoError(t, browser.Close())
		require.NoError(t, s.Close())
	})
}

// TestBrowserLeaves: the action is told.
func TestBrowserLeaves(t *testing.T) {
	left := make(chan struct{}, 1)
	s := newServer(t, left, httpdirty.Allow(app))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/app:App/endless", nil)
	require.NoError(t, err)
	answered, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answered.Body.Close()
	line, err := bufio.NewReader(answered.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data: \"first\"\n", line, "a chunk comes at once")
	cancel()
	select {
	case <-left:
	case <-time.After(time.Minute):
		require.Fail(t, "the action goes on")
	}
}

// TestKeepAlive: a stream that is quiet gets comments.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arbiter := dirtytest.NewServer(t, newMux(nil), dirtytest.WithInMemory())
		for every, comments := range map[time.Duration]int{0: 2, 35 * time.Second: 1, -1: 0} { // in the 40 s between two chunks
			opts := []httpdirty.Option{httpdirty.Allow(app)}
			if every != 0 {
				opts = append(opts, httpdirty.WithKeepAlive(every))
			}
			h := httpdirty.Handler(arbiter.Client(client.WithStreamTimeout(time.Hour)), opts...)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/app:App/slow", nil))
			assert.Equal(t, "data: 0\n\n"+strings.Repeat(": still here\n\n", comments)+"data: 1\n\nevent: end\ndata: {}\n\n", w.Body.String())
		}
	})
}

// TestKeepAliveSteady: a stream whose chunks come in time gets no comments.
func TestKeepAliveSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arbiter := dirtytest.NewServer(t, newMux(nil), dirtytest.WithInMemory())
		h := httpdirty.Handler(arbiter.Client(), httpdirty.Allow(app))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/app:App/steady", nil))
		assert.Equal(t, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\nevent: end\ndata: {}\n\n", w.Body.String())
	})
}

// TestDict: a client that keeps the order of dicts shows them as objects, in order.
func TestDict(t *testing.T) {
	arbiter := dirtytest.NewServer(t, newMux(nil))
	h := httpdirty.Handler(arbiter.Client(client.WithDict()), httpdirty.Allow(app))
	for path, want := range map[string]string{
		"/app:App/echo":  `{"result":{"args":[],"kwargs":{"a":{"x":1},"z":[{"y":2}]}}}` + "\n",
		"/app:App/count": "data: {\"i\":0,\"text\":\"a\\nb\"}\n\nevent: end\ndata: {}\n\n",
	} {
		body := map[string]string{"/app:App/echo": `{"z": [{"y": 2}], "a": {"x": 1}}`, "/app:App/count": `[1]`}[path]
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		assert.Equal(t, want, w.Body.String())
	}
}
