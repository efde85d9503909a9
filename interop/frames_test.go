//go:build unix

package interop

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// vector is what the tests here need of a line in testdata/vectors.
type vector struct {
	Name string `json:"name"`
	Hex  string `json:"hex"`
}

func (v vector) bytes(t testing.TB) []byte {
	t.Helper()
	data, err := hex.DecodeString(v.Hex)
	require.NoError(t, err, v.Name)
	return data
}

func readVectors(t testing.TB, name string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
	require.NoError(t, err)
	var file struct {
		Vectors []vector `json:"vectors"`
	}
	require.NoError(t, json.Unmarshal(text, &file))
	require.NotEmpty(t, file.Vectors)
	return file.Vectors
}

// TestFramesOfVectors decodes each message of the vectors and encodes it again. Then
// gunicorn decodes and encodes that. All three must be equal.
func TestFramesOfVectors(t *testing.T) {
	vectors := readVectors(t, "messages.json")
	eachPython(t, func(t *testing.T, p python) {
		o := oracleOf(t, p)
		for _, v := range vectors {
			frame := v.bytes(t)
			m, _, err := dirty.DecodeOptions{UseDict: true}.DecodeMessage(frame)
			require.NoError(t, err, v.Name)
			ours, err := dirty.AppendMessage(nil, m)
			require.NoError(t, err, v.Name)
			require.Equal(t, frame, ours, v.Name)
			verdict, theirs := o.ask(t, askFrame, ours)
			require.Equal(t, string(isValid), string(verdict), "%s: %s", v.Name, theirs)
			require.Equal(t, ours, theirs, v.Name)
		}
	})
}

// TestFramesOfGo is the same for messages that come from Go values.
func TestFramesOfGo(t *testing.T) {
	values := []any{
		nil, true, -1, uint64(math.MaxInt64), float32(1.5), math.NaN(), "水", []byte{0, 255}, [3]byte{1, 2, 3},
		[]string{"a", "b"}, []any{1, nil}, map[string]int{"z": 1, "a": 2}, map[int]string{2: "two", 10: "ten"},
		map[bool]any{true: nil}, (*int)(nil), []int(nil),
		struct {
			Name   string `dirty:"name"`
			Scores []float64
			Empty  string `dirty:"empty,omitempty"`
			hidden int
		}{Name: "n", Scores: []float64{0.5}},
		dirty.Dict{{Key: "z", Value: dirty.Dict{}}, {Key: "a", Value: dirty.RawValue{0x00}}},
	}
	var messages []dirty.Message
	for i, value := range values {
		id := uint64(i) << 56
		messages = append(
			messages,
			dirty.NewRequest(id, app, "run", []any{value, value}, map[string]any{"value": value, "a": value}),
			dirty.NewResponse(id, value), dirty.NewChunk(id, value),
			// In a list, because gunicorn leaves out a value that is None.
			dirty.NewStashRequest(id, dirty.StashPut, "table", "key", []any{value}, "*"),
			dirty.NewErrorReply(id, &dirty.RemoteError{Type: "Own", Message: "m", Details: map[string]any{"value": value, "a": 1}}),
		)
	}
	for _, kind := range kinds {
		messages = append(messages, dirty.NewErrorReply(1, kind))
	}
	for op := dirty.StashPut; op <= dirty.StashExists; op++ {
		messages = append(messages, dirty.NewStashRequest(2, op, "table", "key", nil, ""), dirty.NewStashRequest(3, op, "", nil, nil, ""))
	}
	messages = append(
		messages, dirty.NewRequest(4, "", "", nil, nil), dirty.NewEnd(math.MaxUint64), dirty.NewStatusRequest(0),
		dirty.NewManageRequest(5, dirty.ManageAdd, 1), dirty.NewManageRequest(6, dirty.ManageRemove, -3), dirty.NewErrorReply(7, nil),
	)
	eachPython(t, func(t *testing.T, p python) {
		o := oracleOf(t, p)
		for _, m := range messages {
			ours, err := dirty.AppendMessage(nil, m)
			require.NoError(t, err)
			verdict, theirs := o.ask(t, askFrame, ours)
			require.Equal(t, string(isValid), string(verdict), "%+v: %s", m, theirs)
			assert.Equal(t, ours, theirs, "%+v", m)
		}
	})
}

// TestHeaders compares which headers gunicorn and we accept, of every type byte.
func TestHeaders(t *testing.T) {
	vectors := append(readVectors(t, "headers.json"), readVectors(t, "bad_headers.json")...)
	eachPython(t, func(t *testing.T, p python) {
		o := oracleOf(t, p)
		for _, v := range vectors {
			data := v.bytes(t)
			verdict, theirs := o.ask(t, askHeader, data)
			h, err := dirty.ParseHeader(data)
			require.Equal(t, verdict == isValid, err == nil, "%s: %v, %s", v.Name, err, theirs)
			if err == nil {
				ours, err := h.AppendBinary(nil)
				require.NoError(t, err, v.Name)
				require.Equal(t, theirs, ours, v.Name)
			}
		}
	})
}
