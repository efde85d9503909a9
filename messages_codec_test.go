package dirty_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDecodeMessageFaults checks that a fault of a payload names its request and
// leaves the connection usable, and that a fault of a frame does not.
func TestDecodeMessageFaults(t *testing.T) {
	for _, tt := range []struct {
		typ     dirty.MessageType
		payload string
		want    error
		path    string
		offset  int
	}{
		{dirty.TypeRequest, dict1 + key("app_path") + int5, dirty.ErrMalformed, "app_path", 18},
		{dirty.TypeRequest, dict1 + key("action") + "\x10\x00\x00\x00\x00", dirty.ErrMalformed, "action", 16},
		{dirty.TypeRequest, dict1 + key("args") + key("abc"), dirty.ErrMalformed, "args", 14},
		{dirty.TypeRequest, dict1 + key("args") + dict0, dirty.ErrMalformed, "args", 14},
		{dirty.TypeRequest, dict1 + key("kwargs") + empty, dirty.ErrMalformed, "kwargs", 16},
		{dirty.TypeRequest, dict1 + key("kwargs") + dict1 + key("image") + "\x20\x00\x00\x00\x02\x00\x07", dirty.ErrMalformed, "kwargs.image[1]", 37},
		{dirty.TypeResponse, dict1 + key("result") + "\x11\x00\x00\x00\x02a\xff", dirty.ErrInvalidUTF8, "result", 22},
		{dirty.TypeResponse, dict1 + key("result") + "\x20\x00\x10\x00\x01", dirty.ErrTooLarge, "result", 16},
		{dirty.TypeResponse, dict1 + key("result") + none + none, dirty.ErrTrailingData, "", 17},
		{dirty.TypeResponse, dict1 + key("result"), dirty.ErrMalformed, "result", 16},
		{dirty.TypeResponse, dict1 + int5 + none, dirty.ErrMalformed, "", 5},
		{dirty.TypeResponse, strings.Repeat("\x20\x00\x00\x00\x01", 1001), dirty.ErrTooDeep, "[0][0][0][0][0][0][0][0]...[0][0][0][0][0][0][0][0]", 5000},
		{dirty.TypeError, dict1 + key("error") + key("x"), dirty.ErrMalformed, "error", 15},
		{dirty.TypeError, dict1 + key("error") + none, dirty.ErrMalformed, "error", 15},
		{dirty.TypeError, dict1 + key("error") + dict1 + key("details") + empty, dirty.ErrMalformed, "error.details", 32},
		{dirty.TypeStash, dict1 + key("op") + key("1"), dirty.ErrMalformed, "op", 12},
		{dirty.TypeStash, dict1 + key("op") + num(-1), dirty.ErrMalformed, "op", 12},
		{dirty.TypeStash, dict1 + key("op") + num(256), dirty.ErrMalformed, "op", 12},
		{dirty.TypeStash, dict1 + key("table") + int5, dirty.ErrMalformed, "table", 15},
		{dirty.TypeStash, dict1 + key("pattern") + int5, dirty.ErrMalformed, "pattern", 17},
		{dirty.TypeManage, dict1 + key("count") + "\x06\x40\x07\x33\x33\x33\x33\x33\x33", dirty.ErrMalformed, "count", 15},
		{dirty.TypeEnd, "\x07", dirty.ErrMalformed, "", 0},
		{dirty.TypeStatus, dict1, dirty.ErrMalformed, "", 0},
	} {
		t.Run(fmt.Sprintf("%v %q", tt.typ, tt.payload[:min(40, len(tt.payload))]), func(t *testing.T) {
			data := frame(tt.typ, 9, tt.payload)
			for _, opts := range []dirty.DecodeOptions{{}, {UseDict: true}} {
				m, n, err := opts.DecodeMessage(append(data, "rest"...))
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e)
				assert.ErrorIs(t, err, tt.want)
				assert.False(t, e.Fatal)
				assert.Equal(t, tt.path, e.Path)
				assert.EqualValues(t, dirty.HeaderSize+tt.offset, e.Offset)
				assert.Equal(t, dirty.Header{Type: tt.typ, Length: uint32(len(tt.payload)), RequestID: 9}, e.Header)
				assert.Equal(t, len(data), n)
				assert.Nil(t, m)
				assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.NotErrorIs(t, err, io.EOF)
			}
		})
	}
	large := dirty.DecodeOptions{Limits: dirty.Limits{MaxPayload: 10}}
	m, n, err := large.DecodeMessage(frame(dirty.TypeChunk, 9, dict1, key("data"), none))
	var e *dirty.ProtocolError
	require.ErrorAs(t, err, &e)
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
	assert.True(t, e.Fatal)
	assert.EqualValues(t, 9, e.Header.RequestID)
	assert.Zero(t, n)
	assert.Nil(t, m)
	for name, data := range map[string]string{"magic": "XX\x01\x01", "version": "GD\x02\x01", "type": "GD\x01\x06"} {
		_, n, err := dirty.DecodeMessage(append([]byte(data), make([]byte, 100)...))
		require.ErrorAs(t, err, &e, name)
		assert.True(t, e.Fatal)
		assert.Zero(t, n)
	}
}

