//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestTopOnTerminal: workers with their states, sorted and scrolled by keys; the
// tables; and a clean end.
func TestTopOnTerminal(t *testing.T) {
	s := withWorker(t, scriptApp())
	s.Stash().Put("users", "ada", 1)
	s.SetWorkers(
		client.Worker{PID: 1, Age: 9, Apps: []string{demoApp}, Booted: true, HeartbeatAge: 1500 * time.Millisecond},
		client.Worker{PID: os.Getpid(), Age: 7, Apps: []string{demoApp, "b:B"}, Booted: true},
	)
	top := startScreen(t, 80, 12, "top", "-s", s.Socket(), "-i", "100ms")
	top.await(`(?m)^arbiter \d+, 2 workers, 1 free, 1 unknown, answered in `)
	top.await(`(?m)^seen \d+s ago, sorted by age$`)
	top.await(`(?m)^AGE +PID +STATE +SILENT +HEARTBEAT +APPS\n` +
		fmt.Sprintf(`7 +%d +free +- +0\.\d s +demo:App, b:B\n`, os.Getpid()) + `9 +1 +unknown +- +1\.5 s +demo:App`)
	top.press("s")
	top.await(`(?m)sorted by pid$`)
	top.await(`\n9 +1 +unknown .*\n7 `)
	top.press("ssss")
	top.await(`(?m)sorted by apps$`)
	top.press("s")
	top.await(`(?m)sorted by age$`)
	top.press("t")
	top.await(`(?m)^TABLE +KEYS\nusers +1$`)
	top.press("t")
	top.awaitThat("no tables", func(text string) bool { return !strings.Contains(text, "TABLE") })
	top.press("q")
	assert.Equal(t, exitOK, top.end())
}

// TestTopResized: nothing breaks at any size of the terminal.
func TestTopResized(t *testing.T) {
	s := withWorker(t, nil)
	var workers []client.Worker
	for i := range 50 {
		workers = append(workers, client.Worker{PID: 1000 + i, Age: i + 1, Apps: []string{"app:" + strings.Repeat("Ünïcode界", 9)}})
	}
	s.SetWorkers(workers...)
	top := startScreen(t, 200, 60, "top", "-s", s.Socket(), "-i", "1h")
	top.await(`(?m)^50 +1049 `)
	top.resize(20, 8)
	top.await(`^arbiter \d+, 50 wo`)
	top.await(`(?m)^AGE  PID   STATE`)
	top.await(`(?m)^4    1003  unknown`)
	top.await(`q quit`)
	top.press("\x1b[6~") // page down
	top.await(`(?m)^7    1006  unknown`)
	top.press("G")
	top.await(`(?m)^50   1049  unknown`)
	top.press("g")
	top.await(`(?m)^1    1000  unknown`)
	for _, size := range [][2]int{{1, 1}, {2, 1}, {1, 40}, {300, 2}, {5, 3}} {
		top.resize(size[0], size[1])
	}
	top.resize(100, 30)
	top.await(`(?m)^26 +1025 .*…$`)
	top.press("\x03")
	assert.Equal(t, exitInterrupt, top.end())
	top.await(`interrupted`) // what was written last may not have been read yet
}

// TestTopSignalled: a signal ends it as Ctrl-C does, and leaves the terminal clean.
func TestTopSignalled(t *testing.T) {
	s := withWorker(t, nil)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		top := startScreen(t, 80, 12, "top", "-s", s.Socket())
		top.await(`seen`)
		require.NoError(t, top.cmd.Process.Signal(signal))
		assert.Equal(t, exitInterrupt, top.end(), signal)
	}
}

// TestTopArbiterGone: an arbiter that is gone is told of with what was seen last, and
// shown again when it is back.
func TestTopArbiterGone(t *testing.T) {
	s := withWorker(t, scriptApp())
	top := startScreen(t, 100, 12, "top", "-s", s.Socket(), "-i", "50ms", "--timeout", "10s")
	top.await(`1 free`)
	accept := s.RefuseDials()
	s.Fault(dirtytest.MatchType(dirty.TypeStatus), dirtytest.CloseBefore()).Times(1) // the connection that is kept
	top.await(`(?m)^status: dial: the arbiter is not available`)
	top.await(`(?m)^no answer since \d+s ago, seen \d+s ago, sorted by age$`)
	top.await(fmt.Sprintf(`(?m)^7 +%d `, os.Getpid()))
	accept()
	top.await(`(?m)^arbiter \d+, 1 worker, 1 free`)

	s.Fault(dirtytest.MatchType(dirty.TypeStatus), dirtytest.Hang())
	top.await(`(?m)^asked \d+s ago, `)
	top.press("q")
	assert.Equal(t, exitOK, top.end())

	gone := startScreen(t, 100, 12, "top", "-s", "/nowhere/x", "-i", "50ms")
	gone.await(`no such file`)
	gone.press("q")
	assert.Equal(t, exitOK, gone.end())
}

// TestTopView: whatever the size and whatever was seen, the screen fits.
func TestTopView(t *testing.T) {
	seen := &seenArbiter{ArbiterPID: 1, Tables: []seenTable{{"users", 3}, {"界", 1}}, moreTables: 7}
	for i := range 12 {
		seen.Workers = append(seen.Workers, seenWorker{shownWorker{PID: i, Apps: []string{strings.Repeat("a:界\x1b[2J", i)}}, "stuck", float64(i)})
	}
	for _, s := range []*topScreen{
		{}, {seen: seen}, {seen: seen, colorful: true}, {failure: strings.Repeat("boom ", 50)}, {failure: "x", seen: seen, asked: time.Now().Add(-time.Hour)},
	} {
		s.topFlags.sort = "state"
		for width := 0; width < 90; width += 1 + width/8 {
			for _, height := range []int{0, 1, 3, 4, 10, 50} {
				s.width, s.height = width, height
				s.scroll.first = width
				text := s.View().Content
				assert.LessOrEqual(t, lipgloss.Width(text), width)
				assert.LessOrEqual(t, lipgloss.Height(text), max(height, 1))
				assert.NotContains(t, text, "\x1b[2J")
			}
		}
	}
}

// TestTopSorts: each column sorts, and workers that are alike stay in the order of age.
func TestTopSorts(t *testing.T) {
	for column, want := range map[string][]int{
		"age": {1, 2, 3}, "pid": {2, 1, 3}, "state": {3, 1, 2}, "silent": {3, 1, 2}, "heartbeat": {2, 1, 3}, "apps": {3, 1, 2},
	} {
		seen := seenArbiter{Workers: []seenWorker{
			{shownWorker{PID: 8, Age: 1, Apps: []string{"b:B"}, Heartbeat: 1}, "free", 0},
			{shownWorker{PID: 7, Age: 2, Apps: []string{"b:B"}, Heartbeat: 2}, "free", 0},
			{shownWorker{PID: 9, Age: 3, Apps: []string{"a:A"}, Heartbeat: 0}, "stuck", 5},
		}}
		seen.sort(column)
		var got []int
		for _, w := range seen.Workers {
			got = append(got, w.Age)
		}
		assert.Equal(t, want, got, column)
	}
	names := map[string]bool{}
	s := &topScreen{topFlags: topFlags{sort: "age", columns: namesOf(topColumns)}}
	for ; !names[s.topFlags.sort]; s.topFlags.sort = s.nextColumn() {
		names[s.topFlags.sort] = true
	}
	assert.Len(t, names, len(topColumns), "the key goes through all columns")
}
