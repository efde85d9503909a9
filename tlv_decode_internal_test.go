package dirty

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestUnreadableKind checks that a kind which the checker accepts by mistake panics
// where it is read, and does not become nil.
func TestUnreadableKind(t *testing.T) {
	d := builder{cursor: cursor{data: []byte{0x7f}}}
	const want = "dirty: values of kind Kind(0x7f) were accepted but cannot be read"
	assert.PanicsWithValue(t, want, func() { d.any() })
	assert.PanicsWithValue(t, want, func() { d.skip() })
}
