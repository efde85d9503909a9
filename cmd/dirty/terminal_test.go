//go:build linux

package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestTerminalOutput: on a terminal a table has colours and fits the width; NO_COLOR
// and TERM=dumb take the colours away.
func TestTerminalOutput(t *testing.T) {
	path := refusesAt(t, findIn(t), "dead")
	binary, err := exec.LookPath("dirty")
	require.NoError(t, err)
	for _, tt := range []struct {
		env     string
		colored bool
	}{{"X=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		cmd := exec.CommandContext(t.Context(), binary, "find")
		s := startOnScreen(t, 70, 20, cmd, tt.env)
		s.await(`no arbiter answers`)
		assert.Equal(t, exitNegative, s.end())
		assert.Regexp(t, `(?m)^PATH +STATE +PID +WO`, s.text())
		assert.NotContains(t, s.text(), path, "it takes two lines")
		if shown := s.emu.Render(); tt.colored {
			assert.Contains(t, shown, "\x1b[31mrefuses")
			assert.Contains(t, shown, "\x1b[31mdirty:")
		} else {
			assert.NotContains(t, shown, "\x1b[31m", tt.env)
		}
	}
}

// TestBenchOnTerminal: while it measures it says how far it is. Interrupted, it shows
// only what it has measured.
func TestBenchOnTerminal(t *testing.T) {
	server := dirtytest.NewServer(t, scriptApp())
	s := startScreen(t, 80, 40, "bench", "-s", server.Socket(), demoApp, "add", "1", "2", "-d", "1h", "--plot")
	s.await(`(?m)^\d+s of 1h0m0s, \d+ calls`)
	s.press("\x03")
	assert.Equal(t, exitInterrupt, s.end())
	s.await(`(?m)^over \d+.*: green p50, red p99$`)
	assert.Regexp(t, `(?m)^\d+ calls in .* a second, 0 failed$`, s.text())
	assert.NotContains(t, s.text(), "of 1h")
}
