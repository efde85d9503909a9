package dirty_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestProtocolNumbers compares the constants with gunicorn's.
func TestProtocolNumbers(t *testing.T) {
	assert.EqualValues(t, 1, dirty.Version)
	assert.EqualValues(t, 16, dirty.HeaderSize)
	assert.EqualValues(t, 67108864, dirty.MaxPayloadSize)
	assert.EqualValues(t, 1048576, dirty.MaxElements)
	assert.EqualValues(t, 1000, dirty.DefaultMaxDepth)
	assert.EqualValues(t, 900, dirty.DefaultMaxEncodeDepth)
	assert.EqualValues(t, 536870912, dirty.DefaultMaxMemory)
}

func TestMessageTypeNames(t *testing.T) {
	names := map[dirty.MessageType]string{0x01: "request", 0x02: "response", 0x03: "error", 0x04: "chunk", 0x05: "end", 0x10: "stash", 0x11: "status", 0x12: "manage",
		0x00: "MessageType(0x00)", 0x06: "MessageType(0x06)", 0x0f: "MessageType(0x0f)", 0x13: "MessageType(0x13)", 0x7f: "MessageType(0x7f)", 0xff: "MessageType(0xff)"}
	assert.Equal(t, [...]dirty.MessageType{0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x11, 0x12},
		[...]dirty.MessageType{dirty.TypeRequest, dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage})
	for typ, name := range names {
		assert.Equal(t, name, typ.String())
	}
	parsed := 0
	for i := range 256 {
		typ := dirty.MessageType(i)
		got, err := dirty.ParseMessageType(typ.String())
		if err == nil {
			parsed++
			assert.Equal(t, typ, got)
			continue
		}
		assert.ErrorIs(t, err, dirty.ErrUnknownType)
		assert.Zero(t, got)
	}
	assert.Equal(t, 8, parsed)
	for _, s := range []string{"", "Request", "REQUEST", " request", "requests", "0x01", "\xff"} {
		_, err := dirty.ParseMessageType(s)
		require.ErrorIs(t, err, dirty.ErrUnknownType, "%q", s)
	}
}

func TestOperationNames(t *testing.T) {
	for op, name := range map[dirty.StashOp]string{0: "StashOp(0)", 1: "put", 2: "get", 3: "delete", 4: "keys", 5: "clear", 6: "info", 7: "ensure", 8: "delete_table", 9: "tables", 10: "exists", 11: "StashOp(11)", 255: "StashOp(255)"} {
		assert.Equal(t, name, op.String())
	}
	assert.Equal(t, [...]dirty.StashOp{1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		[...]dirty.StashOp{dirty.StashPut, dirty.StashGet, dirty.StashDelete, dirty.StashKeys, dirty.StashClear, dirty.StashInfo, dirty.StashEnsure, dirty.StashDeleteTable, dirty.StashTables, dirty.StashExists})
	for op, name := range map[dirty.ManageOp]string{0: "ManageOp(0)", dirty.ManageAdd: "add", 2: "remove", 3: "ManageOp(3)", 255: "ManageOp(255)"} {
		assert.Equal(t, name, op.String())
	}
	assert.EqualValues(t, 2, dirty.ManageRemove)
}

// samples has a message of each type, with all of its fields set.
var samples = map[dirty.MessageType]dirty.Message{
	dirty.TypeRequest:  dirty.NewRequest(1, "app:App", "act", []any{int64(1)}, map[string]any{"k": "v"}),
	dirty.TypeResponse: dirty.NewResponse(2, "result"),
	dirty.TypeError:    dirty.NewErrorReply(3, &dirty.RemoteError{Type: dirty.ClassApp, Message: "m", Details: map[string]any{"action": "act"}}),
	dirty.TypeChunk:    dirty.NewChunk(4, 0.5),
	dirty.TypeEnd:      dirty.NewEnd(5),
	dirty.TypeStash:    dirty.NewStashRequest(6, dirty.StashPut, "table", "key", "value", "*"),
	dirty.TypeStatus:   dirty.NewStatusRequest(7),
	dirty.TypeManage:   dirty.NewManageRequest(8, dirty.ManageAdd, 2),
}

// TestEveryMessageType takes every type through all code that knows types. So it
// fails if a new type was forgotten somewhere. It reads the types from the sources.
func TestEveryMessageType(t *testing.T) {
	types := constantsOf(t, "MessageType")
	known := map[dirty.MessageType]bool{}
	for name, value := range types {
		typ := dirty.MessageType(value)
		known[typ] = true
		assert.Equal(t, strings.ToLower(strings.TrimPrefix(name, "Type")), typ.String(), "messageTypes in protocol.go")
		parsed, err := dirty.ParseMessageType(typ.String())
		assert.NoError(t, err)
		assert.Equal(t, typ, parsed)

		sample := samples[typ]
		require.NotNil(t, sample, "there is no sample of %s in this test", name)
		assert.Equal(t, typ, sample.Type())
		frame, err := dirty.AppendMessage(nil, sample)
		require.NoError(t, err)
		decoded, n, err := dirty.DecodeMessage(frame)
		require.NoError(t, err, "newMessage in messages.go: %s", name)
		assert.Len(t, frame, n)
		assert.Equal(t, sample, decoded)

		empty, err := dirty.Frame{Header: dirty.Header{Type: typ, RequestID: 9}}.Message()
		require.NoError(t, err)
		assert.Equal(t, typ, empty.Type())
		assert.EqualValues(t, 9, empty.RequestID())
	}
	for i := range 256 {
		typ := dirty.MessageType(i)
		if known[typ] {
			continue
		}
		header := []byte("GD\x01" + string([]byte{byte(i)}) + strings.Repeat("\x00", 12))
		_, err := dirty.ParseHeader(header)
		assert.ErrorIs(t, err, dirty.ErrUnknownType)
		assert.ErrorContains(t, err, "want 0x01 to 0x05 or 0x10 to 0x12")
		m, err := dirty.Frame{Header: dirty.Header{Type: typ}}.Message()
		assert.ErrorIs(t, err, dirty.ErrUnknownType)
		assert.Nil(t, m)
		assert.Equal(t, fmt.Sprintf("MessageType(0x%02x)", i), typ.String())
	}
}

// TestEveryStashOp checks that each operation has the name of its constant, and that
// it can be encoded and decoded.
func TestEveryStashOp(t *testing.T) {
	for name, value := range constantsOf(t, "StashOp") {
		op := dirty.StashOp(value)
		assert.Equal(t, strings.TrimPrefix(name, "Stash"), camel(op.String()), "stashOpNames in protocol.go")
		assert.Equal(t, op, reencode(t, dirty.NewStashRequest(1, op, "t", nil, nil, "")).(*dirty.StashRequest).Op)
	}
}

// TestEveryManageOp is TestEveryStashOp for the other operations.
func TestEveryManageOp(t *testing.T) {
	for name, value := range constantsOf(t, "ManageOp") {
		op := dirty.ManageOp(value)
		assert.Equal(t, strings.TrimPrefix(name, "Manage"), camel(op.String()), "manageOpNames in protocol.go")
		assert.Equal(t, op, reencode(t, dirty.NewManageRequest(1, op, 1)).(*dirty.ManageRequest).Op)
	}
}

// reencode encodes a message and returns what it decodes to.
func reencode(t *testing.T, m dirty.Message) dirty.Message {
	t.Helper()
	frame, err := dirty.AppendMessage(nil, m)
	require.NoError(t, err)
	decoded, _, err := dirty.DecodeMessage(frame)
	require.NoError(t, err)
	return decoded
}

// camel returns DeleteTable for delete_table.
func camel(name string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}
