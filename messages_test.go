package dirty_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// key is the encoding of a short string, for payloads written by hand.
func key(s string) string { return string(dirty.AppendString(nil, s)) }

// int5 and the others are encodings of values.
const (
	none  = "\x00"
	int5  = "\x05\x00\x00\x00\x00\x00\x00\x00\x05"
	empty = "\x20\x00\x00\x00\x00" // a list
	dict0 = "\x21\x00\x00\x00\x00"
	dict1 = "\x21\x00\x00\x00\x01"
	dict2 = "\x21\x00\x00\x00\x02"
	dict3 = "\x21\x00\x00\x00\x03"
	dict4 = "\x21\x00\x00\x00\x04"
	dict5 = "\x21\x00\x00\x00\x05"
)

func num(n int64) string { return string(dirty.AppendInt64(nil, n)) }

// frame makes a frame of a payload written by hand.
func frame(typ dirty.MessageType, id uint64, payload ...string) []byte {
	f := dirty.Frame{Header: dirty.Header{Type: typ, RequestID: id}, Payload: dirty.RawValue(strings.Join(payload, ""))}
	b, err := f.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return b
}

// TestMessagesGolden: gunicorn's keys in gunicorn's order, with what it
// leaves out left out; want is what decoding gives, if it is not the message.
func TestMessagesGolden(t *testing.T) {
	const id uint64 = 0x0102030405060708
	req := func(args, kwargs string) []string {
		return []string{dict4, key("app_path"), key("m:C"), key("action"), key("act"), key("args"), args, key("kwargs"), kwargs}
	}
	fail := func(typ, message, details string) []string {
		return []string{dict1, key("error"), dict3, key("error_type"), key(typ), key("message"), key(message), key("details"), details}
	}
	for _, tt := range []struct {
		name    string
		m       dirty.Message
		payload []string
		want    dirty.Message
	}{
		{"request", dirty.NewRequest(id, "m:C", "act", []any{int64(5)}, map[string]any{"b": nil, "a": int64(5)}), req("\x20\x00\x00\x00\x01"+int5, dict2+key("a")+int5+key("b")+none), nil},
		{"request, nil", dirty.NewRequest(id, "m:C", "act", nil, nil), req(empty, dict0), dirty.NewRequest(id, "m:C", "act", []any{}, map[string]any{})},
		{"request, ordered", &dirty.Request{ID: id, AppPath: "m:C", Action: "act", Kwargs: map[string]any{"x": 1}, OrderedKwargs: dirty.Dict{{Key: "z", Value: nil}, {Key: "y", Value: int64(5)}}}, req(empty, dict2+key("z")+none+key("y")+int5), dirty.NewRequest(id, "m:C", "act", []any{}, map[string]any{"z": nil, "y": int64(5)})},
		{"request, ordered and empty", &dirty.Request{ID: id, AppPath: "m:C", Action: "act", Args: []any{}, Kwargs: map[string]any{"x": 1}, OrderedKwargs: dirty.Dict{}}, req(empty, dict0), dirty.NewRequest(id, "m:C", "act", []any{}, map[string]any{})},
		{"request, all empty", &dirty.Request{ID: id}, []string{dict4, key("app_path"), key(""), key("action"), key(""), key("args"), empty, key("kwargs"), dict0}, dirty.NewRequest(id, "", "", []any{}, map[string]any{})},
		{"response", dirty.NewResponse(id, int64(5)), []string{dict1, key("result"), int5}, nil},
		{"response, None", dirty.NewResponse(id, nil), []string{dict1, key("result"), none}, nil},
		{"response, raw", dirty.NewResponse(id, dirty.RawValue(int5)), []string{dict1, key("result"), int5}, dirty.NewResponse(id, int64(5))},
		{"response, struct", dirty.NewResponse(id, struct{ A int }{5}), []string{dict1, key("result"), dict1, key("A"), int5}, dirty.NewResponse(id, map[string]any{"A": int64(5)})},
		{"error", dirty.NewErrorReply(id, errors.New("boom")), fail("DirtyAppError", "boom", dict0), &dirty.ErrorReply{ID: id, Err: &dirty.RemoteError{Type: "DirtyAppError", Message: "boom", Details: map[string]any{}}}},
		{"error, nil", &dirty.ErrorReply{ID: id}, fail("DirtyError", "Unknown error", dict0), &dirty.ErrorReply{ID: id, Err: &dirty.RemoteError{Type: "DirtyError", Message: "Unknown error", Details: map[string]any{}}}},
		{"error, details in gunicorn's order", dirty.NewErrorReply(id, &dirty.RemoteError{Type: "T", Message: "m", Details: map[string]any{"zzz": nil, "aaa": nil, "traceback": nil, "action": nil, "app_path": nil, "worker_id": nil, "socket_path": nil, "timeout": nil}}),
			fail("T", "m", "\x21\x00\x00\x00\x08"+key("timeout")+none+key("socket_path")+none+key("worker_id")+none+key("app_path")+none+key("action")+none+key("traceback")+none+key("aaa")+none+key("zzz")+none), nil},
		{"chunk", dirty.NewChunk(id, "é"), []string{dict1, key("data"), key("é")}, nil},
		{"end", dirty.NewEnd(id), nil, nil},
		{"status", dirty.NewStatusRequest(id), nil, nil},
		{"manage", dirty.NewManageRequest(id, dirty.ManageAdd, 5), []string{dict2, key("op"), num(1), key("count"), int5}, nil},
		{"manage, odd", dirty.NewManageRequest(id, 200, -1), []string{dict2, key("op"), num(200), key("count"), num(-1)}, nil},
		{"stash, all", dirty.NewStashRequest(id, dirty.StashPut, "t", "k", int64(5), "p*"), []string{dict5, key("op"), num(1), key("table"), key("t"), key("key"), key("k"), key("value"), int5, key("pattern"), key("p*")}, nil},
		{"stash, least", dirty.NewStashRequest(id, dirty.StashTables, "", nil, nil, ""), []string{dict2, key("op"), num(9), key("table"), key("")}, nil},
		{"stash, key", dirty.NewStashRequest(id, dirty.StashGet, "t", int64(5), nil, ""), []string{dict3, key("op"), num(2), key("table"), key("t"), key("key"), int5}, nil},
		{"stash, falsy", dirty.NewStashRequest(id, dirty.StashPut, "t", false, int64(0), ""), []string{dict4, key("op"), num(1), key("table"), key("t"), key("key"), "\x01\x00", key("value"), num(0)}, nil},
		{"stash, value and pattern", dirty.NewStashRequest(id, dirty.StashKeys, "t", nil, []any{}, "*"), []string{dict4, key("op"), num(4), key("table"), key("t"), key("value"), empty, key("pattern"), key("*")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := frame(tt.m.Type(), id, tt.payload...)
			b, err := dirty.AppendMessage([]byte("x"), tt.m)
			require.NoError(t, err)
			assert.Equal(t, want, b[1:])
			assert.EqualValues(t, id, tt.m.RequestID())
			if tt.want == nil {
				tt.want = tt.m
			}
			got, n, err := dirty.DecodeMessage(append(want, "rest"...))
			require.NoError(t, err)
			assert.Equal(t, len(want), n)
			assert.Equal(t, tt.want, got)
			var f dirty.Frame
			require.NoError(t, f.UnmarshalBinary(want))
			got, err = f.Message()
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)

			for cut := range want {
				m, n, err := dirty.DecodeMessage(want[:cut])
				var e *dirty.ProtocolError
				require.ErrorAs(t, err, &e)
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.True(t, e.Fatal)
				assert.Zero(t, n)
				assert.Nil(t, m)
				if cut >= dirty.HeaderSize {
					assert.EqualValues(t, id, e.Header.RequestID)
					assert.EqualValues(t, len(want)-dirty.HeaderSize, e.Limit)
					assert.EqualValues(t, cut-dirty.HeaderSize, e.Found)
				}
			}
		})
	}
}

