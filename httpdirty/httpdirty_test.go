package httpdirty_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
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
		h := httpdirty.Handler(arbiter.Client(client.WithStreamTimeout(time.Hour)), httpdirty.Allow(app))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/app:App/slow", nil))
		assert.Equal(t, "data: 0\n\n: still here\n\n: still here\n\ndata: 1\n\nevent: end\ndata: {}\n\n", w.Body.String())
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
