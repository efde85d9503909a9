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
	require.Greater(t, len(steps), 8)
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

// TestReadmeCommands: each command of the README exists, with its flags.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	found := regexp.MustCompile("`dirty ([a-z][^`]*)`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(found), 15)
	for _, match := range found {
		words := strings.Fields(match[1])
		c := &cli{stdout: &output{w: &bytes.Buffer{}}, stderr: &bytes.Buffer{}}
		cmd, rest, err := c.rootCommand().Find(words)
		require.NoError(t, err, match[0])
		require.True(t, cmd.HasParent(), match[0])
		if err := cmd.ParseFlags(rest); err != nil {
			assert.NoError(t, err, match[0])
		}
		assert.False(t, cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0, match[0])
	}
}
