package dirty_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// aliasedSize is the size from which on bytes may refer to their payload.
const aliasedSize = 64 << 10

// TestFrameBufferOwnership decodes bytes of all sizes from frames that are read into
// one buffer. No later frame may change them.
func TestFrameBufferOwnership(t *testing.T) {
	type decoded struct {
		Data []byte `dirty:"data"`
		Text string `dirty:"text"`
	}
	ways := map[string]func(b *dirty.FrameBuffer, _ dirty.Frame) ([]byte, error){
		"DecodeFrame": func(b *dirty.FrameBuffer, _ dirty.Frame) ([]byte, error) {
			m, err := b.DecodeFrame(dirty.DecodeOptions{})
			if err != nil {
				return nil, err
			}
			return m.(*dirty.Chunk).Data.([]byte), nil
		},
		"UnmarshalPayload": func(b *dirty.FrameBuffer, _ dirty.Frame) ([]byte, error) {
			var v decoded
			err := b.UnmarshalPayload(dirty.DecodeOptions{}, &v)
			return v.Data, err
		},
		"UnmarshalPayload into any": func(b *dirty.FrameBuffer, _ dirty.Frame) ([]byte, error) {
			var v any
			err := b.UnmarshalPayload(dirty.DecodeOptions{AliasBytes: true}, &v)
			return v.(map[string]any)["data"].([]byte), err
		},
		"Unmarshal": func(b *dirty.FrameBuffer, f dirty.Frame) (data []byte, err error) {
			err = b.Unmarshal(dirty.DecodeOptions{}, dirty.View(f.Payload).Get("data"), &data)
			return data, err
		},
		"RawValue": func(b *dirty.FrameBuffer, _ dirty.Frame) ([]byte, error) {
			var v struct {
				Data dirty.RawValue `dirty:"data"`
			}
			err := b.UnmarshalPayload(dirty.DecodeOptions{}, &v)
			return v.Data[5:], err
		},
	}
	sizes := []int{
		1, 4<<10 - 30, 4 << 10, 32<<10 + 1, 40 << 10, aliasedSize - 1, aliasedSize, aliasedSize + 1,
		1<<20 - 30, 1 << 20, 3 << 20,
	}
	type test struct {
		size  int
		reuse bool
	}
	var tests []test
	for _, size := range sizes {
		tests = append(tests, test{size, false}, test{size, true})
	}
	for name, decode := range ways {
		for _, test := range tests {
			size := test.size
			t.Run(fmt.Sprint(name, test), func(t *testing.T) {
				var stream []byte
				var want [][]byte
				for i := range 4 {
					want = append(want, bytes.Repeat([]byte{byte('a' + i)}, size))
					var err error
					stream, err = dirty.AppendMessage(stream, dirty.NewChunk(1, want[i]))
					require.NoError(t, err)
				}
				r := dirty.NewReader(bytes.NewReader(stream))
				b := dirty.FrameBuffer{ReuseLarge: test.reuse}
				var got [][]byte
				for range want {
					f, err := r.ReadFrameTo(&b)
					require.NoError(t, err)
					data, err := decode(&b, f)
					require.NoError(t, err)
					got = append(got, data)
				}
				b.Release()
				for i := range want {
					assert.True(t, bytes.Equal(want[i], got[i]), "frame %d was overwritten", i)
				}
			})
		}
	}
}

// TestFrameBufferLargeBytes checks from which size on bytes are not copied.
func TestFrameBufferLargeBytes(t *testing.T) {
	for size, copied := range map[int]bool{aliasedSize - 1: true, aliasedSize: false, 1 << 20: false, 2 << 20: false} {
		_ = liveHeap() // no larger buffer of another test is used again
		frame, err := dirty.AppendMessage(nil, dirty.NewChunk(1, make([]byte, size)))
		require.NoError(t, err)
		r := dirty.NewReader(bytes.NewReader(frame))
		var b dirty.FrameBuffer
		f, err := r.ReadFrameTo(&b)
		require.NoError(t, err)
		m, err := b.DecodeFrame(dirty.DecodeOptions{})
		require.NoError(t, err)
		data := m.(*dirty.Chunk).Data.([]byte)
		inside := &data[size-1] == &f.Payload[len(f.Payload)-1]
		assert.Equal(t, copied, !inside, "%d bytes", size)
	}
}

// TestReuseLarge checks that large frames which are passed on are read into the memory of
// those before them, and that each of them is whole. Several goroutines do so, as those of
// a server.
func TestReuseLarge(t *testing.T) {
	const frames, goroutines, size = 12, 3, 5 << 18
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no memory is used again but by us
	var reused atomic.Int64
	var seen sync.Map // the memory of frames
	var running sync.WaitGroup
	for i := range goroutines {
		running.Go(func() {
			b := dirty.FrameBuffer{ReuseLarge: true}
			for j := range frames {
				want := bytes.Repeat([]byte{byte(i*frames + j)}, 64<<10)
				n := size + (i*7+j*5)%9*len(want) // 1.25 to 1.75 MiB
				f, err := dirty.NewReader(largeFrame(t, n, want)).ReadFrameTo(&b)
				if !assert.NoError(t, err) || !assert.Len(t, f.Payload, n) {
					return
				}
				assert.Equal(t, n, bytes.Count(f.Payload, want[:1]), "frame %d of goroutine %d was overwritten", j, i)
				if _, again := seen.LoadOrStore(&f.Payload[0], true); again {
					reused.Add(1)
				}
				b.Release()
			}
		})
	}
	running.Wait()
	assert.Positive(t, reused.Load())
}

