package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// result is how a run of the command ended.
type result struct {
	code           int
	stdout, stderr string
}

// dirtyRun runs the command within the process.
func dirtyRun(stdin string, args ...string) result {
	var out, errs bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// frameOf makes a frame of a payload, sound or not.
func frameOf(t testing.TB, typ dirty.MessageType, id uint64, payload string) string {
	t.Helper()
	b, err := dirty.Header{Type: typ, Length: uint32(len(payload)), RequestID: id}.AppendBinary(nil)
	require.NoError(t, err)
	return string(b) + payload
}

// captureOf makes a capture of pieces such as ">1:bytes".
func captureOf(t testing.TB, pieces ...string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b)
	require.NoError(t, err)
	for _, p := range pieces {
		require.NoError(t, w.Write(capture.Direction(p[0]), uint32(p[1]-'0'), []byte(p[3:])))
	}
	return b.String()
}

func TestCommandLine(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // parts of what is printed
	}{
		{"nothing", nil, exitUsage, "", "Usage:"},
		{"unknown command", []string{"dance"}, exitUsage, "", `unknown command "dance"`},
		{"similar command", []string{"decod"}, exitUsage, "", `did you mean decode`},
		{"another word for a command", []string{"workers", "remove"}, exitUsage, "", `did you mean rm`},
		{"where all is explained", []string{"dance"}, exitUsage, "", `Run "dirty help" for usage.`},
		{"where a command is explained", []string{"stash", "get", "a"}, exitUsage, "", `Run "dirty help stash get" for usage.`},
		{"unknown flag of all", []string{"--dance"}, exitUsage, "", "unknown flag: --dance"},
		{"help", []string{"help"}, exitOK, "Exit status:", ""},
		{"-h", []string{"-h"}, exitOK, "Exit status:", ""},
		{"--help", []string{"--help"}, exitOK, "Exit status:", ""},
		{"help decode", []string{"help", "decode"}, exitOK, "dirty decode FILE|- [flags]", ""},
		{"serve -h", []string{"serve", "-h"}, exitOK, "dirty serve [flags]", ""},
		{"serve with more", []string{"serve", "x"}, exitUsage, "", "unexpected"},
		{"demo with more", []string{"demo", "x"}, exitUsage, "", "unexpected"},
		{"help of nothing", []string{"help", "dance"}, exitUsage, "", `unknown command "dance"`},
		{"help of two", []string{"help", "decode", "encode"}, exitUsage, "", `unknown command "encode"`},
		{"version", []string{"version"}, exitOK, "protocol version 1", ""},
		{"--version", []string{"--version"}, exitOK, "protocol version 1", ""},
		{"version with more", []string{"version", "x"}, exitUsage, "", "no arguments"},
		{"completion of nothing", []string{"completion"}, exitUsage, "", "one of bash, zsh, fish or powershell"},
		{"completion of an unknown shell", []string{"completion", "tcsh"}, exitUsage, "", `unknown shell "tcsh"`},
		{"decode without a file", []string{"decode"}, exitUsage, "", "one file"},
		{"decode of two files", []string{"decode", "a", "b"}, exitUsage, "", "one file"},
		{"flag after the file", []string{"decode", "-", "-o", "json"}, exitOK, "", ""},
		{"unknown flag", []string{"decode", "-x", "-"}, exitUsage, "", "-x"},
		{"unknown format", []string{"decode", "-o", "xml", "-"}, exitUsage, "", "want one of text or json"},
		{"unknown format of encode", []string{"encode", "-o", "json", "-"}, exitUsage, "", "want one of raw or capture"},
		{"a number that is no flag", []string{"decode", "-1"}, exitIO, "", "open -1"},
		{"numbers that are no flags", []string{"decode", "-1", "-.5"}, exitUsage, "", `unexpected ["-.5"]`},
		{"a number in place of a format", []string{"decode", "-o", "-1", "-"}, exitUsage, "", `invalid argument "-1"`},
		{"encode without a file", []string{"encode"}, exitUsage, "", "one file"},
		{"decode of a missing file", []string{"decode", missing}, exitIO, "", "missing"},
		{"encode of a missing file", []string{"encode", missing}, exitIO, "", "missing"},
		{"decode of nothing", []string{"decode", "-"}, exitOK, "", ""},
		{"encode of nothing", []string{"encode", "-"}, exitOK, "", ""},
		{"encode of nothing to a capture", []string{"encode", "-o", "capture", "-"}, exitOK, capture.Magic, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := dirtyRun("", tt.args...)
			assert.Equal(t, tt.code, got.code)
			for _, s := range []struct{ want, got string }{{tt.stdout, got.stdout}, {tt.stderr, got.stderr}} {
				assert.Contains(t, s.got, s.want)
				assert.Equal(t, s.want == "", s.got == "", "printed: %q", s.got)
			}
		})
	}
}

