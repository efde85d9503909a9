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

// TestNameCacheGivesUp checks that keys that all differ are mostly passed over, and that
// keys that repeat are found again afterwards.
func TestNameCacheGivesUp(t *testing.T) {
	var c nameCache
	remembered := func(key string) bool {
		name, ok := c.get([]byte(key))
		if ok {
			require.Equal(t, key, name)
		} else {
			require.Empty(t, name)
		}
		return ok
	}
	n := 0
	for i := range 10_000 {
		if remembered(strconv.Itoa(i)) {
			n++
		}
	}
	assert.Less(t, n, 10_000/25)
	assert.Greater(t, n, 10_000/50)

	n = 0
	for i := range 10_000 {
		if remembered("key " + strconv.Itoa(i%3)) {
			n++
		}
	}
	assert.Greater(t, n, 10_000-4*namePassedOver)

	assert.False(t, remembered(""))
	assert.False(t, remembered(strings.Repeat("x", maxCachedName+1)))
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

// TestFirstBytes: the numbers of two texts have the order of the texts, or are equal.
func TestFirstBytes(t *testing.T) {
	var texts []string
	for n := range 12 {
		for at := range n + 1 {
			for _, b := range []string{"\x00", "a", "b", "\xff"} {
				texts = append(texts, (strings.Repeat("a", at) + b + strings.Repeat("b", n))[:n])
			}
		}
	}
	for _, a := range texts {
		for _, b := range texts {
			if x, y := firstBytes(a), firstBytes(b); x < y {
				require.Less(t, a, b)
			} else if x == y {
				zeros := strings.Repeat("\x00", 8)
				require.Equal(t, (a + zeros)[:8], (b + zeros)[:8])
			}
		}
	}
}

// TestShapesFollowATurn: where maps of a few shapes come in turn, each is looked up once.
func TestShapesFollowATurn(t *testing.T) {
	var set shapeSet
	maps := make([]map[string]any, maxShapeWays)
	for i := range maps {
		key := "key " + strconv.Itoa(i)
		maps[i] = map[string]any{key: i}
		require.Nil(t, set.find(maps[i], make([]any, 1)))
		set.next().add(key)
	}
	for turn := range 3 {
		for i, m := range maps {
			guess := &set.ways[set.ways[set.last].next]
			values := make([]any, 1)
			require.NotNil(t, set.find(m, values))
			require.Equal(t, []any{i}, values)
			if turn > 0 {
				require.Same(t, &set.ways[set.last], guess)
			}
		}
	}
}

// TestShapesGiveUp: where all maps differ, few are looked up. Maps that repeat are
// found again afterwards.
func TestShapesGiveUp(t *testing.T) {
	var set shapeSet
	find := func(key string) (looked, found bool) {
		if !set.shouldLook() {
			return false, false
		}
		if set.find(map[string]any{key: 1}, make([]any, 1)) != nil {
			return true, true
		}
		if way := set.next(); way != nil {
			way.add(key)
		}
		return true, false
	}
	const n = 100_000
	looks := 0
	for i := range n {
		looked, found := find(strconv.Itoa(i))
		require.False(t, found)
		if looked {
			looks++
		}
	}
	assert.Less(t, looks, n/200)
	assert.Greater(t, looks, n/400)

	missed := 0
	for range 2 * maxShapeRest {
		if _, found := find("same"); !found {
			missed++
		}
	}
	assert.LessOrEqual(t, missed, maxShapeRest+1)
	assert.Zero(t, set.lastRest)
}
