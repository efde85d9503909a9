package notation_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/interop/notation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNotationBothWays(t *testing.T) {
	for text, want := range map[string]any{
		`null`:                             nil,
		`true`:                             true,
		`"text"`:                           "text",
		`[null,[]]`:                        []any{nil, []any{}},
		`{"int":"-5"}`:                     int64(-5),
		`{"int":"9223372036854775807"}`:    int64(math.MaxInt64),
		`{"float":"3ff8000000000000"}`:     1.5,
		`{"float":"8000000000000000"}`:     math.Copysign(0, -1),
		`{"bytes":"00ff"}`:                 []byte{0, 255},
		`{"dict":[]}`:                      dirty.Dict{},
		`{"dict":[["b",null],["b",true]]}`: dirty.Dict{{Key: "b"}, {Key: "b", Value: true}},
	} {
		got, err := notation.Parse([]byte(text))
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		plain, err := notation.ToJSON(got)
		require.NoError(t, err, text)
		again, err := json.Marshal(plain)
		require.NoError(t, err, text)
		assert.Equal(t, text, string(again))
	}
}

// TestIntOutOfRange: what no int64 holds is kept, for tests of its refusal.
func TestIntOutOfRange(t *testing.T) {
	got, err := notation.Parse([]byte(`{"int":"9223372036854775808"}`))
	require.NoError(t, err)
	assert.Equal(t, uint64(1<<63), got)
}

func TestNotationRefuses(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `1`, `{"int":5}`, `{"int":"x"}`, `{"int":"-9223372036854775809"}`, `{"int":"18446744073709551616"}`,
		`{"float":"x"}`, `{"bytes":"0"}`, `{"set":"1"}`, `{"set":[]}`, `{"int":"1","float":"0"}`, `[{}]`,
		`{"dict":[1]}`, `{"dict":[["a"]]}`, `{"dict":[[1,null]]}`, `{"dict":[["a",{}]]}`,
	} {
		_, err := notation.Parse([]byte(text))
		assert.Error(t, err, text)
	}
	for _, v := range []any{1, []any{1}, dirty.Dict{{Key: "a", Value: 1}}, map[string]any{}} {
		_, err := notation.ToJSON(v)
		assert.Error(t, err, "%T", v)
	}
}

func TestMessage(t *testing.T) {
	got, err := notation.Message("request", 7, map[string]any{"app_path": "a:A", "args": []any{true}})
	require.NoError(t, err)
	assert.Equal(t, dirty.NewRequest(7, "a:A", "", []any{true}, nil), got)
	got, err = notation.Message("manage", 7, map[string]any{"op": int64(1)})
	require.NoError(t, err)
	assert.Equal(t, dirty.NewManageRequest(7, dirty.ManageAdd, 1), got)

	for typ, fields := range map[string]map[string]any{
		"nonsense": nil,
		"request":  {"args": "text"},
		"error":    {"error": dirty.Dict{{Key: "message", Value: int64(1)}}},
		"manage":   {"op": "1"},
	} {
		_, err := notation.Message(typ, 1, fields)
		assert.Error(t, err, typ)
	}
	_, err = notation.Message("nonsense", 1, nil)
	require.ErrorIs(t, err, dirty.ErrUnknownType)
}
