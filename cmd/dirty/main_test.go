package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
	code := run(args, strings.NewReader(stdin), &out, &errs)
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
		{"help", []string{"help"}, exitOK, "Exit status:", ""},
		{"-h", []string{"-h"}, exitOK, "Exit status:", ""},
		{"help decode", []string{"help", "decode"}, exitOK, "Usage: dirty decode", ""},
		{"help encode", []string{"help", "encode"}, exitOK, "Usage: dirty encode", ""},
		{"help serve", []string{"help", "serve"}, exitOK, "Usage: dirty serve", ""},
		{"help demo", []string{"help", "demo"}, exitOK, "Usage: dirty demo", ""},
		{"serve -h", []string{"serve", "-h"}, exitOK, "Usage: dirty serve", ""},
		{"serve with more", []string{"serve", "x"}, exitUsage, "", "unexpected"},
		{"demo -h", []string{"demo", "-h"}, exitOK, "Usage: dirty demo", ""},
		{"demo with more", []string{"demo", "x"}, exitUsage, "", "unexpected"},
		{"help version", []string{"help", "version"}, exitOK, "Usage: dirty version", ""},
		{"help help", []string{"help", "help"}, exitOK, "Usage: dirty help", ""},
		{"help of nothing", []string{"help", "dance"}, exitUsage, "", `unknown command "dance"`},
		{"help of two", []string{"help", "decode", "encode"}, exitUsage, "", "one command"},
		{"decode -h", []string{"decode", "-h"}, exitOK, "Usage: dirty decode", ""},
		{"encode -help", []string{"encode", "-help"}, exitOK, "Usage: dirty encode", ""},
		{"version", []string{"version"}, exitOK, "protocol version 1", ""},
		{"version with more", []string{"version", "x"}, exitUsage, "", "no arguments"},
		{"decode without a file", []string{"decode"}, exitUsage, "", "name a file"},
		{"decode of two files", []string{"decode", "a", "b"}, exitUsage, "", "one file"},
		{"flag after the file", []string{"decode", "-", "-o", "json"}, exitUsage, "", "flags go before"},
		{"unknown flag", []string{"decode", "-x", "-"}, exitUsage, "", "-x"},
		{"unknown format", []string{"decode", "-o", "xml", "-"}, exitUsage, "", "one of [text json]"},
		{"unknown format of encode", []string{"encode", "-o", "json", "-"}, exitUsage, "", "one of [raw capture]"},
		{"encode without a file", []string{"encode"}, exitUsage, "", "name a file"},
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
		assert.Equal(t, exitIO, run(args, failing{}, &out, &errs), args)
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
		assert.Equal(t, exitIO, run(tt.args, strings.NewReader(tt.stdin), failing{}, &errs), tt.args)
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
