//go:build linux

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/cluster"
)

// startSmallCluster starts a host with 4 slots and a front that also has a member that
// cannot be reached. It returns the socket of the front.
func startSmallCluster(t *testing.T) string {
	t.Helper()
	dir := shortTempDir(t)
	back, socket := filepath.Join(dir, "back"), filepath.Join(dir, "front")
	startCommand(t, "serve", "-s", back)
	agent := startCommand(t, "agent", "127.0.0.1:0", "-s", back, "--slots", "4", "--plain")
	startCommand(t, "front", socket, "--plain", "--member", "gpu1="+agent["addr"].(string), "--member", "gpu2=127.0.0.1:1")
	got := dirtyRun("", "exec", "-s", socket, "demo:App", "add", "1", "2") // it waits for the host
	require.Equal(t, exitOK, got.code, got.stderr)
	awaitIdle(t, socket)
	return socket
}

// TestClusterTopOnTerminal: the hosts, sorted by keys, and a clean end.
func TestClusterTopOnTerminal(t *testing.T) {
	top := startScreen(t, 240, 12, "cluster", "top", "-s", startSmallCluster(t), "-i", "100ms")
	top.await(`(?m)^2 hosts, 1 up, 4 slots, 4 free, 0 calls waiting$`)
	top.await(`(?m)^seen \d+s ago, sorted by host$`)
	top.await(`(?m)^HOST +ADDR +STATE +SLOTS +FREE +RUNNING +APPS\ngpu1 +127\.0\.0\.1:\d+ +up +4 +4 +0 +demo:App\ngpu2 +127\.0\.0\.1:1 +down +0 +0 +0 +.*refused`)
	top.press("ss")
	top.await(`(?m)sorted by state$`)
	top.await(`\ngpu2 .*\ngpu1 `)
	top.press("q")
	assert.Equal(t, exitOK, top.end())
}

// TestClusterTopLines: without a terminal each look is printed.
func TestClusterTopLines(t *testing.T) {
	socket := startSmallCluster(t)
	got := dirtyRun("", "cluster", "top", "-s", socket, "-c", "2", "-i", "1ms", "--sort", "free")
	require.Equal(t, exitOK, got.code, got.stderr)
	assert.Equal(t, 2, strings.Count(got.stdout, " 2 hosts, 1 up, 4 slots, 4 free, 0 calls waiting\n"))
	assert.Regexp(t, `(?m)^gpu2 .*\ngpu1 `, got.stdout)

	got = dirtyRun("", "cluster", "top", "-s", socket, "-c", "1", "-o", "json")
	require.Equal(t, exitOK, got.code, got.stderr)
	var seen struct {
		Time    string
		Hosts   []struct{ Host, State, Error string }
		Waiting *int
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &seen))
	require.Len(t, seen.Hosts, 2)
	assert.Equal(t, "up", seen.Hosts[0].State)
	assert.Contains(t, seen.Hosts[1].Error, "refused")
	assert.NotNil(t, seen.Waiting)
	assert.NotEmpty(t, seen.Time)

	for _, args := range [][]string{{"-i", "0s"}, {"-c", "0"}, {"--sort", "age"}} {
		got = dirtyRun("", append([]string{"cluster", "top", "-s", socket}, args...)...)
		assert.Equal(t, exitUsage, got.code, args)
	}
	back := filepath.Join(shortTempDir(t), "back")
	startCommand(t, "serve", "-s", back)
	got = dirtyRun("", "cluster", "top", "-s", back, "-c", "1")
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stderr, "there is no front at this socket")
}

// TestClusterTopHeadline: the slots of a host that takes no calls do not count.
func TestClusterTopHeadline(t *testing.T) {
	seen := seenFront{Status: cluster.Status{Waiting: 7, Hosts: []cluster.HostStatus{
		{State: "up", Slots: 4, Free: 1}, {State: "leaving", Slots: 8, Free: 8}, {State: "down"},
	}}}
	assert.Equal(t, "3 hosts, 1 up, 4 slots, 1 free, 7 calls waiting", seen.headline())
}

// TestClusterTopView: text of a host that is hostile or long does not break the screen.
func TestClusterTopView(t *testing.T) {
	seen := &seenFront{Status: cluster.Status{Hosts: []cluster.HostStatus{
		{Host: "a\x1b[2J", Addr: strings.Repeat("x", 99), State: "up", Apps: []string{"a:界\n"}}, {State: "down", Error: "boom\x1b[2J"},
	}}}
	s := &topScreen{seen: seen, topFlags: topFlags{sort: "apps"}}
	for _, s.width = range []int{0, 1, 20, 80} {
		s.height = 8
		text := s.View().Content
		assert.LessOrEqual(t, lipgloss.Width(text), s.width)
		assert.LessOrEqual(t, lipgloss.Height(text), s.height)
		assert.NotContains(t, text, "\x1b[2J")
	}
}
