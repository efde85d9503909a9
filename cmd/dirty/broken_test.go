package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// jsonLine is a line of decode -o json.
type jsonLine struct {
	Offset  int64
	Conn    int
	Dir     string
	Type    string
	ID      string
	Length  *int64
	Payload json.RawMessage
	Raw     []byte
	Partial *string
	Error   *struct {
		Message string
		Offset  int64
	}
}

func jsonLines(t *testing.T, s string) []jsonLine {
	t.Helper()
	var lines []jsonLine
	for _, l := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		if l == "" {
			continue
		}
		var v jsonLine
		d := json.NewDecoder(strings.NewReader(l))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&v), l)
		lines = append(lines, v)
	}
	return lines
}

// good is the payload {"data": true}.
const good = "\x21\x00\x00\x00\x01\x11\x00\x00\x00\x04data\x01\x01"

// TestBrokenFrames: each kind of fault, in a frame between two sound ones.
func TestBrokenFrames(t *testing.T) {
	before := frameOf(t, dirty.TypeChunk, 1, good)
	after := frameOf(t, dirty.TypeEnd, 3, "")
	header := func(at int, b ...byte) string {
		h := []byte(frameOf(t, dirty.TypeChunk, 2, good))
		copy(h[at:], b)
		return string(h)
	}
	payload := func(p string) string { return frameOf(t, dirty.TypeChunk, 2, p) }
	for _, tt := range []struct {
		name, frame string
		offset      int    // of the fault, from the first byte of the frame
		goesOn      bool   // the next frame is shown
		shown       string // what could be read
	}{
		{"magic", header(0, 'X'), 0, false, "< broken header h'58440104"},
		{"version", header(2, 9), 2, false, "broken header h'4744090400"},
		{"type", header(3, 6), 3, false, "broken header h'47440106"},
		{"length", header(4, 4, 0, 0, 1), 4, false, "< chunk id=2 size=67108865\n"},
		{"no value", payload("\x21\x00\x00\x00\x01\x11\x00\x00\x00\x04data"), 16 + 14, true, `"data"`},
		{"short bool", payload("\x20\x00\x00\x00\x02\x00\x01"), 16 + 6, true, "["},
		{"short int", payload("\x20\x00\x00\x00\x02\x01\x01\x05\x00"), 16 + 7, true, "[true"},
		{"short float", payload("\x06\x00"), 16, true, "size=2"},
		{"short length", payload("\x11\x00\x00"), 16, true, "size=3"},
		{"short string", payload("\x11\x00\x00\x00\x05ab"), 16, true, "size=7"},
		{"short bytes", payload("\x10\x00\x00\x00\x05ab"), 16, true, "size=7"},
		{"long string", payload("\x11\xff\xff\xff\xff"), 16, true, "size=5"},
		{"long list", payload("\x20\x00\x10\x00\x01"), 16, true, "size=5"},
		{"long dict", payload("\x21\xff\xff\xff\xff"), 16, true, "size=5"},
		{"count beyond the bytes", payload("\x20\x00\x00\x10\x00\x01\x01"), 16, true, "size=7"},
		{"key", payload("\x21\x00\x00\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00"), 16 + 5, true, "{"},
		{"UTF-8", payload("\x20\x00\x00\x00\x02\x01\x01\x11\x00\x00\x00\x02a\xff"), 16 + 13, true, "[true"},
		{"kind", payload("\x20\x00\x00\x00\x02\x01\x01\x7f"), 16 + 7, true, "[true"},
		{"trailing", payload("\x01\x01\x00\x00"), 16 + 2, true, "true"},
		{"depth", payload(strings.Repeat("\x20\x00\x00\x00\x01", 1001) + "\x00"), 16 + 5000, true, "[[["},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := before + tt.frame + after
			text := dirtyRun(in, "decode", "-")
			assert.Equal(t, exitFault, text.code)
			assert.Contains(t, text.stdout, "< chunk id=1 size=16 {\"data\": true}\n")
			assert.Contains(t, text.stdout, strings.TrimPrefix(tt.shown, "< broken"))
			assert.Equal(t, tt.goesOn, strings.Contains(text.stdout, "< end id=3"), text.stdout)
			where := fmt.Sprintf("\n! offset %d: ", len(before)+tt.offset)
			assert.Contains(t, text.stdout, where)
			assert.Contains(t, text.stderr, "1 of ")

			lines := jsonLines(t, dirtyRun(in, "decode", "-o", "json", "-").stdout)
			require.GreaterOrEqual(t, len(lines), 2)
			bad := lines[1]
			require.NotNil(t, bad.Error)
			assert.Equal(t, int64(len(before)), bad.Offset)
			assert.Equal(t, int64(len(before)+tt.offset), bad.Error.Offset)
			assert.Contains(t, text.stdout, bad.Error.Message)
			assert.Nil(t, bad.Payload)
			if !tt.goesOn {
				assert.Len(t, lines, 2)
				return
			}
			// A broken payload is kept as it was, so JSON is lossless even here.
			assert.Equal(t, tt.frame[16:], string(bad.Raw))
			require.NotNil(t, bad.Partial)
			back := dirtyRun(dirtyRun(in, "decode", "-o", "json", "-").stdout, "encode", "-")
			assert.Equal(t, result{exitOK, in, ""}, back)
		})
	}
}

