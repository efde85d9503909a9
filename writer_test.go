package dirty_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink counts writes. answer, unless it is nil, decides how a write ends.
type sink struct {
	bytes.Buffer
	writes int
	answer func(b []byte) (int, error)
}

func (s *sink) Write(b []byte) (int, error) {
	s.writes++
	if s.answer != nil {
		n, err := s.answer(b)
		s.Buffer.Write(b[:min(max(n, 0), len(b))])
		return n, err
	}
	return s.Buffer.Write(b)
}

// TestWriterOneWrite checks that a frame is one write, and that its bytes are those
// of AppendMessage.
func TestWriterOneWrite(t *testing.T) {
	var out sink
	w := dirty.NewWriter(&out)
	var want []byte
	for i, m := range streamMessages() {
		require.NoError(t, w.WriteMessage(m))
		assert.Equal(t, i+1, out.writes)
		want = append(want, streamOf(t, m)...)
	}
	assert.True(t, bytes.Equal(want, out.Bytes()))
	n := out.writes
	r := dirty.NewReader(bytes.NewReader(want))
	for {
		f, err := r.ReadFrame()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		f.Length = 12345 // does not count
		require.NoError(t, w.WriteFrame(f))
		n++
		assert.Equal(t, n, out.writes)
	}
	assert.True(t, bytes.Equal(append(want, want...), out.Bytes()))
	var once sink
	require.NoError(t, dirty.WriteMessage(&once, dirty.NewEnd(1)))
	assert.Equal(t, 1, once.writes)
	assert.Equal(t, frame(dirty.TypeEnd, 1), once.Bytes())
}

type holder struct {
	Name string
	Data [40_000]byte
}

// TestWriterVectored writes messages with large byte slices, which are not copied, to
// a real connection. The bytes are those of AppendMessage, wherever the slices are.
func TestWriterVectored(t *testing.T) {
	data := func(n int, x byte) []byte { return bytes.Repeat([]byte{x, x + 1, x + 2}, n/3) }
	var array [40_000]byte
	copy(array[:], data(40_000, 7))
	messages := map[string]dirty.Message{
		"at the end":      dirty.NewResponse(1, data(100_000, 1)),
		"in the middle":   dirty.NewRequest(2, "a:A", "act", []any{data(50_000, 2), "text"}, map[string]any{"k": 1}),
		"several":         dirty.NewResponse(3, []any{data(40_000, 3), data(50_000, 4), data(10, 5), data(60_000, 6)}),
		"at the limit":    dirty.NewResponse(4, []any{make([]byte, 32<<10-1), make([]byte, 32<<10), make([]byte, 32<<10+1)}),
		"small":           dirty.NewEnd(5),
		"in a map":        dirty.NewResponse(6, map[string][]byte{"a": data(40_000, 1), "b": data(40_000, 9)}),
		"in a Dict":       dirty.NewResponse(7, dirty.Dict{{Key: "a", Value: data(40_000, 1)}, {Key: "b", Value: "x"}}),
		"in a struct":     dirty.NewChunk(8, struct{ A, B []byte }{data(40_000, 1), data(33_000, 2)}),
		"an array":        dirty.NewChunk(9, &array),
		"array in a map":  dirty.NewChunk(10, map[string][40_000]byte{"a": array, "b": {1, 2, 3}}),
		"struct in a map": dirty.NewChunk(11, map[int]holder{1: {"one", array}, 2: {"two", array}}),
		"array in an any": dirty.NewChunk(12, []any{array, [1]holder{{"x", array}}}),
		"RawValue":        dirty.NewChunk(13, []any{dirty.RawValue(dirty.AppendBytes(nil, data(50_000, 3))), data(40_000, 1)}),
		"Marshaler":       dirty.NewChunk(14, []any{data(40_000, 1), eOut{func(b []byte) ([]byte, error) { return dirty.AppendBytes(b, data(40_000, 5)), nil }}, data(40_000, 1)}),
		"in a Marshaler":  dirty.NewChunk(15, eOut{func(b []byte) ([]byte, error) { return dirty.Append(b, data(90_000, 5)) }}),
		"stash":           dirty.NewStashRequest(16, dirty.StashPut, "t", "k", data(99_000, 1), "p"),
		"error details":   dirty.NewErrorReply(17, &dirty.RemoteError{Details: map[string]any{"a": data(99_000, 1), "b": 1}}),
		"very large":      dirty.NewResponse(18, []any{data(20<<20, 1), "x", data(10<<20, 2)}),
		"2,000 parts":     dirty.NewResponse(19, manyParts(2000)),
		"typed slices":    dirty.NewResponse(20, [][]byte{data(40_000, 1), nil, {}, data(40_000, 2)}),
	}
	a, b := unixPair(t)
	w := dirty.NewWriter(a)
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			want := streamOf(t, m)
			done := make(chan []byte)
			go func() {
				got := make([]byte, len(want))
				_, err := io.ReadFull(b, got)
				assert.NoError(t, err)
				done <- got
			}()
			require.NoError(t, w.WriteMessage(m))
			assert.True(t, bytes.Equal(want, <-done))
			assert.True(t, bytes.Equal(want, streamOf(t, m)), "the message is as it was")

			var f dirty.Frame
			require.NoError(t, f.UnmarshalBinary(want))
			go func() {
				got := make([]byte, len(want))
				_, err := io.ReadFull(b, got)
				assert.NoError(t, err)
				done <- got
			}()
			require.NoError(t, w.WriteFrame(f))
			assert.True(t, bytes.Equal(want, <-done))
		})
	}
	// If a message is refused after a large byte slice of it was noted, nothing of
	// it is written later.
	for _, bad := range []any{[]any{data(40_000, 1), make(chan int)}, []any{data(40_000, 1), uint64(1 << 63)}} {
		var e *dirty.MarshalError
		require.ErrorAs(t, w.WriteMessage(dirty.NewResponse(1, bad)), &e)
	}
	over := dirty.NewResponse(1, []any{make([]byte, 40<<20), make([]byte, 30<<20)})
	assert.ErrorIs(t, w.WriteMessage(over), dirty.ErrTooLarge)
	go func() { assert.NoError(t, w.WriteMessage(dirty.NewEnd(42))) }()
	m, err := dirty.ReadMessage(b)
	require.NoError(t, err)
	assert.Equal(t, dirty.NewEnd(42), m)
}