// largeFrame returns a stream with one frame of n bytes, which repeats some bytes.
func largeFrame(t *testing.T, n int, repeated []byte) io.Reader {
	header, err := dirty.Header{Type: dirty.TypeRequest, Length: uint32(n)}.MarshalBinary()
	assert.NoError(t, err)
	readers := []io.Reader{bytes.NewReader(header)}
	for range n / len(repeated) {
		readers = append(readers, bytes.NewReader(repeated))
	}
	return io.MultiReader(readers...)
}

// TestReuseLargeAfterTimeout checks that a large frame goes on after a timeout, although
// another one was read into the same memory meanwhile.
func TestReuseLargeAfterTimeout(t *testing.T) {
	const size = 5 << 18
	read := func(r *dirty.Reader) ([]byte, error) {
		b := dirty.FrameBuffer{ReuseLarge: true}
		f, err := r.ReadFrameTo(&b)
		payload := bytes.Clone(f.Payload)
		b.Release()
		return payload, err
	}
	other := func() {
		_, err := read(dirty.NewReader(bytes.NewReader(frame(dirty.TypeRequest, 1, strings.Repeat("o", size)))))
		require.NoError(t, err)
	}
	for range 6 { // the race detector makes a pool forget some of what it gets
		other()
		whole := frame(dirty.TypeRequest, 2, strings.Repeat("x", size))
		r := dirty.NewReader(&script{steps: []any{whole[:size/2], os.ErrDeadlineExceeded, whole[size/2:]}})
		_, err := read(r)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		other()
		payload, err := read(r)
		require.NoError(t, err)
		require.Equal(t, size, bytes.Count(payload, []byte("x")))
	}
}

// TestFrameBufferEmpty decodes from a FrameBuffer that holds no frame: a new one, one
// that was released, and one for which reading failed.
func TestFrameBufferEmpty(t *testing.T) {
	end := streamOf(t, dirty.NewEnd(1))
	response := streamOf(t, dirty.NewResponse(2, make([]byte, 100<<10)))
	for name, read := range map[string]func(t *testing.T, b *dirty.FrameBuffer){
		"new": func(*testing.T, *dirty.FrameBuffer) {},
		"released": func(t *testing.T, b *dirty.FrameBuffer) {
			_, err := dirty.NewReader(bytes.NewReader(response)).ReadFrameTo(b)
			require.NoError(t, err)
			b.Release()
			b.Release()
		},
		"failed in a header": func(t *testing.T, b *dirty.FrameBuffer) {
			_, err := dirty.NewReader(bytes.NewReader(end[:5])).ReadFrameTo(b)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		},
		"failed in a payload": func(t *testing.T, b *dirty.FrameBuffer) {
			r := dirty.NewReader(bytes.NewReader(join(end, response[:90<<10])))
			_, err := r.ReadFrameTo(b)
			require.NoError(t, err)
			_, err = r.ReadFrameTo(b)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b dirty.FrameBuffer
			read(t, &b)
			m, err := b.DecodeFrame(dirty.DecodeOptions{})
			assert.ErrorIs(t, err, dirty.ErrUnknownType)
			assert.Nil(t, m)
			v := "as it was"
			assert.NoError(t, b.UnmarshalPayload(dirty.DecodeOptions{}, &v))
			assert.Equal(t, "as it was", v)
			_, err = dirty.NewReader(bytes.NewReader(response)).ReadFrameTo(&b)
			require.NoError(t, err)
			m, err = b.DecodeFrame(dirty.DecodeOptions{})
			require.NoError(t, err)
			assert.Equal(t, dirty.NewResponse(2, make([]byte, 100<<10)), m)
		})
	}
}

// TestFrameBufferResume checks that ReadFrameTo goes on with a frame after a timeout,
// even into another buffer.
func TestFrameBufferResume(t *testing.T) {
	for _, size := range []int{10, 5 << 10, 100 << 10, 3 << 20} {
		want := dirty.NewResponse(2, bytes.Repeat([]byte("x"), size))
		data := streamOf(t, want)
		for _, cut := range []int{5, 20, len(data) - 1} {
			r := dirty.NewReader(&script{steps: []any{data[:cut], os.ErrDeadlineExceeded, data[cut:]}})
			var first, second dirty.FrameBuffer
			_, err := r.ReadFrameTo(&first)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			// Others use the memory of the first buffer meanwhile.
			_, err = dirty.NewReader(bytes.NewReader(streamOf(t, dirty.NewResponse(3, make([]byte, size))))).ReadFrameTo(&first)
			require.NoError(t, err)
			_, err = r.ReadFrameTo(&second)
			require.NoError(t, err)
			m, err := second.DecodeFrame(dirty.DecodeOptions{})
			require.NoError(t, err)
			assert.True(t, assert.ObjectsAreEqual(want, m), "%d bytes cut at %d", size, cut)
		}
	}
}