// TestDecodeMessagePayloads: what payloads may leave out or hold besides.
func TestDecodeMessagePayloads(t *testing.T) {
	unknown := &dirty.RemoteError{Type: "DirtyError", Message: "Unknown error"}
	all := map[dirty.MessageType]dirty.Message{
		dirty.TypeRequest: &dirty.Request{ID: 9}, dirty.TypeResponse: &dirty.Response{ID: 9}, dirty.TypeError: &dirty.ErrorReply{ID: 9, Err: unknown}, dirty.TypeChunk: &dirty.Chunk{ID: 9},
		dirty.TypeEnd: &dirty.End{ID: 9}, dirty.TypeStash: &dirty.StashRequest{ID: 9}, dirty.TypeStatus: &dirty.StatusRequest{ID: 9}, dirty.TypeManage: &dirty.ManageRequest{ID: 9, Count: 1},
	}
	for typ, want := range all { // no payload, an empty one, and only keys of no meaning
		for _, payload := range []string{"", dict0, dict1 + key("other") + empty, dict3 + key("id") + num(99) + key("type") + key("status") + key("x") + dict1 + key("id") + none} {
			m, n, err := dirty.DecodeMessage(frame(typ, 9, payload))
			require.NoError(t, err)
			assert.Equal(t, dirty.HeaderSize+len(payload), n)
			assert.Equal(t, want, m)
		}
		for _, payload := range []string{none, "\x01\x01", int5, key("x"), "\x10\x00\x00\x00\x01x", "\x20\x00\x00\x00\x01\x00"} {
			m, n, err := dirty.DecodeMessage(frame(typ, 9, payload))
			var e *dirty.ProtocolError
			require.ErrorAs(t, err, &e, "%v with %q", typ, payload)
			assert.ErrorIs(t, err, dirty.ErrMalformed)
			assert.False(t, e.Fatal)
			assert.Equal(t, dirty.Header{Type: typ, Length: uint32(len(payload)), RequestID: 9}, e.Header)
			assert.Equal(t, dirty.HeaderSize+len(payload), n)
			assert.EqualValues(t, dirty.HeaderSize, e.Offset)
			assert.Nil(t, m)
		}
	}
	reply := func(typ, message string, details map[string]any) dirty.Message {
		return &dirty.ErrorReply{ID: 9, Err: &dirty.RemoteError{Type: typ, Message: message, Details: details}}
	}
	for _, tt := range []struct {
		typ     dirty.MessageType
		payload []string
		want    dirty.Message
	}{
		{dirty.TypeRequest, []string{dict4, key("kwargs"), none, key("args"), none, key("action"), none, key("app_path"), none}, all[dirty.TypeRequest]},
		{dirty.TypeRequest, []string{dict1, key("kwargs"), dict2, key("type"), int5, key("id"), int5}, &dirty.Request{ID: 9, Kwargs: map[string]any{"type": int64(5), "id": int64(5)}}},
		{dirty.TypeRequest, []string{dict2, key("args"), "\x20\x00\x00\x00\x01", int5, key("args"), none}, all[dirty.TypeRequest]},
		{dirty.TypeRequest, []string{dict2, key("kwargs"), dict1, key("a"), none, key("kwargs"), dict1, key("b"), none}, &dirty.Request{ID: 9, Kwargs: map[string]any{"b": nil}}},
		{dirty.TypeRequest, []string{dict2, key("app_path"), key("x"), key("app_path"), none}, all[dirty.TypeRequest]},
		{dirty.TypeResponse, []string{dict2, key("result"), int5, key("result"), dict1, key("id"), int5}, &dirty.Response{ID: 9, Result: map[string]any{"id": int64(5)}}},
		{dirty.TypeEnd, []string{dict1, key("result"), int5}, all[dirty.TypeEnd]},
		{dirty.TypeStash, []string{dict5, key("pattern"), none, key("value"), none, key("key"), none, key("table"), none, key("op"), none}, all[dirty.TypeStash]},
		{dirty.TypeStash, []string{dict2, key("op"), "\x06\x40\x00\x00\x00\x00\x00\x00\x00", key("key"), "\x10\x00\x00\x00\x01b"}, &dirty.StashRequest{ID: 9, Op: dirty.StashGet, Key: []byte("b")}},
		{dirty.TypeStash, []string{dict1, key("op"), num(255)}, &dirty.StashRequest{ID: 9, Op: 255}},
		{dirty.TypeManage, []string{dict2, key("count"), none, key("op"), num(2)}, &dirty.ManageRequest{ID: 9, Op: dirty.ManageRemove, Count: 1}},
		{dirty.TypeManage, []string{dict2, key("count"), int5, key("count"), none}, all[dirty.TypeManage]},
		{dirty.TypeManage, []string{dict1, key("count"), num(0)}, &dirty.ManageRequest{ID: 9}},
		{dirty.TypeError, []string{dict1, key("error"), dict0}, all[dirty.TypeError]},
		{dirty.TypeError, []string{dict1, key("error"), dict1, key("details"), none}, all[dirty.TypeError]},
		{dirty.TypeError, []string{dict1, key("error"), dict3, key("extra"), empty, key("error_type"), key("Unheard"), key("more"), dict1, key("message"), none}, reply("Unheard", "Unknown error", nil)},
		{dirty.TypeError, []string{dict1, key("error"), dict2, key("error_type"), int5, key("message"), key("m")}, reply("DirtyError", "m", nil)},
		{dirty.TypeError, []string{dict1, key("error"), dict1, key("message"), int5}, reply("DirtyError", "5", nil)},
		{dirty.TypeError, []string{dict1, key("error"), dict1, key("details"), dict2, key("action"), int5, key("x"), empty}, reply("DirtyError", "Unknown error", map[string]any{"action": int64(5), "x": []any{}})},
		{dirty.TypeError, []string{dict2, key("error"), dict1, key("error_type"), key("A"), key("error"), dict1, key("message"), key("m")}, reply("DirtyError", "m", nil)},
	} {
		m, _, err := dirty.DecodeMessage(frame(tt.typ, 9, tt.payload...))
		require.NoError(t, err, tt.payload)
		assert.Equal(t, tt.want, m, "%q", tt.payload)
	}
}