// TestBrokenDirectionOfCapture: after a broken header nothing more of this direction
// is shown. The other direction and other connections go on.
func TestBrokenDirectionOfCapture(t *testing.T) {
	status, end := frameOf(t, dirty.TypeStatus, 5, ""), frameOf(t, dirty.TypeEnd, 6, "")
	in := captureOf(t, ">1:"+status, ">2:"+status[:4], ">1:XX"+status+status, "<1:"+end, ">2:"+status[4:]+status[:10], ">1:"+status)
	got := dirtyRun(in, "decode", "-")
	assert.Equal(t, exitFault, got.code)
	assert.Equal(t, strings.Join([]string{
		"#1 > status id=5 size=0",
		"#1 > broken header h'58584744011100000000000000000000'",
		"! offset 55: dirty: bad magic: magic at offset 55: found 0x5858, want 0x4744",
		"#1 < end id=6 size=0",
		"#2 > status id=5 size=0",
		"#2 > broken header h'47440111000000000000'",
		fmt.Sprintf("! offset %d: unexpected EOF: header cut short: 10 of 16 bytes", len(in)-25),
		"",
	}, "\n"), got.stdout)
	assert.Equal(t, "dirty: decode: 2 of 5 frames broken\n", got.stderr)
}

// TestFaultOffsetAcrossRecords: the offset of a fault is that in the input, even if
// the frame lies there in pieces.
func TestFaultOffsetAcrossRecords(t *testing.T) {
	frame := frameOf(t, dirty.TypeChunk, 2, "\x20\x00\x00\x00\x02\x01\x01\x7f")
	for cut := 1; cut < len(frame); cut++ {
		in := captureOf(t, "<1:"+frame[:cut], ">1:"+frameOf(t, dirty.TypeStatus, 1, ""), "<1:"+frame[cut:])
		want := strings.LastIndexByte(in, 0x7f)
		lines := jsonLines(t, dirtyRun(in, "decode", "-o", "json", "-").stdout)
		require.Len(t, lines, 2)
		require.NotNil(t, lines[1].Error)
		assert.Equal(t, int64(want), lines[1].Error.Offset)
		assert.Equal(t, int64(17), lines[1].Offset)
	}
}

