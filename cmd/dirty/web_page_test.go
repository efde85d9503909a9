//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// webProxy is a proxy with a page.
type webProxy struct {
	url    string // of the page
	socket string // for clients
	stop   func() // ends it and waits for that
}

// startWebProxy runs the command until it is stopped or the test ends.
func startWebProxy(t *testing.T, arbiter string, args ...string) webProxy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := webProxy{socket: filepath.Join(t.TempDir(), "watched.sock")}
	errs, toErrs := io.Pipe()
	status := make(chan int, 1)
	var out strings.Builder
	go func() {
		args = append([]string{"proxy", p.socket, "-s", arbiter, "--web", "127.0.0.1:0"}, args...)
		status <- run(ctx, args, nil, &out, toErrs)
		toErrs.Close()
	}()
	lines := bufio.NewScanner(errs)
	for watching := false; !watching && lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), "the page is at "); ok {
			p.url = url
		}
		watching = strings.Contains(lines.Text(), "watching")
	}
	go func() { _, _ = io.Copy(io.Discard, errs) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		assert.Equal(t, exitOK, <-status)
		assert.Empty(t, out.String(), "the page is in place of lines")
	})
	t.Cleanup(p.stop)
	require.NotEmpty(t, p.url)
	return p
}

func (p webProxy) client(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(append([]client.Option{client.WithSocket(p.socket)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// gatedApp is the app of scripts, and a stream that sends a chunk for each value of a
// channel, until it is closed.
func gatedApp(gate <-chan struct{}) *server.Mux {
	mux := scriptApp()
	mux.Handle(demoApp, "gated", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for range gate {
				if !yield("chunk", nil) {
					return
				}
			}
		}
	}))
	return mux
}

// TestWebCalls: calls appear, can be filtered and opened, and a stream is shown while
// it is in progress.
func TestWebCalls(t *testing.T) {
	gate := make(chan struct{})
	p := startWebProxy(t, dirtytest.NewServer(t, gatedApp(gate)).Socket(), "--full")
	b := openBrowser(t, p.url, 1280)
	b.await(`"live"`, "document.getElementById('connection').textContent")
	c := p.client(t)
	for n := range 3 {
		_, err := c.Execute(t.Context(), demoApp, "add", n, 2)
		require.NoError(t, err)
	}
	_, err := c.Execute(t.Context(), demoApp, "fail", "out of ink")
	require.Error(t, err)
	require.NoError(t, c.Stash("users").Put(t.Context(), "ada", 1))
	b.await("5", "document.querySelectorAll('#ended tr').length")
	assert.Equal(t, "5", b.text("#calls-total"))
	assert.Equal(t, "1", b.text("#calls-errors"))
	assert.Contains(t, b.text("#ended tr:nth-child(1)"), "stash put")
	assert.Contains(t, b.text("#ended tr:nth-child(2)"), "error DirtyAppError")
	b.awaitText("#actions", "demo:App.add")
	b.await("true", `[...document.querySelectorAll('canvas')].every((c) =>
		c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v !== 0))`)
	b.awaitText("#rate-legend", "demo:App.add")

	// The filter.
	b.run(chromedp.SendKeys("#filter-text", "fail", chromedp.ByQuery))
	b.await("1", "document.querySelectorAll('#ended tr').length")
	b.awaitText("#ended", "demo:App.fail")
	b.run(chromedp.SendKeys("#filter-text", " nothing", chromedp.ByQuery))
	b.awaitText("#ended-empty", "No call matches.")
	b.fill("#filter-text", "#1")
	b.await("5", "document.querySelectorAll('#ended tr').length")
	b.fill("#filter-outcome", "error")
	b.await("1", "document.querySelectorAll('#ended tr').length")

	// A call that is opened, by its name and by keys.
	b.run(chromedp.Click("#ended tr button", chromedp.ByQuery))
	b.awaitText("#frames", `it failed: out of ink`)
	assert.Equal(t, "demo:App.fail", b.text("#call-title"))
	assert.Equal(t, "2", b.eval("document.querySelectorAll('#frames li').length"))
	b.run(chromedp.KeyEvent("\x1b"))
	b.await("false", "document.getElementById('call').open")

	// A stream in progress.
	done := make(chan error, 1)
	stream, err := c.OpenStream(t.Context(), demoApp, "gated")
	require.NoError(t, err)
	go func() {
		var err error
		for _, err = range stream.All() { // to its end, or its error
		}
		done <- err
	}()
	gate <- struct{}{}
	gate <- struct{}{}
	b.await(`"2"`, "document.querySelector('#open td:nth-child(4)')?.textContent ?? ''")
	assert.Equal(t, "1", b.text("#calls-open"))
	b.run(chromedp.Click("#open button", chromedp.ByQuery))
	b.await("3", "document.querySelectorAll('#frames li').length")
	gate <- struct{}{}
	b.await("4", "document.querySelectorAll('#frames li').length") // it is followed
	close(gate)
	require.NoError(t, <-done)
	b.awaitText("#frames", "end")
	b.awaitText("#call-about", "ok")
	b.run(chromedp.Click("#call-close", chromedp.ByQuery))
	b.await("0", "document.querySelectorAll('#open tr').length")
	assert.Equal(t, "0", b.text("#calls-open"))
	assert.Equal(t, "6", b.text("#calls-total"))
}

// TestWebHostile: whatever clients send stays text.
func TestWebHostile(t *testing.T) {
	const (
		script = `<script>document.title='owned'</script>`
		image  = `"><img src=x onerror="document.title='owned'">`
	)
	for _, args := range [][]string{nil, {"--full"}} {
		t.Run(strings.Join(append([]string{"proxy"}, args...), " "), func(t *testing.T) {
			arbiter := dirtytest.NewServer(t, scriptApp(), dirtytest.WithUnknownCalls())
			p := startWebProxy(t, arbiter.Socket(), args...)
			b := openBrowser(t, p.url, 1280)
			c := p.client(t)
			call := func(app, action string, args ...any) { _, _ = c.Execute(t.Context(), app, action, args...) }
			call(script, image)
			call(demoApp, image+`'&amp;{{7*7}}`+"\u202e\u0000\n")
			call(demoApp, strings.Repeat("long", 1<<18))
			call("__proto__", "constructor")
			call(demoApp, "echo", script, image, []byte{0, 255}, "\u202egnp.exe", "end")
			call(demoApp, "echo", strings.Repeat(image, 1<<12))
			call(demoApp, "fail", script)

			// What is no UTF-8, in the name of an action and in a value; a name that the page
			// has for something else; and what is no frame.
			request := func(action string) string {
				payload, err := dirty.Marshal(map[string]any{"app_path": "", "action": action, "args": []any{"@@@@"}})
				require.NoError(t, err)
				return frameOf(t, dirty.TypeRequest, 77, strings.ReplaceAll(string(payload), "@@@@", "\xff\xfe<b"))
			}
			for _, sent := range []string{request("@@@@"), request(webAllActions), image + strings.Repeat(script, 100)} {
				nc, err := net.Dial("unix", p.socket)
				require.NoError(t, err)
				_, err = io.WriteString(nc, sent)
				require.NoError(t, err)
				_, _ = nc.Read(make([]byte, 1)) // an answer, or the end
				require.NoError(t, nc.Close())
			}
			b.awaitText("#actions", noName)
			b.await("9", "document.querySelectorAll('#ended tr').length")
			b.awaitText("#notes", "Bytes that are no frames have passed")
			b.awaitText("#actions", script+"."+image)
			b.awaitText("#actions", `\u202e\u0000\n`)
			b.awaitText("#actions", "__proto__.constructor")
			assert.Equal(t, "9", b.eval("document.querySelectorAll('#actions tr').length"))
			for n := range 9 {
				b.run(chromedp.Click(fmt.Sprintf("#ended tr:nth-child(%d) button", n+1), chromedp.ByQuery))
				b.await("true", "document.querySelectorAll('#frames li').length > 0")
				if frames := b.text("#frames"); args != nil && strings.Contains(frames, `"end"]`) {
					assert.Contains(t, frames, script)
					assert.Contains(t, frames, `\"><img src=x onerror=\"document`)
					assert.Contains(t, frames, `h'00ff'`)
					assert.Contains(t, frames, `"\u202egnp.exe"`)
				} else if args == nil {
					assert.NotContains(t, frames, "<script>", "values are for --full")
				}
				b.run(chromedp.Click("#call-close", chromedp.ByQuery))
			}
			assert.Equal(t, `"dirty proxy"`, b.eval("document.title"))
			assert.Equal(t, "9", b.eval("document.querySelectorAll('#actions tr').length"), "as before, some updates later")
			assert.Equal(t, "2", b.eval("document.scripts.length"))
			assert.Equal(t, "0", b.eval("document.images.length"))
		})
	}
}

// TestWebFigures: what 64 connections send at once is what the page says.
func TestWebFigures(t *testing.T) {
	const conns, calls = 64, 30
	p := startWebProxy(t, dirtytest.NewServer(t, scriptApp()).Socket())
	b := openBrowser(t, p.url, 1280)
	c := p.client(t, client.WithMaxConns(conns))
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			for n := range calls {
				var err error
				switch n % 3 {
				case 0:
					_, err = c.Execute(t.Context(), demoApp, "add", n, 1)
					assert.NoError(t, err)
				case 1:
					_, err = c.Execute(t.Context(), demoApp, "fail", "no")
					assert.ErrorIs(t, err, dirty.ErrApp)
				case 2:
					for _, err := range client.StreamOf[string](t.Context(), c, demoApp, "tokens", "a b c") {
						assert.NoError(t, err)
					}
				}
			}
		})
	}
	all.Wait()
	b.await(fmt.Sprintf("%q", fmt.Sprint(conns*calls)), "document.getElementById('calls-total').textContent")
	b.await(`"0"`, "document.getElementById('calls-open').textContent")
	assert.Equal(t, fmt.Sprint(conns*calls/3), b.text("#calls-errors"))
	for name, errs := range map[string]int{"add": 0, "fail": conns * calls / 3, "tokens": 0} {
		row := b.eval(fmt.Sprintf("[...document.querySelectorAll('#actions tr')].map((tr) => [...tr.children].slice(0, 4).map((td) => td.textContent)).find((r) => r[0] === 'demo:App.%s')", name))
		assert.Equal(t, fmt.Sprintf(`["demo:App.%s","%d","%d","0"]`, name, conns*calls/3, errs), row)
	}
	assert.Equal(t, `"100 of 1000"`, b.eval("document.getElementById('ended-count').textContent"))

	// The seconds of the charts hold the same calls. A page that is opened later sees
	// them too.
	sum := 0
	for _, name := range []string{"add", "fail", "tokens"} {
		sum += awaitSeconds(t, p.url, "demo:App."+name, conns*calls/3)
	}
	assert.Equal(t, conns*calls, sum)
}

