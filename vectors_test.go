package dirty_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/interop/notation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The files in testdata/vectors were made by real gunicorn, whose releases
// each file names; docs/SPEC.md describes the notation.

// vector is a line of any of the files.
type vector struct {
	Name   string
	Hex    string
	Value  json.RawMessage
	Reason string // why the bytes are refused

	// Of headers and messages; type is a number or a name.
	Type    any
	Length  uint32
	ID      string
	Fields  map[string]json.RawMessage
	Payload json.RawMessage
}

func readVectors(t *testing.T, file string, atLeast int) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", file))
	require.NoError(t, err)
	var content struct{ Vectors []vector }
	require.NoError(t, json.Unmarshal(text, &content))
	require.GreaterOrEqual(t, len(content.Vectors), atLeast, "vectors are missing from %s", file)
	return content.Vectors
}

func (v vector) bytes(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Hex)
	require.NoError(t, err, v.Name)
	return b
}

func (v vector) id(t *testing.T) uint64 {
	t.Helper()
	id, err := strconv.ParseUint(v.ID, 10, 64)
	require.NoError(t, err, v.Name)
	return id
}

// vectorValue reads the notation of values; dicts become dirty.Dict.
func vectorValue(t *testing.T, text json.RawMessage) any {
	t.Helper()
	v, err := notation.Parse(text)
	require.NoError(t, err)
	return v
}

// deep encodes what is deeper than the default allows; gunicorn does not
// stop where it would not read the value itself.
var deep = dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: dirty.DefaultMaxDepth}}

// encoded is the encoding of a value, which tells values apart to the bit.
func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := deep.Marshal(v)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

func TestVectorsValues(t *testing.T) {
	for _, v := range readVectors(t, "values.json", 1500) {
		want := vectorValue(t, v.Value)
		assert.Equal(t, v.Hex, encoded(t, want), "encoding %s", v.Name)
		checkDecodes(t, v, want)
	}
}

func TestVectorsDecodeOnly(t *testing.T) {
	for _, v := range readVectors(t, "decode_only.json", 50) {
		checkDecodes(t, v, vectorValue(t, v.Value))
	}
}

// checkDecodes holds every way of decoding against the value that gunicorn
// decodes to.
func checkDecodes(t *testing.T, v vector, want any) {
	t.Helper()
	data := v.bytes(t)
	assert.NoError(t, dirty.Validate(data), v.Name)

	var ordered any
	require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(data, &ordered), v.Name)
	assert.Equal(t, encoded(t, want), encoded(t, ordered), "decoding %s to Dict", v.Name)

	var plain any
	require.NoError(t, dirty.Unmarshal(data, &plain), v.Name)
	assert.Equal(t, encoded(t, toMaps(want)), encoded(t, plain), "decoding %s to map", v.Name)
}

// toMaps replaces each Dict by a map.
func toMaps(v any) any {
	switch v := v.(type) {
	case dirty.Dict:
		m := make(map[string]any, len(v))
		for _, e := range v {
			m[e.Key] = toMaps(e.Value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = toMaps(v[i])
		}
		return list
	}
	return v
}

// reasons are the sentinels for what gunicorn finds wrong. Where there are
// several faults ours may be another one: a count that cannot be is found
// before what follows it.
var reasons = map[string]error{
	"short": io.ErrUnexpectedEOF, "incomplete": io.ErrUnexpectedEOF, "bad_magic": dirty.ErrBadMagic,
	"bad_version": dirty.ErrBadVersion, "unknown_type": dirty.ErrUnknownType, "too_large": dirty.ErrTooLarge,
	"too_deep": dirty.ErrTooDeep, "truncated": dirty.ErrMalformed, "unknown_kind": dirty.ErrMalformed,
	"bad_key": dirty.ErrMalformed, "invalid_utf8": dirty.ErrInvalidUTF8, "trailing": dirty.ErrTrailingData,
}

func TestVectorsBadValues(t *testing.T) {
	for _, v := range readVectors(t, "bad_values.json", 1000) {
		data := v.bytes(t)
		err := dirty.Validate(data)
		checkReason(t, v, err)

		var x any
		assert.Equal(t, err, dirty.Unmarshal(data, &x), v.Name)
		assert.Nil(t, x, v.Name)
	}
}

func checkReason(t *testing.T, v vector, err error) {
	t.Helper()
	require.Error(t, err, v.Name)
	want, ok := reasons[v.Reason]
	require.True(t, ok, "no sentinel for the reason %q of %s", v.Reason, v.Name)
	var fault *dirty.ProtocolError
	require.ErrorAs(t, err, &fault, v.Name)
	if fault.Rule == "bytes left for a list of this count" || fault.Rule == "bytes left for a dict of this count" {
		return
	}
	assert.ErrorIs(t, err, want, v.Name)
}

func TestVectorsHeaders(t *testing.T) {
	for _, v := range readVectors(t, "headers.json", 100) {
		want := dirty.Header{Type: dirty.MessageType(v.Type.(float64)), Length: v.Length, RequestID: v.id(t)}
		b, err := want.MarshalBinary()
		require.NoError(t, err, v.Name)
		assert.Equal(t, v.Hex, hex.EncodeToString(b), v.Name)
		got, err := dirty.ParseHeader(v.bytes(t))
		require.NoError(t, err, v.Name)
		assert.Equal(t, want, got, v.Name)
	}
}

func TestVectorsBadHeaders(t *testing.T) {
	for _, v := range readVectors(t, "bad_headers.json", 300) {
		_, err := dirty.ParseHeader(v.bytes(t))
		checkReason(t, v, err)
	}
}

func TestVectorsMessages(t *testing.T) {
	for _, v := range readVectors(t, "messages.json", 300) {
		data := v.bytes(t)
		want := v.message(t)
		got, err := dirty.AppendMessage(nil, want)
		require.NoError(t, err, v.Name)
		assert.Equal(t, v.Hex, hex.EncodeToString(got), "encoding %s", v.Name)

		m, n, err := dirty.DecodeOptions{UseDict: true}.DecodeMessage(data)
		require.NoError(t, err, v.Name)
		assert.Equal(t, len(data), n, v.Name)
		assert.Equal(t, v.Type, m.Type().String(), v.Name)
		again, err := dirty.AppendMessage(nil, m)
		require.NoError(t, err, v.Name)
		assert.Equal(t, v.Hex, hex.EncodeToString(again), "decoding and encoding %s", v.Name)
	}
}

// message builds the message from the fields that gunicorn was given.
func (v vector) message(t *testing.T) dirty.Message {
	t.Helper()
	fields := map[string]any{}
	for name, text := range v.Fields {
		fields[name] = vectorValue(t, text)
	}
	m, err := notation.Message(v.Type.(string), v.id(t), fields)
	require.NoError(t, err, v.Name)
	return m
}

func TestVectorsBadMessages(t *testing.T) {
	for _, v := range readVectors(t, "bad_messages.json", 100) {
		data := v.bytes(t)
		m, n, err := dirty.DecodeMessage(data)
		checkReason(t, v, err)
		assert.Nil(t, m, v.Name)

		var fault *dirty.ProtocolError
		require.ErrorAs(t, err, &fault)
		if fault.Fatal {
			assert.Zero(t, n, v.Name)
		} else {
			assert.Equal(t, dirty.HeaderSize+int(fault.Header.Length), n, v.Name)
		}
		_, err = dirty.NewReader(bytes.NewReader(data)).ReadMessage()
		if len(data) == 0 {
			assert.Equal(t, io.EOF, err)
		} else {
			assert.Error(t, err, v.Name)
		}
	}
}
