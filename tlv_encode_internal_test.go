package dirty

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEncodersKeepNoEntries checks that an encoder does not keep entries of maps. They are
// collected on a stack, which moves when maps inside maps make it grow.
func TestEncodersKeepNoEntries(t *testing.T) {
	m := map[string]any{}
	for i := range 20 {
		m["outer"+strconv.Itoa(i)] = map[string]any{"a": 1, "b": 2, "c": strconv.Itoa(i), strconv.Itoa(i): nil}
	}
	for _, message := range []Message{NewResponse(1, m), NewErrorReply(1, &RemoteError{Type: "E", Details: m})} {
		e := newEncoder(Limits{}, 0)
		_, err := e.message(nil, message)
		require.NoError(t, err)
		assert.Empty(t, e.entries)
		for _, entry := range e.entries[:cap(e.entries)] {
			require.Empty(t, entry)
		}
		e.release()
	}
}
