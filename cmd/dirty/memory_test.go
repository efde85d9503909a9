package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// liveHeap returns the bytes of the heap that are in use.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// heapWatch sees what a command reads and writes. It looks now and then how much
// of the heap is in use.
type heapWatch struct {
	in      io.Reader
	unseen  int
	maxHeap uint64
}

func (w *heapWatch) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	w.look(n)
	return n, err
}

func (w *heapWatch) Write(p []byte) (int, error) {
	w.look(len(p))
	return len(p), nil
}

func (w *heapWatch) look(n int) {
	if w.unseen += n; w.unseen > 1<<20 {
		w.unseen = 0
		w.maxHeap = max(w.maxHeap, liveHeap())
	}
}

// heapOf runs a command and returns its result, without what it printed, and
// the largest heap that was in use.
func heapOf(in io.Reader, args ...string) (result, uint64) {
	before := liveHeap()
	w := &heapWatch{in: in}
	var errs strings.Builder
	code := run(context.Background(), args, w, w, &errs)
	return result{code: code, stderr: errs.String()}, max(w.maxHeap, before) - before
}

// record is a record of a capture, from the client.
func record(conn uint32, data string) string {
	b := binary.BigEndian.AppendUint32([]byte{'>'}, conn)
	return string(binary.BigEndian.AppendUint32(b, uint32(len(data)))) + data
}

// endlessCapture is a capture of what next returns.
func endlessCapture(next func(i int) string) io.Reader {
	return io.MultiReader(strings.NewReader(capture.Magic), &endless{next: next})
}

// TestDecodeMemoryIsBounded: what decode holds of an endless capture stays within
// -memory, whatever the capture is made of. An array that grows is held twice for
// a moment, so twice the bound is allowed, and a little for buffers.
func TestDecodeMemoryIsBounded(t *testing.T) {
	const bound = 4 << 20
	header := frameOf(t, dirty.TypeRequest, 7, "")
	large := string(binary.BigEndian.AppendUint32([]byte(header[:4]), 60<<20)) + header[8:]
	mebibyte := strings.Repeat("x", 1<<20)
	whole := frameOf(t, dirty.TypeRequest, 7, string(dirty.AppendBytes(nil, make([]byte, 900<<10))))
	for _, tt := range []struct {
		name    string
		input   int64 // bytes
		next    func(i int) string
		refused bool
	}{
		{"headers that do not become whole", 12 << 20, func(i int) string { return record(uint32(i+1), "G") }, true},
		{"headers but for a byte", 12 << 20, func(i int) string { return record(uint32(i+1), header[:15]) }, true},
		{"frames that do not become whole", 12 << 20, func(i int) string { return record(uint32(i+1), large+"x") }, true},
		{"broken headers", 12 << 20, func(i int) string { return record(uint32(i+1), "XXXXXXXXXXXXXXXX") }, true},
		{"one frame in pieces of a byte", 12 << 20, func(i int) string {
			if i == 0 {
				return record(1, large)
			}
			return strings.Repeat(record(1, "x"), 1000)
		}, false},
		{"many frames in pieces of a byte", 12 << 20, func(i int) string {
			return record(uint32(i+1), large) + strings.Repeat(record(uint32(i+1), "x"), 1000)
		}, false},
		{"large frames that do not become whole", 30 << 20, func(i int) string {
			return record(uint32(i+1), large) + record(uint32(i+1), mebibyte)
		}, false},
		{"headers that do not become whole after frames", 30 << 20, func(i int) string { return record(uint32(i+1), whole+"G") }, false},
		{"frames of the largest size", 70 << 20, func(i int) string {
			if i%61 == 0 {
				return record(1, large)
			}
			return record(1, mebibyte)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, heap := heapOf(io.LimitReader(endlessCapture(tt.next), tt.input), "decode", "--memory", "4", "-")
			assert.Equal(t, exitFault, got.code)
			assert.Equal(t, tt.refused, strings.Contains(got.stderr, "too many for 4 MiB of memory"), got.stderr)
			assert.Less(t, heap, uint64(2*bound+4<<20))
		})
	}
}

