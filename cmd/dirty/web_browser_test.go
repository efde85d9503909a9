//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/chromium"
)

// browserTime bounds what a browser takes to show something.
const browserTime = time.Minute

// browser is a page in a browser of its own. When the test ends it fails if the page
// has reported an error, or has violated its policy.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// openBrowser opens a page, as it looks on a screen of a width.
func openBrowser(t *testing.T, url string, width int) *browser {
	t.Helper()
	flags := []chromedp.ExecAllocatorOption{chromedp.ExecPath(chromium.Need(t)), chromedp.WSURLReadTimeout(chromium.StartTime)}
	for _, name := range chromium.Flags {
		flags = append(flags, chromedp.Flag(name, true))
	}
	ctx, endBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	b := &browser{t: t}
	quiet := func(string, ...any) {} // of events that a newer browser has
	var endPage context.CancelFunc
	b.ctx, endPage = chromedp.NewContext(ctx, chromedp.WithErrorf(quiet), chromedp.WithLogf(quiet))
	chromedp.ListenTarget(b.ctx, b.note)
	t.Cleanup(func() {
		b.checkPolicy()
		assert.NoError(t, chromedp.Cancel(b.ctx)) // waits for its end
		endPage()
		endBrowser()
		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Empty(t, b.problems, "what the browser complained of")
	})
	b.run(
		log.Enable(),
		emulation.SetDeviceMetricsOverride(int64(width), 900, 1, width < 600),
		chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := page.AddScriptToEvaluateOnNewDocument(`window.violations = [];
				addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI));`).Do(ctx)
			return err
		}),
		chromedp.Navigate(url),
	)
	return b
}

// note keeps what a page complains of.
func (b *browser) note(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = e.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if e.Entry.Source != log.SourceNetwork { // of a proxy that restarts
			problem = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
		}
	case *page.EventJavascriptDialogOpening:
		problem = "a dialog: " + e.Message
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if problem != "" {
		b.problems = append(b.problems, problem)
	}
}

func (b *browser) run(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

// eval returns the value of an expression of JavaScript as JSON.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var value any
	b.run(chromedp.Evaluate("(() => { const v = "+expression+"; return v === undefined ? null : v; })()", &value))
	text, err := json.Marshal(value)
	require.NoError(b.t, err)
	return string(text)
}

// await waits until an expression has a value.
func (b *browser) await(want, expression string) {
	b.t.Helper()
	got := ""
	for end := time.Now().Add(browserTime); got != want; time.Sleep(20 * time.Millisecond) {
		got = b.eval(expression)
		if time.Now().After(end) {
			require.Equal(b.t, want, got, expression)
		}
	}
}

// awaitText waits until the text of an element contains something.
func (b *browser) awaitText(selector, part string) {
	b.t.Helper()
	b.await("true", fmt.Sprintf("(document.querySelector(%s)?.textContent ?? '').includes(%s)", quoteJS(selector), quoteJS(part)))
}

// text returns the text of an element.
func (b *browser) text(selector string) (text string) {
	b.t.Helper()
	b.run(chromedp.Evaluate(fmt.Sprintf("document.querySelector(%s).textContent", quoteJS(selector)), &text))
	return text
}

// fill sets the value of an input, as a person does.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("(() => { const e = document.querySelector(%s); e.value = %s; e.dispatchEvent(new Event('input')); })()",
		quoteJS(selector), quoteJS(value)))
}

func quoteJS(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// checkPolicy fails if the page has violated its policy.
func (b *browser) checkPolicy() {
	assert.Equal(b.t, "[]", b.eval("window.violations.slice(0, 5)"), "violations of the policy")
}
