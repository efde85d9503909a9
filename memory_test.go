package dirty_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// aliasedSize is the size from which bytes may refer to their payload.
const aliasedSize = 64 << 10

// TestFrameBufferOwnership: what was decoded from a frame is not changed by the
// frames that are read into the same buffer afterwards, however large it is.
func TestFrameBufferOwnership(t *testing.T) {
	type decoded struct {
		Data []byte `dirty:"data"`
		Text string `dirty:"text"`
	}
	ways := map[string]func(b *dirty.FrameBuffer) ([]byte, error){
		"DecodeFrame": func(b *dirty.FrameBuffer) ([]byte, error) {
			m, err := b.DecodeFrame(dirty.DecodeOptions{})
			if err != nil {
				return nil, err
			}
			return m.(*dirty.Chunk).Data.([]byte), nil
		},
		"UnmarshalPayload": func(b *dirty.FrameBuffer) ([]byte, error) {
			var v decoded
			err := b.UnmarshalPayload(dirty.DecodeOptions{}, &v)
			return v.Data, err
		},
		"UnmarshalPayload into any": func(b *dirty.FrameBuffer) ([]byte, error) {
			var v any
			err := b.UnmarshalPayload(dirty.DecodeOptions{AliasBytes: true}, &v)
			return v.(map[string]any)["data"].([]byte), err
		},
		"RawValue": func(b *dirty.FrameBuffer) ([]byte, error) {
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
	for name, decode := range ways {
		for _, size := range sizes {
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				var stream []byte
				var want [][]byte
				for i := range 4 {
					want = append(want, bytes.Repeat([]byte{byte('a' + i)}, size))
					var err error
					stream, err = dirty.AppendMessage(stream, dirty.NewChunk(1, want[i]))
					require.NoError(t, err)
				}
				r := dirty.NewReader(bytes.NewReader(stream))
				var b dirty.FrameBuffer
				var got [][]byte
				for range want {
					_, err := r.ReadFrameTo(&b)
					require.NoError(t, err)
					data, err := decode(&b)
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

// TestFrameBufferLargeBytes: large bytes are not copied.
func TestFrameBufferLargeBytes(t *testing.T) {
	for size, copied := range map[int]bool{aliasedSize - 1: true, aliasedSize: false, 1 << 20: false, 2 << 20: false} {
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

// panics is a destination that keeps nothing and panics.
type panics struct{}

func (*panics) UnmarshalTLV([]byte) error { panic("mine") }

// TestFrameBufferUserPanics: bytes that were decoded before a user's method
// panics are not overwritten either.
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

// TestFrameBufferKeepsLittle: an idle buffer holds no memory of a large frame,
// and bytes do not keep more memory alive than they should.
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

// TestRawArgs: the arguments of a request stay encoded and own their memory.
func TestRawArgs(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 200<<10)
	for name, args := range map[string][]any{"small": {int64(1), "two"}, "large": {large}, "none": nil} {
		for _, useDict := range []bool{false, true} {
			t.Run(fmt.Sprint(name, useDict), func(t *testing.T) {
				request := dirty.NewRequest(1, "a:b", "c", args, nil)
				request.OrderedKwargs = dirty.Dict{{"k", int64(3)}, {"j", "x"}, {"k", int64(4)}}
				frame, err := dirty.AppendMessage(nil, request)
				require.NoError(t, err)
				r := dirty.NewReader(bytes.NewReader(append(frame, bytes.Repeat(frame, 2)...)))
				var b dirty.FrameBuffer
				_, err = r.ReadFrameTo(&b)
				require.NoError(t, err)
				m, err := b.DecodeFrame(dirty.DecodeOptions{RawArgs: true, UseDict: useDict})
				require.NoError(t, err)
				for range 2 {
					f, err := r.ReadFrameTo(&b)
					require.NoError(t, err)
					clear(f.Payload)
				}
				got := m.(*dirty.Request)
				require.Len(t, got.Args, len(args))
				for i := range args {
					var v any
					require.NoError(t, dirty.Unmarshal(got.Args[i].(dirty.RawValue), &v))
					assert.Equal(t, args[i], v)
				}
				j, k := raw(t, "x"), raw(t, int64(4))
				if useDict {
					assert.Equal(t, dirty.Dict{{"k", k}, {"j", j}}, got.OrderedKwargs)
				} else {
					assert.Equal(t, map[string]any{"k": k, "j": j}, got.Kwargs)
				}
			})
		}
	}
}

func raw(t *testing.T, v any) dirty.RawValue {
	t.Helper()
	b, err := dirty.Marshal(v)
	require.NoError(t, err)
	return b
}