// TestDecodeMessageOwnership checks that messages do not change when the data does.
func TestDecodeMessageOwnership(t *testing.T) {
	for _, m := range []dirty.Message{
		dirty.NewRequest(1, "module:Class", "action", []any{"arg", []byte("bytes"), make([]byte, 200<<10)}, map[string]any{"key": "value"}),
		dirty.NewErrorReply(1, &dirty.RemoteError{Type: "SomeError", Message: "message", Details: map[string]any{"app_path": "path"}}),
		dirty.NewStashRequest(1, 1, "table", "key", []byte("value"), "pattern"),
	} {
		data, err := dirty.AppendMessage(nil, m)
		require.NoError(t, err)
		got, _, err := dirty.DecodeMessage(data)
		require.NoError(t, err)
		for i := range data {
			data[i] = 'x'
		}
		assert.Equal(t, m, got)
	}
}

// TestAppendMessageRefused checks that the path of an error begins at the payload and
// that the output stays as it was.
func TestAppendMessageRefused(t *testing.T) {
	c := make(chan int)
	for _, tt := range []struct {
		m    dirty.Message
		want error
		path string
	}{
		{dirty.NewRequest(1, "\xff", "", nil, nil), dirty.ErrInvalidUTF8, "app_path"},
		{dirty.NewRequest(1, "", "\xff", nil, nil), dirty.ErrInvalidUTF8, "action"},
		{dirty.NewRequest(1, "", "", []any{1, c}, nil), dirty.ErrUnsupportedType, "args[1]"},
		{dirty.NewRequest(1, "", "", nil, map[string]any{"image": []any{1, 2, 3, c}}), dirty.ErrUnsupportedType, "kwargs.image[3]"},
		{&dirty.Request{OrderedKwargs: dirty.Dict{{Key: "a", Value: c}}}, dirty.ErrUnsupportedType, "kwargs.a"},
		{dirty.NewRequest(1, "", "", []any{nest(899, nil)}, nil), dirty.ErrTooDeep, "args[0][0][0][0][0][0][0]...[0][0][0][0][0][0][0][0]"},
		{dirty.NewResponse(1, c), dirty.ErrUnsupportedType, "result"},
		{dirty.NewResponse(1, uint64(math.MaxUint64)), dirty.ErrOverflow, "result"},
		{dirty.NewResponse(1, nest(900, nil)), dirty.ErrTooDeep, "result[0][0][0][0][0][0][0]...[0][0][0][0][0][0][0][0]"},
		{dirty.NewResponse(1, make([]byte, dirty.MaxPayloadSize)), dirty.ErrTooLarge, "*"},
		{dirty.NewChunk(1, []any{c}), dirty.ErrUnsupportedType, "data[0]"},
		{dirty.NewStashRequest(1, 1, "\xff", nil, nil, ""), dirty.ErrInvalidUTF8, "table"},
		{dirty.NewStashRequest(1, 1, "", c, nil, ""), dirty.ErrUnsupportedType, "key"},
		{dirty.NewStashRequest(1, 1, "", nil, []any{c}, ""), dirty.ErrUnsupportedType, "value[0]"},
		{dirty.NewStashRequest(1, 1, "", nil, nil, "\xff"), dirty.ErrInvalidUTF8, "pattern"},
		{dirty.NewErrorReply(1, &dirty.RemoteError{Type: "\xff"}), dirty.ErrInvalidUTF8, "error.error_type"},
		{dirty.NewErrorReply(1, &dirty.RemoteError{Message: "\xff"}), dirty.ErrInvalidUTF8, "error.message"},
		{dirty.NewErrorReply(1, &dirty.RemoteError{Details: map[string]any{"action": c}}), dirty.ErrUnsupportedType, "error.details.action"},
		{dirty.NewErrorReply(1, &dirty.RemoteError{Details: map[string]any{"\xff": 1}}), dirty.ErrInvalidUTF8, `error.details["\xff"]`},
		{nil, dirty.ErrUnsupportedType, ""}, {(*dirty.Request)(nil), dirty.ErrUnsupportedType, ""}, {(*dirty.End)(nil), dirty.ErrUnsupportedType, ""}, {(*dirty.ErrorReply)(nil), dirty.ErrUnsupportedType, ""},
	} {
		t.Run(fmt.Sprintf("%T %s", tt.m, tt.path), func(t *testing.T) {
			b, err := dirty.AppendMessage([]byte("before"), tt.m)
			var e *dirty.MarshalError
			require.ErrorAs(t, err, &e)
			assert.ErrorIs(t, err, tt.want)
			if tt.path != "*" {
				assert.Equal(t, tt.path, e.Path)
			}
			assert.Equal(t, "before", string(b))
			assert.ErrorAs(t, dirty.WriteMessage(io.Discard, tt.m), &e)
		})
	}
	small := dirty.EncodeOptions{Limits: dirty.Limits{MaxElements: 4}}
	_, err := small.AppendMessage(nil, dirty.NewErrorReply(1, &dirty.RemoteError{Details: map[string]any{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}}))
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
	// At the limit: {"result": ...} takes 21 bytes besides the bytes in it.
	whole := dirty.NewResponse(1, make([]byte, dirty.MaxPayloadSize-21))
	b, err := dirty.AppendMessage(nil, whole)
	require.NoError(t, err)
	assert.Len(t, b, dirty.HeaderSize+dirty.MaxPayloadSize)
	m, _, err := dirty.DecodeMessage(b)
	require.NoError(t, err)
	assert.Len(t, m.(*dirty.Response).Result, dirty.MaxPayloadSize-21)
	whole.Result = make([]byte, dirty.MaxPayloadSize-20)
	_, err = dirty.AppendMessage(nil, whole)
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
}