// TestDecodeMessageFaults: faults of payloads leave the connection usable and
// say whose they are; faults of frames do not.
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

// TestUseDict: order is kept where it is asked for, and goes out again.
func TestUseDict(t *testing.T) {
	data := frame(dirty.TypeRequest, 1, dict4, key("app_path"), key("m:C"), key("action"), key("act"), key("args"), "\x20\x00\x00\x00\x01", dict2, key("b"), none, key("a"), none, key("kwargs"), dict2, key("z"), dict0, key("y"), int5)
	m, _, err := dirty.DecodeOptions{UseDict: true}.DecodeMessage(data)
	require.NoError(t, err)
	assert.Equal(t, &dirty.Request{ID: 1, AppPath: "m:C", Action: "act", Args: []any{dirty.Dict{{Key: "b"}, {Key: "a"}}}, OrderedKwargs: dirty.Dict{{Key: "z", Value: dirty.Dict{}}, {Key: "y", Value: int64(5)}}}, m)
	again, err := dirty.AppendMessage(nil, m)
	require.NoError(t, err)
	assert.Equal(t, data, again)
}

// TestDecodeMessageOwnership: messages do not change with the data.
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

// TestAppendMessageRefused: paths begin at the payload; b stays what it was.
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
	// The exact limit: {"result": bytes} adds 21 bytes.
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

func TestHashRequestID(t *testing.T) {
	for s, want := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} { // FNV-1a
		assert.Equal(t, want, dirty.HashRequestID(s))
	}
}

// TestMessageTypes: the eight pointers are Messages, and the values are not.
func TestMessageSealed(t *testing.T) {
	message := reflect.TypeFor[dirty.Message]()
	for _, v := range []any{dirty.Request{}, dirty.Response{}, dirty.ErrorReply{}, dirty.Chunk{}, dirty.End{}, dirty.StashRequest{}, dirty.StatusRequest{}, dirty.ManageRequest{}} {
		assert.False(t, reflect.TypeOf(v).Implements(message))
		assert.True(t, reflect.PointerTo(reflect.TypeOf(v)).Implements(message))
	}
}

// TestUnmarshalPayload: a result goes straight into a Go type, and errors say
// where in the frame and of which request.
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
