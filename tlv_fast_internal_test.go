package dirty

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

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

// TestFieldKeyAccept: a name is accepted if just its bytes come next, whatever its
// length and whatever follows.
func TestFieldKeyAccept(t *testing.T) {
	for n := range 2 * fieldBlockSize {
		name := strings.Repeat("x", n)
		k := newFieldKey(name)
		for _, rest := range []string{"", "\x00", strings.Repeat("\xff", 40)} {
			c := cursor{data: append(AppendString(nil, name), rest...)}
			require.True(t, k.accept(&c), "%d bytes", n)
			require.Equal(t, rest, string(c.data[c.off:]))
			for i := range len(k.encoded) {
				c := cursor{data: append(AppendString(nil, name), rest...)}
				c.data[i] ^= 0x80
				require.False(t, k.accept(&c), "byte %d of %d", i, n)
				require.Zero(t, c.off)
			}
			c = cursor{data: append(AppendString(nil, name+"y"), rest...)}
			require.False(t, k.accept(&c), "a longer name than %d bytes", n)
		}
		c := cursor{data: k.encoded[:len(k.encoded)-1]}
		require.False(t, k.accept(&c), "cut off")
	}
}

type ownNumber int64

func (*ownNumber) UnmarshalTLV([]byte) error { return nil }

// TestUsualKind: only types that take each value of the kind as it is have one.
func TestUsualKind(t *testing.T) {
	type named string
	for typ, want := range map[reflect.Type]Kind{
		reflect.TypeFor[int64]():         KindInt64,
		reflect.TypeFor[float64]():       KindFloat64,
		reflect.TypeFor[string]():        KindString,
		reflect.TypeFor[named]():         KindString,
		reflect.TypeFor[int32]():         KindNone,
		reflect.TypeFor[uint64]():        KindNone,
		reflect.TypeFor[float32]():       KindNone,
		reflect.TypeFor[bool]():          KindNone,
		reflect.TypeFor[time.Duration](): KindNone,
		reflect.TypeFor[json.Number]():   KindNone,
		reflect.TypeFor[ownNumber]():     KindNone,
		reflect.TypeFor[*string]():       KindNone,
		reflect.TypeFor[any]():           KindNone,
	} {
		assert.Equal(t, want, usualKind(typ), typ)
	}
	assert.Equal(t, strconv.IntSize == 64, usualKind(reflect.TypeFor[int]()) == KindInt64)
}