// TestTruncatedAtEveryByte: of a session that is cut short, everything before the cut
// is shown, and an error tells that something is missing.
func TestTruncatedAtEveryByte(t *testing.T) {
	frames := []string{frameOf(t, dirty.TypeRequest, 1, good), frameOf(t, dirty.TypeEnd, 1, ""), frameOf(t, dirty.TypeChunk, 2, good)}
	plain := strings.Join(frames, "")
	borders := map[int]int{0: 0, len(frames[0]): 1, len(frames[0] + frames[1]): 2, len(plain): 3}
	for n := range len(plain) + 1 {
		got := dirtyRun(plain[:n], "decode", "-")
		whole, border := borders[n]
		if border {
			assert.Equal(t, exitOK, got.code, "cut at %d", n)
			assert.Equal(t, whole, strings.Count(got.stdout, "\n"))
			continue
		}
		assert.Equal(t, exitFault, got.code, "cut at %d", n)
		assert.Contains(t, got.stdout, fmt.Sprintf("! offset %d: unexpected EOF", n))
		for _, l := range jsonLines(t, dirtyRun(plain[:n], "decode", "-o", "json", "-").stdout) {
			if l.Error != nil {
				assert.Equal(t, int64(n), l.Error.Offset)
			}
		}
	}

	session := captureOf(t, ">1:"+frames[0]+frames[1][:3], "<2:"+frames[2], ">1:"+frames[1][3:])
	sound := map[int]bool{0: true, len(capture.Magic): true, len(session): true}
	for n := range len(session) + 1 {
		got := dirtyRun(session[:n], "decode", "-")
		assert.Equal(t, sound[n], got.code == exitOK, "cut at %d: %d %s", n, got.code, got.stderr)
		if !sound[n] {
			assert.Equal(t, exitFault, got.code)
			assert.NotEmpty(t, got.stderr)
		}
	}
}

// TestBrokenCapture: the frames before the fault are shown, then the error.
func TestBrokenCapture(t *testing.T) {
	end := frameOf(t, dirty.TypeEnd, 6, "")
	in := captureOf(t, "<1:"+end, "<2:"+end[:5])
	for _, tt := range []struct{ name, in, stdout, stderr string }{
		{"version", "GDCAP\x00\x02\n", "", "unknown version"},
		{"direction", in + "?", "#1 < end id=6 size=0\n#2 < broken header", "offset 48: record header cut short"},
		{"length", in + ">\x00\x00\x00\x01\xff\xff\xff\xff", "#2 < broken header", "offset 52: record of 4294967295 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := dirtyRun(tt.in, "decode", "-")
			assert.Equal(t, exitFault, got.code)
			assert.Contains(t, got.stdout, tt.stdout)
			assert.Contains(t, got.stderr, tt.stderr)
		})
	}
}

// TestCutInsideRecord: of a record that is cut short, all whole frames are shown,
// then what there is of the next one.
func TestCutInsideRecord(t *testing.T) {
	frame := frameOf(t, dirty.TypeChunk, 1, good)
	in := captureOf(t, "<1:"+strings.Repeat(frame, 3))
	const line = "#1 < chunk id=1 size=16 {\"data\": true}\n"
	for n := 17; n < len(in); n++ {
		got := dirtyRun(in[:n], "decode", "-")
		assert.Equal(t, exitFault, got.code)
		assert.Equal(t, fmt.Sprintf("dirty: decode: capture: offset %d: record cut short: %d of %d bytes\n", n, n-17, len(in)-17), got.stderr)
		whole, rest := (n-17)/len(frame), (n-17)%len(frame)
		assert.True(t, strings.HasPrefix(got.stdout, strings.Repeat(line, whole)), got.stdout)
		assert.Equal(t, rest > 0, strings.Contains(got.stdout, fmt.Sprintf("! offset %d: unexpected EOF: ", n)), got.stdout)
		assert.Equal(t, whole+2*min(rest, 1), strings.Count(got.stdout, "\n"))
	}
}

