//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// startMonitor starts monitor on a terminal, in front of an arbiter, and returns a
// client that goes through it.
func startMonitor(t *testing.T, columns, lines int, args ...string) (*screen, *client.Client) {
	t.Helper()
	s := dirtytest.NewServer(t, scriptApp(), dirtytest.WithUnknownCalls())
	socket := filepath.Join(shortTempDir(t), "watch.sock")
	screen := startScreen(t, columns, lines, append([]string{"monitor", socket, "-s", s.Socket()}, args...)...)
	// Its calls are on one connection, however long the screen takes between them.
	c, err := client.New(client.WithSocket(socket), client.WithWaitForServer(time.Minute), client.WithMaxConns(1), client.WithMaxIdle(1, time.Hour))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Ping(t.Context()))
	return screen, c
}

// TestMonitorOnTerminal: calls are shown as they come, filtered, opened and paused.
func TestMonitorOnTerminal(t *testing.T) {
	monitor, c := startMonitor(t, 100, 20)
	monitor.await(`^1 call, 0 in progress, dirty: watching .* on .*watch\.sock\n> [0-9:.]+ #1 status: ok, 16 bytes sent`)
	_, err := c.Execute(t.Context(), demoApp, "add", 1, 2)
	require.NoError(t, err)
	_, err = c.Execute(t.Context(), demoApp, "fail", "no \x1b[2J")
	require.Error(t, err)
	monitor.await(`(?m)^> [0-9:.]+ #1 demo:App\.fail: error DirtyAppError, \d+ bytes sent, \d+ received, `)
	monitor.await(`(?m)^  [0-9:.]+ #1 demo:App\.add: ok, `)

	// One call is opened to its frames and values.
	monitor.press("k\r")
	monitor.await(`(?m)^> request id=\d+ size=\d+ after 0s$`)
	monitor.await(`(?m)^\{.*"action": "add", "args": \[1, 2\]`)
	monitor.await(`(?m)^< response id=\d+ size=\d+ after [0-9.]+m?µ?s\n\{"result": 3\.0\}$`)
	monitor.await(`(?m)^esc back`)
	monitor.press("q")
	monitor.await(`(?m)^q quit`)
	monitor.press("G\r")
	monitor.await(`no \\u001b\[2J`)
	monitor.press("\r")

	// A stream is shown while it runs.
	stream, err := c.OpenStream(t.Context(), demoApp, "ticks")
	require.NoError(t, err)
	monitor.await(`(?m)^3 calls, 1 in progress`)
	monitor.await(`(?m)^> [0-9:.]+ #1 demo:App\.ticks: in progress, .* [0-9]{2,} chunks`)
	require.NoError(t, stream.Close())
	monitor.await(`(?m)#1 demo:App\.ticks: no answer, `)

	// A filter has words.
	monitor.press("/")
	monitor.await(`(?m)^/ +enter keep  esc no filter$`)
	monitor.press("FAIL error\r")
	monitor.await(`^4 calls, 0 in progress, 1 match "FAIL error", .*\n> .*fail: error.*\n\n`)
	monitor.press("/\x1b")
	monitor.await(`(?m)^4 calls, 0 in progress, dirty: `)
	monitor.await(`(?m)demo:App\.add: ok`)

	// Paused, it stays as it is.
	monitor.press("p")
	monitor.await(`^paused, 4 calls`)
	require.NoError(t, c.Ping(t.Context()))
	require.NoError(t, c.Ping(t.Context()))
	assert.Regexp(t, `^paused, 4 calls`, monitor.text())
	monitor.press("p")
	monitor.await(`^6 calls`)

	monitor.resize(20, 5)
	monitor.await(`^6 calls, 0 in progr…\n  `)
	monitor.press("\r")
	monitor.await(`(?m)^tatus: ok, 16 bytes\n(.*\n)*esc back`)
	monitor.resize(1, 1)
	monitor.resize(120, 30)
	monitor.await(`(?m)^esc back`)
	monitor.press("\x1b")
	monitor.await(`(?m)^q quit`)
	monitor.press("q")
	assert.Equal(t, exitOK, monitor.end())
	monitor.await(`dirty: watching .* on .*watch\.sock`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // the client waits for a server
	defer cancel()
	assert.Error(t, c.Ping(ctx), "it forwards no more")
}

// TestMonitorEnds: Ctrl-C ends it, and so does what makes it useless.
func TestMonitorEnds(t *testing.T) {
	monitor, _ := startMonitor(t, 80, 10)
	monitor.await(`^1 call`)
	monitor.press("\x03")
	assert.Equal(t, exitOK, monitor.end(), "it is the usual end")

	s := dirtytest.NewServer(t, scriptApp())
	monitor = startScreen(t, 80, 10, "monitor", "missing/watch.sock", "-s", s.Socket())
	assert.Equal(t, exitIO, monitor.end())
	// What the terminal answers when nobody reads any more may stand before it.
	monitor.await(`dirty: listen at missing/watch`)
	assert.NotContains(t, monitor.text(), "dirty: dirty:")
}

// TestMonitorLinesOnTerminal: --lines prints lines.
func TestMonitorLinesOnTerminal(t *testing.T) {
	monitor, c := startMonitor(t, 100, 20, "--lines")
	monitor.await(`(?m)^dirty: watching`)
	monitor.await(`(?m)^[0-9:.]+ #1 status: ok, `)
	require.NoError(t, c.Ping(t.Context()))
	monitor.press("\x03")
	assert.Equal(t, exitOK, monitor.end(), "it is the usual end")
}

// TestMonitorFileOnTerminal: a recording is shown to its end, and stays.
func TestMonitorFileOnTerminal(t *testing.T) {
	matches, err := filepath.Glob("../../testdata/sessions/*.bin")
	require.NoError(t, err)
	monitor := startScreen(t, 100, 20, "monitor", matches[0])
	monitor.await(`^\d+ calls, 0 in progress, end of the recording\n`)
	monitor.press("g\r")
	monitor.await(`(?m)^> \w+ id=\d+ size=\d+$`)
	monitor.press("\x1b")
	monitor.await(`(?m)^> #\d+ `)
	monitor.press("q")
	assert.Equal(t, exitOK, monitor.end())

	monitor = startScreen(t, 100, 20, "monitor", matches[0])
	monitor.await(`end of the recording`)
	monitor.press("\x03")
	assert.Equal(t, exitInterrupt, monitor.end())

	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, []byte("this is no frame, nor a capture"), 0o600))
	monitor = startScreen(t, 100, 20, "monitor", broken)
	monitor.await(`end of the recording`)
	monitor.press("q")
	assert.Equal(t, exitFault, monitor.end())
	monitor.await(`(?m)^dirty: monitor: 1 of 1 frames broken$`)
}

