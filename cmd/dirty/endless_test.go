package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// endless is input that never ends. It is made of what next returns for 0, 1, 2 and
// so on.
type endless struct {
	next func(i int) string
	i    int
	rest string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		e.rest = e.next(e.i)
		e.i++
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// head accepts a number of bytes and then fails, as a closed pipe does. Now and then
// it looks how much of the heap is in use, and keeps the largest size.
type head struct {
	left, unseen int
	maxHeap      uint64
}

func (h *head) Write(p []byte) (int, error) {
	if h.left -= len(p); h.left < 0 {
		return 0, io.ErrClosedPipe
	}
	if h.unseen += len(p); h.unseen > 256<<10 {
		h.unseen = 0
		h.maxHeap = max(h.maxHeap, liveHeap())
	}
	return len(p), nil
}

func TestEndlessInput(t *testing.T) {
	size := 4 << 20 // of the output
	if underRace {
		size = 1 << 20
	}
	frame := frameOf(t, dirty.TypeChunk, 1, good)
	for _, tt := range []struct {
		name string
		args []string
		next func(i int) string
	}{
		{"plain", []string{"decode", "-"}, func(int) string { return strings.Repeat(frame, 100) }},
		{"json", []string{"decode", "-o", "json", "-"}, func(int) string { return strings.Repeat(frame, 100) }},
		{"one connection each", []string{"decode", "-"}, func(i int) string {
			if i == 0 {
				return capture.Magic
			}
			return record(uint32(i), frame)
		}},
		{"large frames", []string{"decode", "-"}, func(i int) string {
			return frameOf(t, dirty.TypeChunk, 1, string(dirty.AppendString(nil, strings.Repeat("x", 1<<20))))
		}},
		{"encode", []string{"encode", "-"}, func(int) string { return "< chunk id=1 {\"data\": true}\n" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := liveHeap()
			out := &head{left: size}
			assert.Equal(t, exitIO, run(t.Context(), tt.args, &endless{next: tt.next}, out, io.Discard))
			assert.NotZero(t, out.maxHeap)
			assert.Less(t, max(out.maxHeap, before)-before, uint64(40<<20), "what so much output takes")
		})
	}
}

// TestFramesAreShownAtOnce: each frame is printed when it arrives, not when a buffer
// is full.
func TestFramesAreShownAtOnce(t *testing.T) {
	frame := frameOf(t, dirty.TypeChunk, 1, good)
	for _, tt := range []struct {
		name, start, piece, want string
		args                     []string
	}{
		{"plain", "", frame, "< chunk id=1 size=16 {\"data\": true}\n", []string{"decode", "-"}},
		{"capture", capture.Magic, captureOf(t, "<1:"+frame)[len(capture.Magic):], "#1 < chunk id=1 size=16 {\"data\": true}\n", []string{"decode", "-"}},
		{"encode", "", "< chunk id=1 {\"data\": true}\n", frame, []string{"encode", "-"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, toIn := io.Pipe()
			fromOut, out := io.Pipe()
			done := make(chan int)
			go func() {
				code := run(t.Context(), tt.args, in, out, io.Discard)
				out.Close()
				done <- code
			}()
			late := time.AfterFunc(time.Minute, func() {
				fromOut.CloseWithError(errors.New("nothing was shown in a minute"))
			})
			defer late.Stop()
			_, err := io.WriteString(toIn, tt.start)
			require.NoError(t, err)
			got := make([]byte, len(tt.want))
			for range 3 {
				_, err := io.WriteString(toIn, tt.piece)
				require.NoError(t, err)
				_, err = io.ReadFull(fromOut, got)
				require.NoError(t, err)
				assert.Equal(t, tt.want, string(got))
			}
			require.NoError(t, toIn.Close())
			rest, err := io.ReadAll(fromOut)
			require.NoError(t, err)
			assert.Empty(t, rest)
			assert.Equal(t, exitOK, <-done)
		})
	}
}

// TestLargeFrame: a frame of 60 MiB, or of 4 MiB under the race detector, comes back
// from both notations. It is compared by its hash.
func TestLargeFrame(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	size := 60 << 20
	if underRace {
		size = 4 << 20
	}
	payload := dirty.AppendDictHeader(make([]byte, 0, size), 2)
	payload = dirty.AppendString(payload, "text")
	payload = dirty.AppendString(payload, strings.Repeat("0123456789é\n ", size/60))
	payload = dirty.AppendString(payload, "bytes")
	payload = dirty.AppendBytes(payload, bytes.Repeat([]byte{0, 0xff, 7}, (size-len(payload)-5)/3))
	in := frameOf(t, dirty.TypeResponse, 1, string(payload))
	want := sha256.Sum256([]byte(in))
	for _, form := range []string{"text", "json"} {
		t.Run(form, func(t *testing.T) {
			// A pipe joins the two commands, as in a shell.
			r, w := io.Pipe()
			decoded := make(chan int, 1)
			go func() {
				code := run(t.Context(), []string{"decode", "-o", form, "-"}, strings.NewReader(in), w, io.Discard)
				w.Close()
				decoded <- code
			}()
			hash := sha256.New()
			out := bufio.NewWriter(hash)
			assert.Equal(t, exitOK, run(t.Context(), []string{"encode", "-"}, r, out, io.Discard))
			require.NoError(t, out.Flush())
			assert.Equal(t, exitOK, <-decoded)
			assert.Equal(t, want[:], hash.Sum(nil))
		})
	}
}

// TestAnnouncedIsNotAllocated: a header that announces 64 MiB does not make decode
// allocate them.
func TestAnnouncedIsNotAllocated(t *testing.T) {
	in := frameOf(t, dirty.TypeResponse, 1, good)
	in = in[:4] + "\x04\x00\x00\x00" + in[8:]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := dirtyRun(in, "decode", "-")
	runtime.ReadMemStats(&after)
	assert.Equal(t, exitFault, got.code)
	assert.Contains(t, got.stdout, "payload cut short: 16 of 67108864 bytes")
	assert.Contains(t, got.stdout, `"data": true`)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}