// TestGivenUpFrames: a frame that is given up is shown as broken, and its
// connection goes on with the next frame.
func TestGivenUpFrames(t *testing.T) {
	payload := string(dirty.AppendBytes(nil, bytes.Repeat([]byte{7}, 700<<10)))
	frame := frameOf(t, dirty.TypeChunk, 5, payload)
	cut, later := 600<<10, 440<<10
	status := frameOf(t, dirty.TypeStatus, 6, "")
	in := captureOf(t, "<1:"+frame[:cut], ">2:"+status[:7], "<3:"+frame[:later], "<4:"+frame[:100], "<1:"+frame[cut:]+status,
		"<3:"+frame[later:], ">2:"+status[7:], "<4:"+frame[100:])
	got := dirtyRun(in, "decode", "--memory", "1", "-")
	assert.Equal(t, result{code: exitFault, stderr: "dirty: decode: 1 of 5 frames broken\n"}, result{code: got.code, stderr: got.stderr})
	var shown []string
	for line := range strings.Lines(got.stdout) {
		shown = append(shown, line[:min(len(line), 90)])
	}
	require.Len(t, shown, 6)
	assert.True(t, strings.HasPrefix(shown[0], "#1 < chunk id=5 size=716805 "), shown[0])
	assert.Equal(t, fmt.Sprintf("! offset %d: given up after %d of %d bytes of the payload: no memory is left for unfinished frames\n",
		17+cut, cut-16, len(payload)), strings.SplitAfter(got.stdout, "\n")[1])
	assert.Equal(t, "#1 < status id=6 size=0\n", shown[2])
	assert.True(t, strings.HasPrefix(shown[3], "#3 < chunk id=5 size=716805 h'0707"), shown[3])
	assert.Equal(t, "#2 > status id=6 size=0\n", shown[4])
	assert.True(t, strings.HasPrefix(shown[5], "#4 < chunk id=5 size=716805 h'0707"), shown[5])

	// With more memory, nothing is given up. A capture that ends before the rest
	// has come does not show the frame again.
	assert.Equal(t, exitOK, dirtyRun(in, "decode", "--memory", "2", "-").code)
	in = captureOf(t, "<1:"+frame[:cut], "<3:"+frame[:later], "<3:"+frame[later:])
	got = dirtyRun(in, "decode", "--memory", "1", "-")
	assert.Equal(t, "dirty: decode: 1 of 2 frames broken\n", got.stderr)
	assert.Equal(t, 1, strings.Count(got.stdout, "!"))
	lines := jsonLines(t, dirtyRun(in, "decode", "--memory", "1", "-o", "json", "-").stdout)
	require.Len(t, lines, 2)
	assert.Equal(t, frame[16:cut], string(lines[0].Raw))
	assert.Contains(t, dirtyRun(dirtyRun(in, "decode", "--memory", "1", "-o", "json", "-").stdout, "encode", "-").stderr, "broken frame")
}

// TestEncodeMemoryIsBounded: a line without an end is refused as soon as it has
// more than a frame can hold, and takes no more memory than such a frame. An array
// that grows is held twice for a moment. The bounds are lower here, to save time.
func TestEncodeMemoryIsBounded(t *testing.T) {
	const maxPayload, maxLine = 2 << 20, 16 << 20
	for _, tt := range []struct {
		name, start, rest string
		want              string
	}{
		{"nothing known", "", "x", "want > or <"},
		{"white space", "", " ", "of 16777216 bytes or more"},
		{"type", "> ", "x", "a word of more than 1024 bytes"},
		{"connection", "#", "1", "a word of more than 1024 bytes"},
		{"id", "> end id=", "1", "a word of more than 1024 bytes"},
		{"size", "> end id=1 size=", "1", "a word of more than 1024 bytes"},
		{"number", "< chunk id=1 ", "1", "a word of more than 1024 bytes"},
		{"string", `< chunk id=1 "`, "x", "a payload of too many bytes"},
		{"control characters", `< chunk id=1 "`, `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\u0000`, "a payload of too many bytes"},
		{"bytes", `< chunk id=1 h'`, "00", "a payload of too many bytes"},
		{"list", `< chunk id=1 [[]`, ",[]", "a payload of too many bytes"},
		{"dict", `< chunk id=1 {"":[]`, `,"":[]`, "a payload of too many bytes"},
		{"key", `< chunk id=1 {"`, `x`, "a payload of too many bytes"},
		{"depth", `< chunk id=1 `, `[`, "more than 1000 lists"},
		{"JSON key", `{"`, `x`, "a word of more than 1024 bytes"},
		{"JSON type", `{"type":"`, `x`, "a word of more than 1024 bytes"},
		{"JSON string", `{"type":"chunk","payload":"`, `x`, "a payload of too many bytes"},
		{"JSON special key", `{"type":"chunk","payload":{"$`, `x`, "a payload of too many bytes"},
		{"JSON bytes", `{"type":"chunk","payload":{"$bytes":"`, `AAAA`, "a payload of too many bytes"},
		{"JSON raw", `{"type":"chunk","raw":"`, `AAAA`, "a payload of too many bytes"},
		{"JSON partial", `{"partial":"`, `x`, "of 16777216 bytes or more"},
		{"JSON error", `{"error":[null`, `,null`, "too many values"},
		{"JSON number", `{"id":`, `1`, "a word of more than 1024 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest := strings.Repeat(tt.rest, 10000)
			before := liveHeap()
			w := &heapWatch{in: io.MultiReader(strings.NewReader(tt.start), &endless{next: func(int) string { return rest }})}
			p := newParser(bufio.NewReaderSize(w, readSize), nil)
			p.limit, p.limited, p.maxLine = dirty.HeaderSize+maxPayload, "a payload of too many bytes", maxLine
			_, err := p.line()
			require.ErrorContains(t, err, tt.want)
			assert.Less(t, len(err.Error()), 200)
			assert.Less(t, max(w.maxHeap, before)-before, uint64(3*maxPayload))
		})
	}
}

