package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// TestEveryType: each type of message that the library knows has a direction.
// A type that is new must be put into direction, and into the list here.
func TestEveryType(t *testing.T) {
	want := map[dirty.MessageType]byte{
		dirty.TypeRequest: '>', dirty.TypeResponse: '<', dirty.TypeError: '<', dirty.TypeChunk: '<', dirty.TypeEnd: '<',
		dirty.TypeStash: '>', dirty.TypeStatus: '>', dirty.TypeManage: '>',
	}
	for i := range 256 {
		typ := dirty.MessageType(i)
		if _, err := dirty.ParseMessageType(typ.String()); err != nil {
			assert.EqualValues(t, unknownDirection, direction(typ), "%v", typ)
			continue
		}
		require.Contains(t, want, typ)
		assert.Equal(t, want[typ], direction(typ), "%v", typ)
		got := dirtyRun(frameOf(t, typ, 1, ""), "decode", "-")
		assert.Equal(t, string(want[typ])+" "+typ.String()+" id=1 size=0\n", got.stdout)
	}
}

// TestEveryKind: each kind of value that the library knows is among the values
// that are tested in both notations.
func TestEveryKind(t *testing.T) {
	seen := map[dirty.Kind]bool{}
	for _, v := range values(t) {
		seen[dirty.Kind(v.payload[0])] = true
	}
	for i := range 256 {
		kind := dirty.Kind(i)
		known := !strings.HasPrefix(kind.String(), "Kind(")
		assert.Equal(t, known, seen[kind], "%v", kind)
	}
}

// TestTextIsDiagnosis: the text form is the notation of dirty.Diagnose, but for
// the escapes in strings.
func TestTextIsDiagnosis(t *testing.T) {
	for _, v := range values(t) {
		want := dirty.Diagnose([]byte(v.payload))
		if strings.Contains(want, `\`) {
			continue
		}
		var got strings.Builder
		require.NoError(t, writePayload(&got, []byte(v.payload), false))
		assert.Equal(t, want, got.String(), v.name)
		for n := range len(v.payload) {
			got.Reset()
			writeBroken(&got, []byte(v.payload)[:n])
			assert.Equal(t, dirty.Diagnose([]byte(v.payload)[:n]), got.String(), "%s cut at %d", v.name, n)
		}
	}
}
