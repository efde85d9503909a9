package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/internal/chromium"
	"github.com/gunicorn-go/dirty/server"
)

// patience bounds what is waited for.
const patience = time.Minute

// browser is a browser with a page.
type browser struct {
	t   *testing.T
	ctx context.Context
	end func() // ends it and waits for that
}

// openBrowser opens a page, which counts how it violates its policy.
func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	flags := []chromedp.ExecAllocatorOption{chromedp.ExecPath(chromium.Need(t)), chromedp.WSURLReadTimeout(chromium.StartTime)}
	for _, name := range chromium.Flags {
		flags = append(flags, chromedp.Flag(name, true))
	}
	ctx, endAll := chromedp.NewExecAllocator(context.Background(), flags...)
	quiet := func(string, ...any) {} // of events that a newer browser has
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(quiet), chromedp.WithLogf(quiet))
	b := &browser{t, ctx, sync.OnceFunc(func() {
		assert.NoError(t, chromedp.Cancel(ctx))
		endAll()
	})}
	t.Cleanup(b.end)
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`window.violations = [];
			addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective));`).Do(ctx)
		return err
	}), chromedp.Navigate(url))
	return b
}

func (b *browser) run(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

func (b *browser) eval(expression string) (text string) {
	b.t.Helper()
	b.run(chromedp.Evaluate("String("+expression+")", &text))
	return text
}

// await waits until an element has a text.
func (b *browser) await(id, want string) {
	b.t.Helper()
	got := ""
	for end := time.Now().Add(patience); got != want; time.Sleep(10 * time.Millisecond) {
		got = b.eval(fmt.Sprintf("document.getElementById('%s').textContent", id))
		if time.Now().After(end) {
			require.Equal(b.t, want, got, "the text of %s", id)
		}
	}
}

func (b *browser) click(id string) {
	b.t.Helper()
	b.run(chromedp.Click(id, chromedp.ByID))
}

// testModel is a model that sends what it is told to, and tells when it was left.
type testModel struct {
	tokens chan string // a token; closed at the end
	err    error       // after the tokens
	left   chan struct{}
}

func (m *testModel) generate(ctx context.Context, _ struct {
	Prompt string `dirty:"prompt"`
	Words  int    `dirty:"words"`
}) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for {
			select {
			case token, ok := <-m.tokens:
				switch {
				case !ok && m.err != nil:
					yield("", m.err)
					return
				case !ok || !yield(token, nil):
					return
				}
			case <-ctx.Done():
				close(m.left)
				return
			}
		}
	}
}

// open returns a browser with the page, and the model that it asks.
func open(t *testing.T) (*browser, *testModel) {
	t.Helper()
	m := &testModel{tokens: make(chan string), left: make(chan struct{})}
	mux := server.NewMux()
	mux.Handle(appName, actionName, server.StreamFunc(m.generate))
	c := dirtytest.NewServer(t, mux).Client(client.WithStreamTimeout(time.Hour)) // so a stream ends only when its reader leaves
	s := httptest.NewServer(newHandler(c))
	t.Cleanup(s.Close)
	return openBrowser(t, s.URL), m
}

func (m *testModel) send(t *testing.T, token string) {
	t.Helper()
	select {
	case m.tokens <- token:
	case <-time.After(patience):
		require.Fail(t, "nobody asks for a token")
	}
}

func (m *testModel) awaitLeft(t *testing.T) {
	t.Helper()
	select {
	case <-m.left:
	case <-time.After(patience):
		require.Fail(t, "the model goes on")
	}
}

// TestTokens: each token is shown before the next one is made, and as text.
func TestTokens(t *testing.T) {
	b, m := open(t)
	b.await("state", "ready")
	b.click("start")
	all := ""
	for _, token := range []string{"Once ", "upon\n", "a <script>document.title = 'owned'</script>", "é\u2028", "\"}\n\ndata: 1\n\n"} {
		m.send(t, token)
		all += token
		b.await("answer", all)
		assert.Equal(t, "generating", b.eval("document.getElementById('state').textContent"))
	}
	close(m.tokens)
	b.await("state", "done")
	assert.Equal(t, "Tokens", b.eval("document.title"), "no code of a token has run")
	assert.Empty(t, b.eval("violations"))
	assert.Equal(t, "false", b.eval("document.getElementById('start').disabled"))
}

// TestStop: the button ends the stream at the model.
func TestStop(t *testing.T) {
	b, m := open(t)
	b.click("start")
	m.send(t, "one ")
	b.await("answer", "one ")
	b.click("stop")
	m.awaitLeft(t)
	b.await("state", "stopped")
	assert.Equal(t, "one ", b.eval("document.getElementById('answer').textContent"))
}

// TestLeave: so does a browser that goes to another page, or ends.
func TestLeave(t *testing.T) {
	for name, leave := range map[string]func(b *browser){
		"another page": func(b *browser) { b.run(chromedp.Navigate("about:blank")) },
		"the end":      func(b *browser) { b.end() },
	} {
		t.Run(name, func(t *testing.T) {
			b, m := open(t)
			b.click("start")
			m.send(t, "one ")
			b.await("answer", "one ")
			leave(b)
			m.awaitLeft(t)
		})
	}
}

// TestErrors: the page says what went wrong, before the first token and after it, and
// can ask again.
func TestErrors(t *testing.T) {
	b, m := open(t)
	m.err = errors.New("a secret")
	tokens := m.tokens
	b.click("start")
	m.send(t, "one ")
	b.await("answer", "one ")
	close(tokens)
	b.await("state", "the action failed")
	assert.Equal(t, "one ", b.eval("document.getElementById('answer').textContent"))
	b.click("start")
	b.await("answer", "")
	b.await("state", "the action failed")
}

// TestStandIn: the command answers without a gunicorn, and ends.
func TestStandIn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	urls, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, "127.0.0.1:0", "", func(_ string, args ...any) { urls <- fmt.Sprintf("http://%s", args...) })
	}()
	select {
	case url := <-urls:
		testModelOf(t, url)
	case err := <-done:
		require.NoError(t, err)
	}
	cancel()
	require.NoError(t, <-done)
}

// testModelOf looks at a page whose model repeats the prompt.
func testModelOf(t *testing.T, url string) {
	t.Helper()
	b := openBrowser(t, url)
	b.eval("document.getElementById('prompt').value = 'to be'")
	b.eval("document.getElementById('words').value = 3")
	b.click("start")
	b.await("state", "done")
	assert.Equal(t, "to be to ", b.eval("document.getElementById('answer').textContent"))

	// A call that would take an hour. A model that did not stop could not answer
	// the next one.
	b.eval("document.getElementById('words').value = 72000")
	b.click("start")
	b.await("state", "generating")
	b.click("stop")
	b.await("state", "stopped")
	b.eval("document.getElementById('words').value = 1")
	b.click("start")
	b.await("state", "done")
	assert.Equal(t, "to ", b.eval("document.getElementById('answer').textContent"))
}
