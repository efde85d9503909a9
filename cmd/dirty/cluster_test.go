package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/pages"
)

// TestClusterDemo: all steps go well.
func TestClusterDemo(t *testing.T) {
	got := dirtyRun("", "cluster", "demo")
	require.Equal(t, exitOK, got.code, "%s%s", got.stdout, got.stderr)
	for _, want := range []string{"The agent of gpu3 listens on", "The front has found 3 hosts",
		`gpu3 gets "warm"`, "has run it once", "A host is killed under load", "none ran twice", "All went as it should."} {
		assert.Contains(t, got.stdout, want)
	}
}

// TestClusterDemoChecks: a call that runs twice is an error, and so is one that runs
// although it is said not to have run.
func TestClusterDemoChecks(t *testing.T) {
	d := &clusterDemo{runs: map[int]int{1: 1, 2: 2}}
	assert.ErrorContains(t, d.check(&tally{}), "call 2 has run 2 times")
	d.runs[2] = 1
	assert.NoError(t, d.check(&tally{answered: []int{1, 2}}))
	assert.ErrorContains(t, d.check(&tally{answered: []int{3}}), "call 3 was answered and has run 0 times")
	assert.ErrorContains(t, d.check(&tally{neverRan: []int{1}}), "call 1 is said not to have run, and has")
}

// startCommand runs a command that goes on, with -o json, and returns the first object
// that it prints. It is interrupted when the test ends, and must then end well.
func startCommand(t *testing.T, args ...string) map[string]any {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() {
		code := run(ctx, append(args, "-o", "json"), strings.NewReader(""), in, &errs)
		_ = in.Close()
		done <- code
	}()
	t.Cleanup(func() {
		interrupt()
		select {
		case code := <-done:
			assert.Equal(t, exitOK, code, "%v: %s", args, errs.String())
		case <-time.After(time.Minute):
			assert.Fail(t, "it does not end", "%v", args)
		}
	})
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "%v has printed nothing", args)
	var told map[string]any
	require.NoError(t, json.Unmarshal(lines.Bytes(), &told))
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return told
}

// makeCerts makes certificates as a user does. It returns the flags of each name.
func makeCerts(t *testing.T, args ...string) map[string][]string {
	t.Helper()
	got := dirtyRun("", append([]string{"cluster", "certs", t.TempDir(), "-o", "json"}, args...)...)
	require.Equal(t, exitOK, got.code, got.stderr)
	flags := map[string][]string{}
	for line := range strings.Lines(got.stdout) {
		var cert struct{ Name, Cert, Key, CA string }
		require.NoError(t, json.Unmarshal([]byte(line), &cert))
		flags[cert.Name] = []string{"--cert", cert.Cert, "--key", cert.Key, "--ca", cert.CA}
	}
	return flags
}

// TestClusterCertsHalfAuthority: an authority of which a file is missing is not replaced.
func TestClusterCertsHalfAuthority(t *testing.T) {
	for _, missing := range authorityFiles {
		t.Run(missing, func(t *testing.T) {
			folder := t.TempDir()
			got := dirtyRun("", "cluster", "certs", folder, "--agent", "gpu1")
			require.Equal(t, exitOK, got.code, got.stderr)
			require.NoError(t, os.Remove(filepath.Join(folder, missing)))
			got = dirtyRun("", "cluster", "certs", folder, "--agent", "gpu2")
			assert.Equal(t, exitIO, got.code)
			assert.Contains(t, got.stderr, "not the whole authority")
			assert.Contains(t, got.stderr, missing)
			assert.NoFileExists(t, filepath.Join(folder, "gpu2.pem"))
		})
	}
}

// TestCluster: an agent and a front as a user starts them. Calls come through, and the
// status tells of the host.
func TestCluster(t *testing.T) {
	certs := makeCerts(t, "--agent", "gpu1", "--front", "web1")
	dir := shortTempDir(t)
	back, socket := filepath.Join(dir, "back"), filepath.Join(dir, "front")
	startCommand(t, "serve", "-s", back)
	agent := startCommand(t, append(certs["gpu1"], "agent", "127.0.0.1:0", "-s", back, "--slots", "4")...)
	assert.Equal(t, "gpu1", agent["host"])
	addr := agent["addr"].(string)
	front := startCommand(t, append(certs["web1"], "front", socket, "--member", "gpu1="+addr, "--stash-memory")...)
	assert.Equal(t, socket, front["socket"])

	got := dirtyRun("", "exec", "-s", socket, "demo:App", "add", "1", "2")
	assert.Equal(t, result{exitOK, "3.0\n", ""}, got)
	got = dirtyRun("", "stash", "put", "-s", socket, "t", "k", "v")
	assert.Equal(t, exitOK, got.code, got.stderr)
	awaitIdle(t, socket)
	got = dirtyRun("", "cluster", "status", "-s", socket)
	require.Equal(t, exitOK, got.code, got.stderr)
	assert.Contains(t, got.stdout, "1 host, 0 calls waiting\n")
	assert.Regexp(t, `(?m)^gpu1 +`+addr+` +up +4 +4 +0 +demo:App *$`, got.stdout)
	got = dirtyRun("", "cluster", "status", "-s", socket, "-o", "json")
	assert.JSONEq(t, `{"hosts":[{"host":"gpu1","addr":"`+addr+`","state":"up","slots":4,"free":4,"running":0,"apps":["demo:App"],"error":""}],"waiting":0}`, got.stdout)
	got = dirtyRun("", "cluster", "status", "-s", back)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stderr, "there is no front at this socket")
	got = dirtyRun("", "workers", "add", "1", "-s", socket)
	assert.NotEqual(t, exitOK, got.code)
	assert.Contains(t, got.stderr, "ask the host itself")
}

