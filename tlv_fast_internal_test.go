package dirty

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTextCacheGivesUp: texts that differ all the time are mostly left alone,
// and those that repeat are found again after any number of others.
func TestTextCacheGivesUp(t *testing.T) {
	var c textCache
	looked := 0
	for i := range 10_000 {
		if c.shouldLook() {
			if looked++; looked%2 == 0 {
				continue // too long, say
			}
			text := strconv.Itoa(i)
			require.Equal(t, text, c.get([]byte(text)))
		}
	}
	assert.Less(t, looked, 10_000/50)
	assert.Greater(t, looked, 10_000/100)

	looked = 0
	for range 1000 {
		if c.shouldLook() {
			looked++
			require.Equal(t, "same", c.get([]byte("same")))
		}
	}
	assert.Greater(t, looked, 1000-2*maxPassedOver-2)
}

// TestEncodersKeepNoKeys: the keys of maps inside each other move while they
// are collected, and nothing of them stays behind.
func TestEncodersKeepNoKeys(t *testing.T) {
	m := map[string]any{}
	for i := range 20 {
		m["outer"+strconv.Itoa(i)] = map[string]any{"a": 1, "b": 2, "c": strconv.Itoa(i), strconv.Itoa(i): nil}
	}
	for _, message := range []Message{NewResponse(1, m), NewErrorReply(1, &RemoteError{Type: "E", Details: m})} {
		e := newEncoder(Limits{}, 0)
		_, err := e.message(nil, message)
		require.NoError(t, err)
		assert.Empty(t, e.keys)
		for _, key := range e.keys[:cap(e.keys)] {
			require.Empty(t, key)
		}
		e.release()
	}
}
