package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"math"
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

// values returns payloads and the JSON that stands for them. Each comes back from both
// notations as the same bytes.
func values(t testing.TB) []struct{ name, payload, json string } {
	enc := func(v any) string {
		b, err := dirty.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	float := func(bits uint64) string {
		return string(dirty.AppendFloat64(nil, math.Float64frombits(bits)))
	}
	return []struct{ name, payload, json string }{
		{"none", enc(nil), `null`},
		{"true", enc(true), `true`},
		{"false", enc(false), `false`},
		{"zero", enc(0), `0`},
		{"smallest int", enc(int64(math.MinInt64)), `-9223372036854775808`},
		{"largest int", enc(int64(math.MaxInt64)), `9223372036854775807`},
		{"whole float", enc(1.0), `1.0`},
		{"negative zero", enc(math.Copysign(0, -1)), `-0.0`},
		{"fraction", enc(0.1), `0.1`},
		{"large float", enc(1e300), `1e+300`},
		{"float beyond 2^53", enc(9007199254740993.0), `9.007199254740992e+15`},
		{"smallest float", enc(math.SmallestNonzeroFloat64), `5e-324`},
		{"infinity", enc(math.Inf(1)), `{"$float":"7ff0000000000000"}`},
		{"negative infinity", enc(math.Inf(-1)), `{"$float":"fff0000000000000"}`},
		{"NaN", float(0x7ff8000000000000), `{"$float":"7ff8000000000000"}`},
		{"NaN with bits", float(0xfff8000000c0ffee), `{"$float":"fff8000000c0ffee"}`},
		{"signalling NaN", float(0x7ff0000000000001), `{"$float":"7ff0000000000001"}`},
		{"empty string", enc(""), `""`},
		{"string", enc("é€😀 <&> '"), `"é€😀 <&> '"`},
		{"escapes", enc("\"\\/\b\f\n\r\t\x00\x7f\u2028"), `"\"\\/\u0008\u000c\n\r\t\u0000\u007f\u2028"`},
		{"replacement character", enc("\ufffd"), "\"\ufffd\""},
		{"empty bytes", enc([]byte{}), `{"$bytes":""}`},
		{"bytes", enc([]byte{0, 0xff}), `{"$bytes":"AP8="}`},
		{"empty list", enc([]any{}), `[]`},
		{"list", enc([]any{1, []any{}, "a"}), `[1,[],"a"]`},
		{"empty dict", enc(dirty.Dict{}), `{}`},
		{"dict in order", enc(dirty.Dict{{Key: "b", Value: 1}, {Key: "a", Value: dirty.Dict{}}, {Key: "", Value: nil}}), `{"b":1,"a":{},"":null}`},
		{"repeated keys", "\x21\x00\x00\x00\x02\x11\x00\x00\x00\x01k\x00\x11\x00\x00\x00\x01k\x01\x01", `{"k":null,"k":true}`},
		{"key like ours", enc(dirty.Dict{{Key: "$bytes", Value: "AA=="}}), `{"$dict":[["$bytes","AA=="]]}`},
		{"keys like ours", enc(dirty.Dict{{Key: "$x", Value: 1}, {Key: "b", Value: 2}}), `{"$dict":[["$x",1],["b",2]]}`},
		{"later key like ours", enc(dirty.Dict{{Key: "b", Value: 2}, {Key: "$bytes", Value: 1}}), `{"b":2,"$bytes":1}`},
		{"key like ours within", enc(dirty.Dict{{Key: "$dict", Value: []any{dirty.Dict{{Key: "$", Value: 0}}}}}), `{"$dict":[["$dict",[{"$dict":[["$",0]]}]]]}`},
		{"deep", strings.Repeat("\x20\x00\x00\x00\x01", 1000)[:5*1000-5] + "\x20\x00\x00\x00\x00", strings.Repeat("[", 1000) + strings.Repeat("]", 1000)},
	}
}

func TestValues(t *testing.T) {
	for _, tt := range values(t) {
		t.Run(tt.name, func(t *testing.T) {
			in := frameOf(t, dirty.TypeResponse, math.MaxUint64, tt.payload)
			got := dirtyRun(in, "decode", "-o", "json", "-")
			require.Equal(t, exitOK, got.code, got.stderr)
			assert.Contains(t, got.stdout, `"dir":"<","type":"response","id":"18446744073709551615"`)
			assert.Contains(t, got.stdout, `"payload":`+tt.json+"}\n")
			assert.True(t, json.Valid([]byte(got.stdout)), got.stdout)
			requireRoundTrip(t, in)
		})
	}
}

// requireRoundTrip decodes plain frames to both forms and encodes them back.
func requireRoundTrip(t *testing.T, frames string) {
	t.Helper()
	for _, form := range []string{"text", "json"} {
		lines := dirtyRun(frames, "decode", "-o", form, "-")
		require.Equal(t, exitOK, lines.code, lines.stderr)
		back := dirtyRun(lines.stdout, "encode", "-")
		require.Equal(t, exitOK, back.code, "%s: %s%.300s", form, back.stderr, lines.stdout)
		requireSameBytes(t, frames, back.stdout, form)
	}
}

// requireSameBytes fails if two texts differ, and shows only where they begin to.
func requireSameBytes(t *testing.T, want, got, form string) {
	t.Helper()
	if want == got {
		return
	}
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	from := max(0, i-16)
	require.Equal(t, hex.Dump([]byte(want[from:min(from+64, len(want))])), hex.Dump([]byte(got[from:min(from+64, len(got))])),
		"%s: %d and %d bytes, the same up to %d", form, len(want), len(got), i)
}

// TestManyFrames: all values at once, in frames of each type, as plain frames and as a
// capture.
func TestManyFrames(t *testing.T) {
	var all strings.Builder
	types := []dirty.MessageType{dirty.TypeRequest, dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage}
	var pieces []string
	for i, v := range values(t) {
		typ := types[i%len(types)]
		f := frameOf(t, typ, uint64(i), v.payload) + frameOf(t, typ, 0, "")
		all.WriteString(f)
		pieces = append(pieces, string([]byte{direction(typ), byte('1' + i%3), ':'})+f)
	}
	requireRoundTrip(t, all.String())
	requireCaptureRoundTrip(t, captureOf(t, pieces...))
}

// requireCaptureRoundTrip checks that a capture of whole frames comes back
// with the same bytes in each direction of each connection, and that its
// frames are those of the plain form.
func requireCaptureRoundTrip(t *testing.T, in string) {
	t.Helper()
	want := streamsOf(t, in)
	for _, form := range []string{"text", "json"} {
		lines := dirtyRun(in, "decode", "-o", form, "-")
		require.Equal(t, exitOK, lines.code, lines.stderr)
		back := dirtyRun(lines.stdout, "encode", "-o", "capture", "-")
		require.Equal(t, exitOK, back.code, back.stderr)
		require.Equal(t, want, streamsOf(t, back.stdout), form)

		again := dirtyRun(back.stdout, "decode", "-o", "text", "-")
		assert.Equal(t, dirtyRun(in, "decode", "-").stdout, again.stdout, "same order")
		plain := dirtyRun(lines.stdout, "encode", "-")
		requireRoundTrip(t, plain.stdout)
	}
}

// streamsOf joins the records of a capture.
func streamsOf(t *testing.T, in string) map[streamKey]string {
	t.Helper()
	joined := map[streamKey]string{}
	r := capture.NewReader(strings.NewReader(in))
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return joined
		}
		require.NoError(t, err)
		joined[streamKey{rec.Conn, rec.Direction}] += string(rec.Data)
	}
}