// panics is a destination that panics.
type panics struct{}

func (*panics) UnmarshalTLV([]byte) error { panic("mine") }

// TestFrameBufferUserPanics checks that bytes which were decoded before a user's
// method panicked are not overwritten either.
func TestFrameBufferUserPanics(t *testing.T) {
	payload := dirty.Dict{{"data", bytes.Repeat([]byte("a"), 100<<10)}, {"boom", nil}}
	var stream []byte
	for range 2 {
		encoded, err := dirty.Marshal(payload)
		require.NoError(t, err)
		stream, err = dirty.Frame{Header: dirty.Header{Type: dirty.TypeChunk}, Payload: encoded}.AppendBinary(stream)
		require.NoError(t, err)
		payload[0].Value = bytes.Repeat([]byte("b"), 100<<10)
	}
	r := dirty.NewReader(bytes.NewReader(stream))
	var b dirty.FrameBuffer
	var v struct {
		Data []byte `dirty:"data"`
		Boom panics `dirty:"boom"`
	}
	_, err := r.ReadFrameTo(&b)
	require.NoError(t, err)
	assert.Panics(t, func() { _ = b.UnmarshalPayload(dirty.DecodeOptions{}, &v) })
	_, err = r.ReadFrameTo(&b)
	require.NoError(t, err)
	assert.Equal(t, byte('a'), v.Data[0])
	assert.Equal(t, byte('a'), v.Data[len(v.Data)-1])
}

// TestFrameBufferKeepsLittle checks that an idle buffer holds no memory of a large
// frame, and that bytes keep not much more memory than their own.
func TestFrameBufferKeepsLittle(t *testing.T) {
	list := make([]int64, 100_000)
	var stream []byte
	var err error
	for range 20 {
		stream, err = dirty.AppendMessage(stream, dirty.NewChunk(1, list))
		require.NoError(t, err)
		stream, err = dirty.AppendMessage(stream, dirty.NewChunk(1, make([]byte, aliasedSize)))
		require.NoError(t, err)
	}
	r := dirty.NewReader(bytes.NewReader(stream))
	buffers := make([]dirty.FrameBuffer, 40)
	var kept []any
	before := liveHeap()
	for i := range buffers {
		_, err := r.ReadFrameTo(&buffers[i])
		require.NoError(t, err)
		m, err := buffers[i].DecodeFrame(dirty.DecodeOptions{})
		require.NoError(t, err)
		if i%2 == 1 {
			kept = append(kept, m)
		}
		buffers[i].Release()
	}
	assert.Less(t, liveHeap(), before+20*aliasedSize*2+2<<20)
	runtime.KeepAlive(kept)
	runtime.KeepAlive(buffers)
}

// TestIdleMemory checks that Readers and Writers that wait hold no memory of large
// frames.
func TestIdleMemory(t *testing.T) {
	m := dirty.NewResponse(1, strings.Repeat("x", 500_000))
	data := streamOf(t, m)
	var idle []any
	before := liveHeap()
	for range 50 {
		w := dirty.NewWriter(io.Discard)
		require.NoError(t, w.WriteMessage(m))
		r := dirty.NewReader(bytes.NewReader(data))
		_, err := r.ReadMessage()
		require.NoError(t, err)
		idle = append(idle, w, r)
	}
	assert.Less(t, liveHeap(), before+50*(64<<10+1024))
	runtime.KeepAlive(idle)
}

// TestReaderSharedMemory checks that a decoded message stays as it is when another
// Reader uses the memory of its payload.
func TestReaderSharedMemory(t *testing.T) {
	floats := make([]float64, 100_000)
	for i := range floats {
		floats[i] = float64(i)
	}
	text := strings.Repeat("text", 30_000)
	var messages []dirty.Message
	for _, v := range []any{text, []byte(text), []any{text, []byte(text)}, map[string]any{text: []byte(text)}} {
		messages = append(messages, dirty.NewResponse(1, v))
	}
	var got []dirty.Message
	for _, m := range messages {
		r := dirty.NewReader(bytes.NewReader(streamOf(t, m)))
		decoded, err := r.ReadMessage()
		require.NoError(t, err)
		got = append(got, decoded)
		_, err = dirty.ReadMessage(bytes.NewReader(streamOf(t, dirty.NewResponse(2, floats)))) // over it
		require.NoError(t, err)
	}
	assert.True(t, assert.ObjectsAreEqual(messages, got))
}