// TestEndlessLine: the bounds are those that the help tells.
func TestEndlessLine(t *testing.T) {
	for _, tt := range []struct{ start, want string }{
		{`< chunk id=1 "`, "dirty: encode: line 2, byte 67[0-9]{6}: a payload of more than 67108864 bytes\n"},
		{`< chunk id=`, "dirty: encode: line 2, byte 1036: a word of more than 1024 bytes\n"},
	} {
		rest := strings.Repeat("x", 100000)
		in := io.MultiReader(strings.NewReader("< end id=1\n"+tt.start), &endless{next: func(int) string { return rest }})
		got, heap := heapOf(in, "encode", "-")
		assert.Equal(t, exitFault, got.code)
		assert.Regexp(t, "^"+tt.want+"$", got.stderr)
		assert.Less(t, heap, uint64(5*64<<20/2))
	}
}

// TestTextIsNotHeld: decode never holds the text of a payload, which can be many
// times as long as the payload.
func TestTextIsNotHeld(t *testing.T) {
	size := 2 << 20
	if underRace {
		size /= 2
	}
	list := dirty.AppendListHeader(nil, size/2)
	list = append(list, make([]byte, size/2)...)
	for name, payload := range map[string]string{
		"control characters": string(dirty.AppendString(nil, strings.Repeat("\x01", size))),
		"bytes":              string(dirty.AppendBytes(nil, make([]byte, size))),
		"list of None":       string(list),
	} {
		for _, broken := range []string{"", "x"} { // with trailing data
			frame := frameOf(t, dirty.TypeChunk, 1, payload+broken)
			for _, form := range []string{"text", "json"} {
				t.Run(name+broken+" "+form, func(t *testing.T) {
					got, heap := heapOf(strings.NewReader(frame), "decode", "-o", form, "-")
					assert.Equal(t, broken != "", got.code == exitFault)
					// The payload, which grows into its buffer, and one string of it.
					assert.Less(t, heap, uint64(5*len(payload)/2+1<<20))
				})
			}
		}
	}
}

// TestHelpTellsBounds: the numbers in the help are those of the code.
func TestHelpTellsBounds(t *testing.T) {
	decode := strings.Join(strings.Fields(helpDecode), " ")
	assert.Contains(t, decode, fmt.Sprintf("at most %d MiB of them; --memory sets another bound, 1 to %d", defaultMemory, maxMemoryFlag))
	assert.Equal(t, 1, defaultMemory<<20/(streamSize+markSize)/900_000, "about a million unfinished headers")
	assert.Equal(t, 4, defaultMemory<<20/deadSize/1_000_000, "about four million broken ones")
	encode := strings.Join(strings.Fields(helpEncode), " ")
	assert.Contains(t, encode, fmt.Sprintf("payload has more than %d MiB, a name or a number more than %d bytes, or the line %d MiB",
		dirty.MaxPayloadSize>>20, maxWord, maxLine>>20))
}
