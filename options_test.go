package dirty_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRawArgs checks that the arguments of a request stay encoded and own their
// memory.
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

// TestUseDict checks that the order of a request is kept and encoded again.
func TestUseDict(t *testing.T) {
	data := frame(dirty.TypeRequest, 1, dict4, key("app_path"), key("m:C"), key("action"), key("act"), key("args"), "\x20\x00\x00\x00\x01", dict2, key("b"), none, key("a"), none, key("kwargs"), dict2, key("z"), dict0, key("y"), int5)
	m, _, err := dirty.DecodeOptions{UseDict: true}.DecodeMessage(data)
	require.NoError(t, err)
	assert.Equal(t, &dirty.Request{ID: 1, AppPath: "m:C", Action: "act", Args: []any{dirty.Dict{{Key: "b"}, {Key: "a"}}}, OrderedKwargs: dirty.Dict{{Key: "z", Value: dirty.Dict{}}, {Key: "y", Value: int64(5)}}}, m)
	again, err := dirty.AppendMessage(nil, m)
	require.NoError(t, err)
	assert.Equal(t, data, again)
}

// TestReaderDict checks that WithDict keeps the order.
func TestReaderDict(t *testing.T) {
	data := frame(dirty.TypeResponse, 1, dict1, key("result"), dict2, key("b"), none, key("a"), none)
	m, err := dirty.NewReader(bytes.NewReader(data), dirty.WithDict()).ReadMessage()
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(1, dirty.Dict{{Key: "b"}, {Key: "a"}}), m)
}

// TestConnOptions checks that the options of a Conn hold in both directions.
func TestConnOptions(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := dirty.NewConn(a, dirty.WithLimits(dirty.Limits{MaxPayload: 20}), dirty.WithDict(), dirty.WithBufferSize(16))
	assert.ErrorIs(t, c.WriteMessage(dirty.NewChunk(1, strings.Repeat("x", 30))), dirty.ErrTooLarge)
	go b.Write(join(frame(dirty.TypeChunk, 1, dict1, key("data"), dict0), frame(dirty.TypeChunk, 1, strings.Repeat("x", 21))))
	m, err := c.ReadMessage()
	require.NoError(t, err)
	assert.Equal(t, dirty.NewChunk(1, dirty.Dict{}), m)
	_, err = c.ReadMessage()
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
}

func TestUnmarshalAliasBytes(t *testing.T) {
	opts := dirty.DecodeOptions{AliasBytes: true}
	for _, tt := range []struct {
		size, rest int
		aliased    bool
	}{{64 << 10, 0, true}, {64<<10 - 1, 0, false}, {64 << 10, 400 << 10, true}, {64 << 10, 600 << 10, false}} {
		data := mustMarshal(t, []any{make([]byte, tt.size), strings.Repeat("x", tt.rest)})
		var v []any
		var typed struct{ B []byte }
		require.NoError(t, opts.Unmarshal(data, &v))
		require.NoError(t, opts.Unmarshal(mustMarshal(t, map[string]any{"B": []byte("x")}), &typed))
		b := v[0].([]byte)
		data[10] = 0xaa
		assert.Equal(t, tt.aliased, b[0] == 0xaa, "%+v", tt)
		if tt.aliased {
			assert.Equal(t, tt.size, cap(b), "an append does not touch what follows")
		}
		assert.Equal(t, strings.Repeat("x", tt.rest), v[1])
	}
}
