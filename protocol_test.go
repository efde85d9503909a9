package dirty_test

import (
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestProtocolNumbers holds the constants against gunicorn's.
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