// commands returns all commands that there are.
func commands() (all []*cobra.Command) {
	c := &cli{stdout: &output{w: io.Discard}, stderr: io.Discard}
	var add func(cmd *cobra.Command)
	add = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, child := range cmd.Commands() {
			add(child)
		}
	}
	add(c.rootCommand())
	return all
}

// TestEveryHelp: each command explains itself with an example, by -h and by the
// command help, and its lines fit a terminal.
func TestEveryHelp(t *testing.T) {
	for _, cmd := range commands() {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			assert.NotEmpty(t, cmd.Short)
			require.Contains(t, cmd.Example, "dirty ")
			for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
				assert.LessOrEqual(t, len(line), 90, line)
			}
			path := strings.Fields(cmd.CommandPath())[1:]
			help := dirtyRun("", append(path, "-h")...)
			assert.Equal(t, exitOK, help.code)
			assert.Empty(t, help.stderr)
			assert.Contains(t, help.stdout, cmd.Example)
			if cmd.Name() != "help" {
				assert.Equal(t, help, dirtyRun("", append([]string{"help"}, path...)...))
			}
		})
	}
}

// TestEveryGroup: a group without a command, or with an unknown one, is a wrong
// command line.
func TestEveryGroup(t *testing.T) {
	for _, cmd := range commands() {
		if !cmd.HasAvailableSubCommands() {
			continue
		}
		path := strings.Fields(cmd.CommandPath())[1:]
		got := dirtyRun("", append(path, "dance")...)
		assert.Equal(t, exitUsage, got.code, path)
		assert.Contains(t, got.stderr, `unknown command "dance"`)
	}
}

// TestCompletionScripts: each script is printed, and is one for this command.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := dirtyRun("", "completion", shell)
		assert.Equal(t, exitOK, got.code)
		assert.Empty(t, got.stderr)
		assert.Contains(t, got.stdout, "__complete")
	}
}

func TestReadsFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "frames")
	require.NoError(t, os.WriteFile(name, []byte(frameOf(t, dirty.TypeEnd, 7, "")), 0o600))
	assert.Equal(t, result{exitOK, "< end id=7 size=0\n", ""}, dirtyRun("", "decode", name))
}

var errBoom = errors.New("boom")

// failing is a reader and writer that always fails.
type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errBoom }
func (failing) Write([]byte) (int, error) { return 0, errBoom }

func TestInputAndOutputErrors(t *testing.T) {
	end := frameOf(t, dirty.TypeEnd, 7, "")
	for _, args := range [][]string{{"decode", "-"}, {"decode", "-o", "json", "-"}, {"encode", "-"}, {"encode", "-o", "capture", "-"}} {
		var out, errs bytes.Buffer
		assert.Equal(t, exitIO, run(t.Context(), args, failing{}, &out, &errs), args)
		assert.Contains(t, errs.String(), "boom")
	}
	for _, tt := range []struct {
		stdin string
		args  []string
	}{
		{end, []string{"decode", "-"}},
		{captureOf(t, "<1:"+end), []string{"decode", "-"}},
		{"< end id=1", []string{"encode", "-"}},
		{"< end id=1", []string{"encode", "-o", "capture", "-"}},
		{"", []string{"help"}},
		{"", []string{"decode", "-h"}},
		{"", []string{"version"}},
	} {
		var errs bytes.Buffer
		assert.Equal(t, exitIO, run(t.Context(), tt.args, strings.NewReader(tt.stdin), failing{}, &errs), tt.args)
		assert.Contains(t, errs.String(), "boom")
	}
}

// TestSpecExamples: decode prints the texts that the comments in the examples of the
// specification have, and encode makes the same bytes of them.
func TestSpecExamples(t *testing.T) {
	spec, err := os.ReadFile("../../docs/SPEC.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```frame\n(.*?)```").FindAllStringSubmatch(string(spec), -1)
	require.NotEmpty(t, blocks)
	comment := regexp.MustCompile(`#.*`)
	text := regexp.MustCompile(`"[^"]*"`)
	for _, b := range blocks {
		digits := strings.Join(strings.Fields(comment.ReplaceAllString(b[1], "")), "")
		frames, err := hex.DecodeString(digits)
		require.NoError(t, err)
		got := dirtyRun(string(frames), "decode", "-")
		require.Equal(t, exitOK, got.code, got.stdout)
		for _, c := range comment.FindAllString(b[1], -1) {
			for _, want := range text.FindAllString(c, -1) {
				assert.Contains(t, got.stdout, want)
			}
		}
		assert.Equal(t, string(frames), dirtyRun(got.stdout, "encode", "-").stdout)
	}
}