// manyParts returns large byte slices. A system call takes only about 1,000 of them.
func manyParts(n int) []any {
	shared := bytes.Repeat([]byte("p"), 32<<10)
	list := make([]any, n)
	for i := range list {
		list[i] = shared[:32<<10-i%2]
	}
	return list
}

// partsSink is a stream that keeps each Write as it comes.
type partsSink struct {
	takes bool
	parts [][]byte
}

func (s *partsSink) TakesParts() bool { return s.takes }

func (s *partsSink) Write(p []byte) (int, error) {
	s.parts = append(s.parts, p)
	return len(p), nil
}

// TestWriterTakesParts checks that a stream which takes the parts of a frame gets large
// bytes from where they are, and another one gets one Write.
func TestWriterTakesParts(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 40_000)
	for _, takes := range []bool{false, true} {
		for name, write := range map[string]func(w *dirty.Writer) error{
			"message": func(w *dirty.Writer) error { return w.WriteMessage(dirty.NewChunk(1, data)) },
			"frame": func(w *dirty.Writer) error {
				return w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeChunk, RequestID: 1}, Payload: data})
			},
		} {
			s := &partsSink{takes: takes}
			require.NoError(t, write(dirty.NewWriter(s, dirty.WithSendBuffer(1<<20))), name)
			inPlace := slices.ContainsFunc(s.parts, func(p []byte) bool { return len(p) == len(data) && &p[0] == &data[0] })
			assert.Equal(t, takes, inPlace, name)
			if !takes {
				assert.Len(t, s.parts, 1, name)
			}
			h, err := dirty.ParseHeader(s.parts[0])
			require.NoError(t, err, name)
			assert.Len(t, bytes.Join(s.parts, nil), dirty.HeaderSize+int(h.Length), name)
		}
	}
}