// TestUnmarshalPayload decodes results straight into a Go type. Errors tell the
// offset in the frame and the request.
func TestUnmarshalPayload(t *testing.T) {
	type payload struct {
		Result []int `dirty:"result"`
	}
	for _, tt := range []struct {
		name    string
		payload string
		opts    dirty.DecodeOptions
		want    []int
		err     string
		is      error
	}{
		{name: "result", payload: dict1 + key("result") + "\x20\x00\x00\x00\x01" + int5, want: []int{5}},
		{name: "other keys", payload: dict2 + key("id") + int5 + key("result") + empty, want: []int{}},
		{name: "empty", payload: ""},
		{name: "no keys", payload: dict0},
		{name: "wrong type", payload: dict1 + key("result") + "\x20\x00\x00\x00\x01" + key("x"), is: dirty.ErrTypeMismatch, err: "at offset 37 (result[0])"},
		{name: "malformed", payload: dict1 + key("result") + "\x7f", is: dirty.ErrMalformed, err: "at offset 32"},
		{name: "a list", payload: empty, is: dirty.ErrMalformed, err: "at offset 16"},
		{name: "None", payload: none, is: dirty.ErrMalformed, err: "at offset 16"},
		{name: "broken and no dict", payload: "\x11\x00\x00\x00\x05", is: dirty.ErrMalformed, err: "at offset 16: found 0, want 5"},
		{name: "wrong limits", payload: "", opts: dirty.DecodeOptions{Limits: dirty.Limits{MaxDepth: -1}}, err: "Limits.MaxDepth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got payload
			f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeResponse, RequestID: 9}, Payload: dirty.RawValue(tt.payload)}
			err := tt.opts.UnmarshalPayload(f, &got)
			if tt.opts == (dirty.DecodeOptions{}) {
				var again payload
				assert.Equal(t, err, f.UnmarshalPayload(&again))
				assert.Equal(t, got, again)
			}
			if tt.err == "" {
				require.NoError(t, err)
				assert.Equal(t, tt.want, got.Result)
				return
			}
			require.ErrorContains(t, err, tt.err)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
			var protocol *dirty.ProtocolError
			if errors.As(err, &protocol) {
				assert.Equal(t, f.Header, protocol.Header)
			}
		})
	}
}
