package dirty_test

import (
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMessagesGolden compares messages with bytes written by hand: gunicorn's keys in
// gunicorn's order, without those that it leaves out. want is what the bytes decode
// to, if that is not the message itself.
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

// TestDecodeMessagePayloads decodes payloads that leave out keys or have others.
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

func TestHashRequestID(t *testing.T) {
	for s, want := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} { // FNV-1a
		assert.Equal(t, want, dirty.HashRequestID(s))
	}
}

// TestMessageSealed checks that pointers are Messages and values are not.
func TestMessageSealed(t *testing.T) {
	message := reflect.TypeFor[dirty.Message]()
	for _, v := range []any{dirty.Request{}, dirty.Response{}, dirty.ErrorReply{}, dirty.Chunk{}, dirty.End{}, dirty.StashRequest{}, dirty.StatusRequest{}, dirty.ManageRequest{}} {
		assert.False(t, reflect.TypeOf(v).Implements(message))
		assert.True(t, reflect.PointerTo(reflect.TypeOf(v)).Implements(message))
	}
}
