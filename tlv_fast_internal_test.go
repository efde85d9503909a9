package dirty

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTextCacheGivesUp checks that texts that all differ are mostly passed over, and
// that texts that repeat are found again afterwards.
func TestTextCacheGivesUp(t *testing.T) {
	var c textCache
	looked := 0
	for i := range 10_000 {
		if c.shouldLook() {
			if looked++; looked%2 == 0 {
				continue // as if the text were too long
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
