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
	f.Add([]byte("\x11\x00\x00\x00\x0b\xe2\x80\xae\xef\xbb\xbf\xc2\x9b\x1b[2"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		in := frameOf(t, dirty.TypeChunk, 1, string(payload))
		text := dirtyRun(in, "decode", "-")
		lines := dirtyRun(in, "decode", "-o", "json", "-")
		require.Equal(t, text.code, lines.code)
		require.NotContains(t, strings.TrimSuffix(lines.stdout, "\n"), "\n")
		requireVisible(t, text.stdout+text.stderr+lines.stdout)
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

// FuzzInput checks that no input makes decode panic or run on. If decode says that
// nothing is wrong, encode must read its lines. Little memory makes it give up
// frames.
func FuzzInput(f *testing.F) {
	frame := frameOf(f, dirty.TypeChunk, 1, good)
	large := frameOf(f, dirty.TypeChunk, 1, string(dirty.AppendBytes(nil, make([]byte, 700<<10))))
	f.Add([]byte(frame + frameOf(f, dirty.TypeStatus, 1, "")))
	f.Add([]byte(captureOf(f, "<1:"+frame[:20], ">2:X")))
	f.Add([]byte(captureOf(f, "<1:"+frame+frame)[:60]))                                                // cut inside a record
	f.Add([]byte(captureOf(f, "<1:"+large[:600<<10], "<2:"+large[:500<<10], "<1:"+large[600<<10:])))   // given up
	f.Add([]byte(captureOf(f, "<1:XXXXXXXXXXXXXXXX", "<1:"+frame, ">1:"+frame)))                       // dead
	f.Add([]byte(captureOf(f, "<1:"+frame[:1], "<2:"+frame[:1], "<1:"+frame[1:17], "<1:"+frame[17:]))) // in pieces
	f.Fuzz(func(t *testing.T, in []byte) {
		got := dirtyRun(string(in), "decode", "--memory", "1", "-o", "json", "-")
		requireVisible(t, got.stdout+got.stderr)
		require.Contains(t, []int{exitOK, exitFault}, got.code)
		require.Equal(t, got.code != exitOK, got.stderr != "")
		if got.code == exitOK {
			require.Equal(t, exitOK, dirtyRun(got.stdout, "encode", "-").code)
		}
	})
}

// FuzzLine checks that decode finds nothing wrong with the frames that encode makes.
func FuzzLine(f *testing.F) {
	for _, v := range values(f) {
		in := frameOf(f, dirty.TypeChunk, 1, v.payload)
		f.Add(dirtyRun(in, "decode", "-").stdout)
		f.Add(dirtyRun(in, "decode", "-o", "json", "-").stdout)
	}
	for _, line := range []string{
		"#1 > request id=1 size=9 h'00", `< chunk id=1 "\ud83d\ude00\x41\U0001f600"`, "< chunk id=1 -Infinity", "< chunk id=1 NaN(7ff0000000000001)",
		`{"type":"chunk","id":"1","length":2,"error":{"message":"x","offset":0},"raw":"AQI=","partial":"x"}`,
		`{"payload":{"$dict":[["$bytes",{"$bytes":"AA=="}]]},"type":"chunk"}`, "\r\n \t\n< end id=1\r\n",
		`{"` + strings.Repeat("x", maxWord+1) + `":1}`, "< chunk id=1 " + strings.Repeat("[", 1001),
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := dirtyRun(line, "encode", "-")
		requireVisible(t, got.stderr)
		require.Contains(t, []int{exitOK, exitFault}, got.code)
		if got.code == exitOK && !strings.Contains(line, "raw") {
			back := dirtyRun(got.stdout, "decode", "-")
			require.Equal(t, exitOK, back.code, back.stdout)
		}
	})
}