// TestReadErrorInside: an error of the input comes after what could be shown.
func TestReadErrorInside(t *testing.T) {
	frame := frameOf(t, dirty.TypeChunk, 1, good)
	for name, in := range map[string]string{
		"plain":   frame + frame[:20],
		"capture": captureOf(t, "<1:"+frame, "<1:"+frame)[:17+len(frame)+9+20],
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), []string{"decode", "-"}, io.MultiReader(strings.NewReader(in), failing{}), &out, &errs)
			assert.Equal(t, exitIO, code)
			assert.Equal(t, "dirty: boom\n", errs.String())
			assert.Contains(t, out.String(), "< chunk id=1 size=16 {\"data\": true}\n")
			assert.Contains(t, out.String(), "payload cut short: 4 of 16 bytes")
		})
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"encode", "-"}, io.MultiReader(strings.NewReader("< end id=1\n< end id=2"), failing{}), &out, &errs)
	assert.Equal(t, exitIO, code)
	assert.Equal(t, "dirty: boom\n", errs.String())
	assert.Equal(t, frameOf(t, dirty.TypeEnd, 1, ""), out.String(), "the second line may not be whole")
}

// TestBrokenLines: the first line that cannot be encoded ends the run.
func TestBrokenLines(t *testing.T) {
	const ok = "< end id=1\n"
	b64 := base64.StdEncoding.EncodeToString([]byte(good))
	for _, tt := range []struct{ name, line, want string }{
		{"no direction", `end id=1`, "want > or <"},
		{"connection", `#x > end id=1`, "number of a connection"},
		{"connection too large", `#4294967296 > end id=1`, "number of a connection"},
		{"type", `> dance id=1`, "unknown message type"},
		{"no id", `> end`, `want "id="`},
		{"id", `> end id=x`, "an id is"},
		{"id too large", `> end id=18446744073709551616`, "an id is"},
		{"value", `> end id=1 size=5 what`, "byte 19: want a value"},
		{"rest", `> end id=1 size=5 1 2`, "byte 21: want the end"},
		{"fault of text", `! offset 7: no`, "broken frame"},
		{"broken header of text", `> broken header h'00'`, "broken frame"},
		{"int", `< chunk id=1 9223372036854775808`, "not an int64"},
		{"float", `< chunk id=1 1e999`, "not a float64"},
		{"minus", `< chunk id=1 -`, "not an int64"},
		{"string", `< chunk id=1 "a`, "without an end"},
		{"string ends in an escape", `< chunk id=1 "a\`, "without an end"},
		{"escape", `< chunk id=1 "\q"`, "unknown escape"},
		{"half a pair", `< chunk id=1 "\ud800"`, "not a Unicode character"},
		{"wrong pair", `< chunk id=1 "\ud800\u0041"`, "not a Unicode character"},
		{"short escape", `< chunk id=1 "\u00"`, "not a Unicode character"},
		{"not UTF-8", "< chunk id=1 \"\xff\"", "not UTF-8"},
		{"list", `< chunk id=1 [1 2]`, `want ","`},
		{"open list", `< chunk id=1 [1,`, "want a value"},
		{"key", `< chunk id=1 {1: 2}`, "want a key"},
		{"colon", `< chunk id=1 {"a" 2}`, `want ":"`},
		{"bytes", `< chunk id=1 h'0'`, "hexadecimal"},
		{"open bytes", `< chunk id=1 h'00`, "without an end"},
		{"depth", `< chunk id=1 ` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001), "more than 1000"},
		{"JSON ends", `{"type":"end"`, `want ","`},
		{"JSON rest", `{"type":"end"} 1`, "want the end"},
		{"JSON without a type", `{"id":"1"}`, `no "type"`},
		{"JSON type", `{"type":"dance"}`, "unknown message type"},
		{"JSON type of another kind", `{"type":1}`, "want a string"},
		{"JSON key", `{"typ":"end"}`, `unknown key "typ"`},
		{"JSON direction", `{"type":"end","dir":"x"}`, `want "<" or ">"`},
		{"JSON id", `{"type":"end","id":-1}`, "want a number of 64 bits"},
		{"JSON open id", `{"type":"end","id":"1`, `want a "`},
		{"JSON connection", `{"type":"end","conn":4294967296}`, "want a number of 32 bits"},
		{"JSON payloads", `{"type":"chunk","payload":1,"payload":2}`, "one payload"},
		{"JSON hex", `{"type":"chunk","payload":h'00'}`, "want a value"},
		{"JSON base64", `{"type":"chunk","payload":{"$bytes":"?"}}`, "not base64"},
		{"JSON float", `{"type":"chunk","payload":{"$float":"7ff8"}}`, "16 hexadecimal"},
		{"JSON special with more", `{"type":"chunk","payload":{"$bytes":"","a":1}}`, `want "}"`},
		{"JSON unknown special", `{"type":"chunk","payload":{"$int":"1"}}`, `unknown key "$int"`},
		{"JSON pairs", `{"type":"chunk","payload":{"$dict":[["a"]]}}`, `want ","`},
		{"JSON pair of an int", `{"type":"chunk","payload":{"$dict":[[1,2]]}}`, "want a key"},
		{"JSON no pairs", `{"type":"chunk","payload":{"$dict":{}}}`, `want "["`},
		{"JSON long pair", `{"type":"chunk","payload":{"$dict":[["a",1,2]]}}`, `want "]"`},
		{"JSON broken header", `{"offset":0,"error":{"message":"","offset":0},"raw":"WA=="}`, "broken frame"},
		{"JSON cut payload", `{"type":"chunk","id":"1","length":17,"error":{},"raw":"` + b64 + `"}`, "broken frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := dirtyRun("\n"+ok+tt.line+"\n"+ok, "encode", "-")
			assert.Equal(t, exitFault, got.code)
			assert.Contains(t, got.stderr, "dirty: encode: line 3")
			assert.Contains(t, got.stderr, tt.want)
			assert.Equal(t, frameOf(t, dirty.TypeEnd, 1, ""), got.stdout, "what came before is written")
		})
	}
}

