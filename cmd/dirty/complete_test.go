package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestCompletion: apps, tables and keys come from the arbiter.
func TestCompletion(t *testing.T) {
	setTime(t, &completeTime, patience)
	s := dirtytest.NewServer(t, scriptApp())
	s.Setenv()
	s.SetWorkers(client.Worker{PID: 1, Age: 1, Apps: []string{"other:App", "demo:App"}, Booted: true})
	s.Stash().Put("users", "ada", 1)
	s.Stash().Put("users", 5, 1)
	s.Stash().Put("users", "a\x1b[1m", 1)
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"exec", ""}, "demo:App\n:4\n"},
		{[]string{"exec", "demo:"}, "demo:App\n:4\n"},
		{[]string{"exec", "x"}, ":4\n"},
		{[]string{"stream", "d"}, "demo:App\n:4\n"},
		{[]string{"bench", "d"}, "demo:App\n:4\n"},
		{[]string{"exec", "demo:App", "echo", "@"}, ":0\n"},
		{[]string{"stash", "get", "u"}, "users\n:4\n"},
		{[]string{"stash", "get", "users", ""}, "ada\n5\n\"a\\u001b[1m\"\n:4\n"},
		{[]string{"stash", "ls", "users", ""}, ":4\n"},
		{[]string{"status", "-o", ""}, "text\njson\n:4\n"},
		{[]string{"completion", "f"}, "fish\n:4\n"},
		{[]string{"help", "enc"}, "encode\n:4\n"},
	} {
		got := dirtyRun("", append([]string{"__completeNoDesc"}, tt.words...)...)
		assert.Equal(t, exitOK, got.code)
		assert.Equal(t, tt.want, got.stdout, tt.words)
	}
}

// TestCompletionSilent: an arbiter that is not there, or does not answer, holds up no
// shell and says nothing.
func TestCompletionSilent(t *testing.T) {
	t.Setenv(client.EnvSocket, "/nowhere/x")
	assert.Equal(t, ":4\n", dirtyRun("", "__completeNoDesc", "exec", "").stdout)

	s := dirtytest.NewServer(t, scriptApp())
	s.Setenv()
	s.Fault(dirtytest.MatchAny, dirtytest.Hang())
	start := time.Now()
	assert.Equal(t, ":4\n", dirtyRun("", "__completeNoDesc", "exec", "").stdout)
	assert.Equal(t, ":4\n", dirtyRun("", "__completeNoDesc", "stash", "get", "").stdout)
	assert.Less(t, time.Since(start), client.DefaultTimeout)
}