// awaitSeconds waits until the seconds of the charts have so many calls of an action,
// and returns how many they have.
func awaitSeconds(t *testing.T, url, action string, want int) (sum int) {
	t.Helper()
	for e := range webEvents(t, url) {
		for _, second := range e.Seconds {
			for _, point := range second.Points {
				if e.Actions[point.Action].Name == action {
					sum += point.Calls
				}
			}
		}
		if sum >= want {
			return sum
		}
	}
	return sum
}

// webEvents yields what a viewer of a page is told.
func webEvents(t *testing.T, url string) iter.Seq[webEvent] {
	return func(yield func(webEvent) bool) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*browserTime)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"events", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		for lines := bufio.NewReader(answer.Body); ; {
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var e webEvent
			require.NoError(t, json.Unmarshal([]byte(data), &e))
			if !yield(e) {
				return
			}
		}
	}
}

// TestWebRealWorkers: of the workers of a real arbiter, the one that an endless action
// has stuck is shown so, and the other one is free.
func TestWebRealWorkers(t *testing.T) {
	_, pidFile := realGunicorn(t)
	socket, err := client.FromPIDFile(pidFile)(t.Context())
	require.NoError(t, err)
	p := startWebProxy(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	c := p.client(t)
	go func() {
		defer close(ended)
		_, _ = c.Execute(ctx, "app:App", "spin")
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for e := range webEvents(t, p.url) {
		var states []string
		for _, w := range e.Arbiter.Workers {
			states = append(states, w.State)
			assert.Equal(t, []string{"app:App"}, w.Apps)
		}
		if slices.Sort(states); slices.Equal(states, []string{"free", "stuck"}) && e.InProgress == 1 {
			assert.Equal(t, "app:App.spin", e.Open[0].Name)
			return
		}
	}
}

// TestWebWorkers: a worker that does not answer at its own socket is shown as stuck,
// and one that does as free.
func TestWebWorkers(t *testing.T) {
	var stuck atomic.Bool
	left := make(chan struct{})
	arbiter := withWorker(t, server.HandlerFunc(func(ctx context.Context, _ *server.ResponseWriter, _ *dirty.Request) error {
		if stuck.Load() {
			select {
			case <-ctx.Done():
			case <-left:
			}
		}
		return errors.New("there is no such action")
	}))
	p := startWebProxy(t, arbiter.Socket(), "--timeout", "1s")
	b := openBrowser(t, p.url, 1280)
	b.await(`"free"`, "document.querySelector('#workers .state')?.textContent ?? ''")
	assert.Contains(t, b.text("#workers"), fmt.Sprintf("Worker 7free%spid %d", demoApp, os.Getpid()))
	// The page keeps the states itself: busy is shown for two seconds only.
	b.eval(`(() => {
		window.states = [];
		const workers = document.getElementById('workers');
		new MutationObserver(() => states.push(workers.querySelector('.state')?.textContent))
			.observe(workers, {childList: true, subtree: true, characterData: true});
	})()`)
	stuck.Store(true)
	b.await(`"stuck"`, "document.querySelector('#workers .state')?.textContent ?? ''")
	assert.Equal(t, "true", b.eval("states.includes('busy')"), "it was busy before")
	b.awaitText("#workers", "has not answered for")
	b.awaitText("#notes", "A worker has not answered for long")
	b.await("true", "document.querySelector('#workers li').className === 'stuck'")
	stuck.Store(false)
	close(left)
	b.await(`"free"`, "document.querySelector('#workers .state')?.textContent ?? ''")
	b.await("0", "document.querySelectorAll('#notes p').length")

	// An arbiter that does not answer.
	arbiter.Fault(dirtytest.MatchType(dirty.TypeStatus), dirtytest.Hang())
	b.awaitText("#notes", "The arbiter does not answer")
}

// freeAddr returns an address to listen at twice. The system gives so low a port to
// nobody who does not ask for it, so no connection takes it in between.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(6000)))
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	require.Fail(t, "no port is free")
	return ""
}

// TestWebReconnects: a page that is open finds the next proxy at the same address, and
// forgets the calls of the one before.
func TestWebReconnects(t *testing.T) {
	arbiter := dirtytest.NewServer(t, scriptApp())
	addr := freeAddr(t)
	p := startWebProxy(t, arbiter.Socket(), "--web", addr)
	b := openBrowser(t, p.url, 400)
	_, err := p.client(t).Execute(t.Context(), demoApp, "add", 1, 2)
	require.NoError(t, err)
	b.awaitText("#ended", "demo:App.add")
	p.stop()
	b.awaitText("#connection", "no connection")
	again := startWebProxy(t, arbiter.Socket(), "--web", addr)
	require.Equal(t, p.url, again.url)
	_, err = again.client(t).Execute(t.Context(), demoApp, "echo")
	require.NoError(t, err)
	b.awaitText("#connection", "live")
	b.awaitText("#ended", "demo:App.echo")
	assert.Equal(t, "1", b.eval("document.querySelectorAll('#ended tr').length"))
	assert.Equal(t, "1", b.text("#calls-total"))
	assert.Equal(t, "true", b.eval("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone")
}