// TestHandWrittenLines: lines as people write them.
func TestHandWrittenLines(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{`{"type":"chunk","id":7,"payload":{"data":true}}`, frameOf(t, dirty.TypeChunk, 7, good)},
		{` { "payload" : { "data" : true } , "type" : "chunk" , "id" : "7" } `, frameOf(t, dirty.TypeChunk, 7, good)},
		{`{"type":"chunk","id":7,"raw":"AQI="}`, frameOf(t, dirty.TypeChunk, 7, "\x01\x02")},
		{`{"type":"status"}`, frameOf(t, dirty.TypeStatus, 0, "")},
		{"> status id=1\r", frameOf(t, dirty.TypeStatus, 1, "")},
		{`#7  <  chunk  id=7  size=999  {"data":true}`, frameOf(t, dirty.TypeChunk, 7, good)},
		{`< chunk id=0 "\ud83d\ude00\/\b\f"`, frameOf(t, dirty.TypeChunk, 0, "\x11\x00\x00\x00\x07😀/\b\f")},
		{`< chunk id=0 {"$bytes": 1}`, frameOf(t, dirty.TypeChunk, 0, "\x21\x00\x00\x00\x01\x11\x00\x00\x00\x06$bytes\x05\x00\x00\x00\x00\x00\x00\x00\x01")},
		{`{}`, ""},
	} {
		got := dirtyRun(tt.line, "encode", "-") // without a newline at the end
		if tt.want == "" {
			assert.Equal(t, exitFault, got.code)
			continue
		}
		assert.Equal(t, result{exitOK, tt.want, ""}, got, tt.line)
	}
}

func TestEncodeToCapture(t *testing.T) {
	got := dirtyRun("#3 > end id=1\n< status id=2\n{\"type\":\"end\",\"conn\":0}\n", "encode", "-o", "capture", "-")
	require.Equal(t, exitOK, got.code, got.stderr)
	var want bytes.Buffer
	w, err := capture.NewWriter(&want)
	require.NoError(t, err)
	require.NoError(t, w.Write('>', 3, []byte(frameOf(t, dirty.TypeEnd, 1, ""))))
	require.NoError(t, w.Write('<', 1, []byte(frameOf(t, dirty.TypeStatus, 2, ""))))
	require.NoError(t, w.Write('<', 1, []byte(frameOf(t, dirty.TypeEnd, 0, ""))))
	assert.Equal(t, want.String(), got.stdout)
}