// TestSessions: all sound frames of recorded sessions of real gunicorn come back. The
// broken ones are there on purpose.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob("../../testdata/sessions/*.bin")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			in := string(data)
			if dirtyRun(in, "decode", "-").code == exitOK {
				requireCaptureRoundTrip(t, in)
				return
			}
			sound := soundLines(dirtyRun(in, "decode", "-o", "json", "-").stdout)
			require.NotEmpty(t, sound)
			back := dirtyRun(sound, "encode", "-o", "capture", "-")
			require.Equal(t, exitOK, back.code, back.stderr)
			again := dirtyRun(back.stdout, "decode", "-o", "json", "-")
			require.Equal(t, exitOK, again.code, again.stderr)
			offset := regexp.MustCompile(`"offset":\d+,`)
			assert.Equal(t, offset.ReplaceAllString(sound, ""), offset.ReplaceAllString(again.stdout, ""))
		})
	}
}

// soundLines returns the lines without those of broken frames.
func soundLines(lines string) string {
	var sound strings.Builder
	for _, l := range strings.SplitAfter(lines, "\n") {
		if !strings.Contains(l, `,"error":{"message":`) {
			sound.WriteString(l)
		}
	}
	return sound.String()
}

// TestMessageVectors: the messages that real gunicorn encoded come back.
func TestMessageVectors(t *testing.T) {
	data, err := os.ReadFile("../../testdata/vectors/messages.json")
	require.NoError(t, err)
	var file struct {
		Vectors []struct{ Name, Type, ID, Hex string }
	}
	require.NoError(t, json.Unmarshal(data, &file))
	require.NotEmpty(t, file.Vectors)
	var all bytes.Buffer
	for _, v := range file.Vectors {
		frame, err := hex.DecodeString(v.Hex)
		require.NoError(t, err)
		got := dirtyRun(string(frame), "decode", "-")
		require.Equal(t, exitOK, got.code, "%s: %s%s", v.Name, got.stdout, got.stderr)
		assert.Contains(t, got.stdout, " "+v.Type+" id="+v.ID+" ", v.Name)
		all.Write(frame)
	}
	requireRoundTrip(t, all.String())
}

// TestValueVectors: the values that real gunicorn encoded come back.
func TestValueVectors(t *testing.T) {
	data, err := os.ReadFile("../../testdata/vectors/values.json")
	require.NoError(t, err)
	var file struct{ Vectors []struct{ Name, Hex string } }
	require.NoError(t, json.Unmarshal(data, &file))
	var all strings.Builder
	for i, v := range file.Vectors {
		payload, err := hex.DecodeString(v.Hex)
		require.NoError(t, err)
		all.WriteString(frameOf(t, dirty.TypeChunk, uint64(i), string(payload)))
	}
	requireRoundTrip(t, all.String())
}
