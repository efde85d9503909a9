//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/internal/pages"
)

// TestReadmeSession: the commands of the README print what it says. The arbiter, which
// the README starts in its first two lines, is the test's.
func TestReadmeSession(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```console\n(.*?)```").FindStringSubmatch(string(text))
	require.NotNil(t, block)
	s := dirtytest.NewServer(t, scriptApp())
	t.Setenv(client.EnvSocket, s.Socket())
	steps := strings.Split("\n"+block[1], "\n$ ")[1:]
	require.GreaterOrEqual(t, len(steps), 4)
	assert.Contains(t, steps[0], "dirty serve")
	assert.Contains(t, steps[1], client.EnvSocket)
	for _, step := range steps[2:] {
		command, want, _ := strings.Cut(step, "\n")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // its status is a part of the session
		assert.Equal(t, strings.TrimSuffix(want, "\n"), strings.TrimSuffix(out.String(), "\n"), command)
	}
}

// TestDocumentedCommands: each command that a page names exists, with its flags. Those of
// docs/CLI.md are of another test, and have the syntax of a shell.
func TestDocumentedCommands(t *testing.T) {
	list, err := pages.List("../..")
	require.NoError(t, err)
	found := 0
	for _, page := range list {
		text, err := os.ReadFile("../../" + page)
		require.NoError(t, err)
		var commands []string
		for _, match := range regexp.MustCompile("`(dirty [a-z][^`]*)`").FindAllStringSubmatch(string(text), -1) {
			commands = append(commands, match[1])
		}
		blocks, err := pages.Read("../..", page)
		require.NoError(t, err)
		for _, b := range blocks {
			if page != "docs/CLI.md" {
				commands = append(commands, b.DirtyCommands()...)
			}
		}
		for _, command := range commands {
			found++
			words := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(command, "dirty "), "help "))
			c := &cli{stdout: &output{w: &bytes.Buffer{}}, stderr: &bytes.Buffer{}}
			cmd, rest, err := c.rootCommand().Find(words)
			require.NoErrorf(t, err, "%s: %s", page, command)
			require.Truef(t, cmd.HasParent(), "%s: %s", page, command)
			assert.NoErrorf(t, cmd.ParseFlags(rest), "%s: %s", page, command)
			assert.Falsef(t, cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0, "%s: %s", page, command)
		}
	}
	require.Greater(t, found, 20)
}