// TestWriterRefused checks that nothing is written of what is refused.
func TestWriterRefused(t *testing.T) {
	var out sink
	w := dirty.NewWriter(&out, dirty.WithLimits(dirty.Limits{MaxPayload: 100}))
	for name, err := range map[string]error{
		"type":          w.WriteMessage(dirty.NewResponse(1, make(chan int))),
		"nil":           w.WriteMessage(nil),
		"typed nil":     w.WriteMessage((*dirty.Chunk)(nil)),
		"too large":     w.WriteMessage(dirty.NewResponse(1, strings.Repeat("x", 100))),
		"frame":         w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: 1}, Payload: make(dirty.RawValue, 101)}),
		"type of frame": w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: 6}}),
	} {
		assert.Error(t, err, name)
	}
	assert.Zero(t, out.writes)
	require.NoError(t, w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: 1}, Payload: make(dirty.RawValue, 100)}))
	require.NoError(t, w.WriteMessage(dirty.NewEnd(7)))
	assert.True(t, bytes.HasSuffix(out.Bytes(), frame(dirty.TypeEnd, 7)))
}

// TestWriterFailures checks that a Writer cannot be used after some bytes of a frame
// were written, and that it can if none were.
func TestWriterFailures(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name   string
		answer func(b []byte) (int, error)
		want   error
		sticky bool
	}{
		{"nothing", func([]byte) (int, error) { return 0, boom }, boom, false},
		{"some", func([]byte) (int, error) { return 5, boom }, boom, true},
		{"all and an error", func(b []byte) (int, error) { return len(b), boom }, boom, true},
		{"short", func(b []byte) (int, error) { return len(b) - 1, nil }, io.ErrShortWrite, true},
		{"more", func(b []byte) (int, error) { return len(b) + 1, nil }, io.ErrShortWrite, true},
		{"less than nothing", func([]byte) (int, error) { return -1, nil }, io.ErrShortWrite, true},
		{"less than nothing and an error", func([]byte) (int, error) { return -1, boom }, boom, true},
		{"nothing without an error", func([]byte) (int, error) { return 0, nil }, io.ErrShortWrite, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &sink{answer: tt.answer}
			w := dirty.NewWriter(out)
			err := w.WriteMessage(dirty.NewEnd(1))
			assert.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, "16")
			out.answer = nil
			out.Reset()
			again, frameAgain := w.WriteMessage(dirty.NewEnd(2)), w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeEnd, RequestID: 3}})
			if tt.sticky {
				assert.Equal(t, err, again)
				assert.Equal(t, err, frameAgain)
				assert.Zero(t, out.Len())
			} else {
				assert.NoError(t, again)
				assert.NoError(t, frameAgain)
				assert.Equal(t, join(frame(dirty.TypeEnd, 2), frame(dirty.TypeEnd, 3)), out.Bytes())
			}
		})
	}
}

// TestWriterVectoredPartial checks that a Writer cannot be used after a vectored write
// that was cut short.
func TestWriterVectoredPartial(t *testing.T) {
	a, b := unixPair(t)
	w := dirty.NewWriter(a)
	written := make(chan error, 1)
	go func() { written <- w.WriteMessage(dirty.NewResponse(1, make([]byte, 20<<20))) }()
	_, err := io.ReadFull(b, make([]byte, 1)) // then nobody reads any more
	require.NoError(t, err)
	require.NoError(t, a.SetWriteDeadline(time.Now()))
	err = <-written
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, a.SetWriteDeadline(time.Time{}))
	assert.Equal(t, err, w.WriteMessage(dirty.NewEnd(2)))
}

func TestWriterAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	w := dirty.NewWriter(io.Discard)
	m := dirty.NewRequest(1, "a:A", "act", []any{1, "x"}, map[string]any{"k": 1.5, "j": nil})
	f := dirty.Frame{Header: dirty.Header{Type: 1}, Payload: make(dirty.RawValue, 500)}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if w.WriteMessage(m) != nil || w.WriteFrame(f) != nil {
			panic("write")
		}
	}))
}
