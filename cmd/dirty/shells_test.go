//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
)

// bashCompletion is where the package bash-completion is.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// TestShells: in real shells, Tab completes an app, which has a colon, a table and a
// key from the arbiter.
func TestShells(t *testing.T) {
	for _, tt := range []struct {
		shell, needs string
		args         []string
		setUp        string
	}{
		{"bash", bashCompletion, []string{"--norc", "--noprofile", "-i"},
			"source " + bashCompletion + "; source <(dirty completion bash); bind 'set show-all-if-ambiguous on'"},
		{"zsh", "", []string{"-f", "-i"}, "autoload -U compinit; compinit -u -D; source <(dirty completion zsh)"},
		{"fish", "", []string{"--no-config", "--features=no-query-term", "-i"}, "function fish_prompt; echo '$ '; end; dirty completion fish | source"},
	} {
		t.Run(tt.shell, func(t *testing.T) {
			shell := findShell(t, tt.shell, tt.needs)
			mux := scriptApp()
			mux.Handle("shop:Cart", "add", server.Func(func(context.Context, struct{}) (int, error) { return 1, nil }))
			mux.Handle("shop:Card", "add", server.Func(func(context.Context, struct{}) (int, error) { return 1, nil }))
			s := dirtytest.NewServer(t, mux)
			s.Stash().Put("users", "ada", 1)
			cmd := exec.CommandContext(t.Context(), shell, tt.args...)
			terminal := startOnScreen(t, 100, 40, cmd, "GUNICORN_DIRTY_SOCKET="+s.Socket(), "HOME="+t.TempDir(), "HISTFILE=", "PS1=$ ")
			terminal.press(tt.setUp + "; echo set'-'up\r")
			terminal.await(`(?m)^set-up`)
			for _, typed := range []struct{ keys, want string }{
				{"dirty exec de\t", `dirty exec demo:App`},
				{"dirty exec demo:\t", `dirty exec demo:App`},
				{"dirty exec demo:A\t", `dirty exec demo:App`},
				{"dirty exec shop:Ca\t\t", `\n(.*\n)*.*Card\b.*Cart\b`}, // both are offered
				{"dirty stash get us\t", `dirty stash get users`},
				{"dirty stash get users a\t", `dirty stash get users ada`},
				{"dirty stat\t", `dirty status`},
			} {
				terminal.press("\x15\x0c") // removes what was typed, and clears the screen
				terminal.awaitThat("an empty line", func(text string) bool { return strings.TrimSpace(text) == "$" })
				terminal.press(typed.keys)
				terminal.await(typed.want)
				assert.NotContains(t, terminal.text(), "demo:demo:", "the part before the colon is not repeated")
			}
			terminal.press("\x15exit\r")
			_ = terminal.cmd.Wait()
		})
	}
}

// TestBashWithoutPackage: without the package that the script needs, it says so once.
func TestBashWithoutPackage(t *testing.T) {
	bash := findShell(t, "bash", "")
	out, err := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile", "-c", "source <(dirty completion bash)").CombinedOutput()
	assert.Error(t, err)
	assert.Equal(t, "dirty: completion in bash needs the package bash-completion, loaded before this\n", string(out))
}

// findShell returns the path of a shell. needs is a file that must be there too.
func findShell(t *testing.T, shell, needs string) string {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err == nil && needs != "" {
		_, err = os.Stat(filepath.Clean(needs))
	}
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "CI must have it: %v", err)
		loud.Say("cmd/dirty: NOT RUN: %s: %v", t.Name(), err)
		t.Skip(err)
	}
	return path
}