// awaitIdle waits until no call runs behind a front. The caller of a call gets its
// answer a moment before the front counts it as ended.
func awaitIdle(t *testing.T, socket string) {
	t.Helper()
	require.Eventually(t, func() bool {
		got := dirtyRun("", "cluster", "status", "-s", socket, "-o", "json")
		return got.code == exitOK && !regexp.MustCompile(`"running":[1-9]`).MatchString(got.stdout)
	}, time.Minute, time.Millisecond)
}

// TestClusterPage: the shell commands of docs/CLUSTER.md do what it says. Both ways to
// make certificates give some that agents and fronts take.
func TestClusterPage(t *testing.T) {
	blocks, err := pages.Read("../..", "docs/CLUSTER.md")
	require.NoError(t, err)
	folder := t.TempDir()
	t.Chdir(folder)
	var ran []string
	for _, b := range blocks {
		if b.Language != "sh" {
			continue
		}
		command, _, _ := strings.Cut(b.Code, " ")
		ran = append(ran, command)
		switch words := strings.Fields(b.Code); {
		case command == "openssl":
			out, err := exec.Command("bash", "-ec", b.Code).CombinedOutput()
			require.NoError(t, err, "%s", out)
			tryCerts(t, folder)
		case words[1] == "cluster" && words[2] == "certs":
			got := dirtyRun("", words[1:]...)
			require.Equal(t, exitOK, got.code, got.stderr)
			tryCerts(t, filepath.Join(folder, words[3]))
		default: // TestCluster runs it with another path
			assert.Equal(t, []string{"dirty", "cluster", "status", "-s", "/run/dirty/front.sock"}, words)
		}
	}
	assert.Equal(t, []string{"dirty", "openssl", "dirty"}, ran)
}

// tryCerts makes a call with the certificates of gpu1 and web1 in a folder.
func tryCerts(t *testing.T, folder string) {
	t.Helper()
	flags := func(name string) []string {
		return []string{"--cert", filepath.Join(folder, name+".pem"), "--key", filepath.Join(folder, name+".key"), "--ca", filepath.Join(folder, "ca.pem")}
	}
	dir := shortTempDir(t)
	back, socket := filepath.Join(dir, "back"), filepath.Join(dir, "front")
	startCommand(t, "serve", "-s", back)
	agent := startCommand(t, append(flags("gpu1"), "agent", "127.0.0.1:0", "-s", back)...)
	startCommand(t, append(flags("web1"), "front", socket, "--member", "gpu1="+agent["addr"].(string))...)
	got := dirtyRun("", "exec", "-s", socket, "demo:App", "add", "1", "2")
	assert.Equal(t, result{exitOK, "3.0\n", ""}, got)
}

// TestClusterStatusWithoutHosts: the status of a front that reaches nobody is no.
func TestClusterStatusWithoutHosts(t *testing.T) {
	socket := filepath.Join(shortTempDir(t), "front")
	startCommand(t, "front", socket, "--plain", "--member", "127.0.0.1:1")
	got := dirtyRun("", "cluster", "status", "-s", socket)
	assert.Equal(t, exitNegative, got.code)
	assert.Contains(t, got.stderr, "no host is up")
	assert.Contains(t, got.stdout, "127.0.0.1:1")
}

// TestClusterCommandLines: what is wrong is told before anything is started.
func TestClusterCommandLines(t *testing.T) {
	certs := makeCerts(t, "--agent", "gpu1", "--front", "web1")
	socket := filepath.Join(shortTempDir(t), "s")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"agent", ":0", "-s", socket}, "agent: want --cert, --key and --ca, or --plain"},
		{append(certs["gpu1"], "agent", ":0", "-s", socket, "--plain"), "--plain uses no certificate"},
		{append(certs["web1"], "agent", ":0", "-s", socket), "names no *.agent.dirty"},
		{[]string{"agent", ":0", "-s", socket, "--plain", "--slots=-1"}, "Slots -1"},
		{[]string{"front", socket, "--plain"}, "front: want --member, --dns or --nats"},
		{[]string{"front", socket, "--plain", "--member", "a:1", "--dns", "b:1"}, "--member and --dns both"},
		{[]string{"front", socket, "--plain", "--member", "a"}, "--member a: want ADDR:PORT"},
		{[]string{"front", socket, "--plain", "--member", "h=a:"}, "--member h=a:: want ADDR:PORT"},
		{[]string{"front", socket, "--plain", "--dns", "a"}, "--dns a: want NAME:PORT"},
		{[]string{"front", socket, "--plain", "--dns", "a:"}, "--dns a:: want NAME:PORT"},
		{[]string{"front", socket, "--plain", "--member", "a:1", "--stash-memory", "--stash-host", "h"}, "name one stash"},
		{append(certs["gpu1"], "front", socket, "--member", "a:1"), "names no *.front.dirty"},
		{[]string{"cluster", "certs", t.TempDir(), "--agent", "../x"}, "want a name of small letters"},
		{[]string{"cluster", "certs", t.TempDir(), "--agent", "x", "--front", "x"}, "the name x is there twice"},
		{[]string{"cluster", "certs", t.TempDir(), "--agent", "ca"}, "the name ca is there twice"},
		{[]string{"cluster", "certs", t.TempDir(), "--days", "0"}, "want 1 to 3650"},
		{[]string{"cluster", "dance"}, `unknown command "dance"`},
	} {
		got := dirtyRun("", tt.args...)
		assert.Equal(t, exitUsage, got.code, "%v: %s", tt.args, got.stderr)
		assert.Contains(t, got.stderr, tt.want, "%v", tt.args)
	}
}