// TestMonitorSlowTerminal: calls go through at their usual speed while nobody reads
// what the terminal is sent.
func TestMonitorSlowTerminal(t *testing.T) {
	monitor, c := startMonitor(t, 200, 50)
	monitor.await(`^1 call`)
	monitor.stopReading()
	large := strings.Repeat("x", 64<<10)
	calls := 1
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); calls++ {
		got, err := c.Execute(t.Context(), demoApp, "echo", large)
		require.NoError(t, err)
		require.NotNil(t, got)
		monitor.press("kj")
	}
	monitor.goOnReading()
	monitor.await(fmt.Sprintf(`^%d calls, 0 in progress`, calls))
	monitor.press("q")
	assert.Equal(t, exitOK, monitor.end())
}

// TestMonitorView: whatever the size and whatever has passed, the screen fits.
func TestMonitorView(t *testing.T) {
	log := newScreenLog()
	empty := newMonitorScreen(newScreenLog(), func() string { return "" }, func(s string) string { return styleBad.Render(s) })
	full := newMonitorScreen(log, func() string { return strings.Repeat("said ", 40) }, func(s string) string { return s })
	for n := range uint32(30) {
		log.event(webRequest(n, 1, "a:\x1b[2J界"+strings.Repeat("x", int(n*4)), "act"))
		if n%3 > 0 {
			log.event(webResponse(n, 1))
		}
	}
	for _, s := range []*monitorScreen{empty, full} {
		s.look()
		for width := 0; width < 100; width += 1 + width/8 {
			for _, height := range []int{0, 1, 2, 3, 10, 50} {
				for _, keys := range []string{"", "up", "pgup", "home", "enter", "down", "esc", "end", "/", "x", "esc", "p", "p"} {
					s.width, s.height = width, height
					s.Update(keyPress(keys))
					text := s.View().Content
					assert.LessOrEqual(t, lipgloss.Width(text), width)
					assert.LessOrEqual(t, lipgloss.Height(text), max(height, 1))
					assert.NotContains(t, text, "\x1b[2J")
				}
			}
		}
	}
	assert.Contains(t, fmt.Sprint(log.details(4711, 80, nil)), "forgotten")
}

// keyPress returns the message for a key.
func keyPress(name string) tea.KeyPressMsg {
	codes := map[string]rune{
		"up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "home": tea.KeyHome, "end": tea.KeyEnd,
		"enter": tea.KeyEnter, "esc": tea.KeyEscape,
	}
	if code, ok := codes[name]; ok || name == "" {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: rune(name[0]), Text: name}
}
