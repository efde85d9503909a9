package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// FuzzPayload checks that every sound payload comes back from both notations
// as the same value, and that a broken one comes back from JSON as the same
// bytes.
func FuzzPayload(f *testing.F) {
	for _, v := range values(f) {
		f.Add([]byte(v.payload))
	}
	f.Add([]byte("\x01\x02"))
	f.Add([]byte("\x20\x00\x00\x00\x02\x00"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		in := frameOf(t, dirty.TypeChunk, 1, string(payload))
		text := dirtyRun(in, "decode", "-")
		lines := dirtyRun(in, "decode", "-o", "json", "-")
		require.Equal(t, text.code, lines.code)
		require.NotContains(t, strings.TrimSuffix(lines.stdout, "\n"), "\n")
		fromJSON := dirtyRun(lines.stdout, "encode", "-")
		require.Equal(t, exitOK, fromJSON.code, fromJSON.stderr)
		if text.code != exitOK {
			require.Equal(t, in, fromJSON.stdout)
			return
		}
		fromText := dirtyRun(text.stdout, "encode", "-")
		require.Equal(t, exitOK, fromText.code, fromText.stderr)
		require.Equal(t, fromJSON.stdout, fromText.stdout)
		require.Len(t, fromText.stdout, len(in), "only bool bytes can differ")
		require.Equal(t, text.stdout, dirtyRun(fromText.stdout, "decode", "-").stdout)
	})
}

// FuzzInput checks that no input makes decode panic, run on or say that
// nothing was wrong when the bytes do not come back.
func FuzzInput(f *testing.F) {
	f.Add([]byte(frameOf(f, dirty.TypeChunk, 1, good) + frameOf(f, dirty.TypeStatus, 1, "")))
	f.Add([]byte(captureOf(f, "<1:"+frameOf(f, dirty.TypeChunk, 1, good)[:20], ">2:X")))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := dirtyRun(string(in), "decode", "-o", "json", "-")
		require.Contains(t, []int{exitOK, exitFault}, got.code)
		require.Equal(t, got.code != exitOK, got.stderr != "")
		if got.code == exitOK {
			require.Equal(t, exitOK, dirtyRun(got.stdout, "encode", "-").code)
		}
	})
}

// FuzzLine checks that whatever encode accepts is what decode calls sound.
func FuzzLine(f *testing.F) {
	for _, v := range values(f) {
		in := frameOf(f, dirty.TypeChunk, 1, v.payload)
		f.Add(dirtyRun(in, "decode", "-").stdout)
		f.Add(dirtyRun(in, "decode", "-o", "json", "-").stdout)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := dirtyRun(line, "encode", "-")
		require.Contains(t, []int{exitOK, exitFault}, got.code)
		if got.code == exitOK && !strings.Contains(line, "raw") {
			back := dirtyRun(got.stdout, "decode", "-")
			require.Equal(t, exitOK, back.code, back.stdout)
		}
	})
}
