package dirty_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMapsOfChangingShapes encodes maps whose keys change all the time, those
// of one map before being remembered for the next, and compares with the
// entries sorted one by one.
func TestMapsOfChangingShapes(t *testing.T) {
	var work sync.WaitGroup
	for seed := range uint64(4) {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 2000 {
				m := randomMap(rng, 0)
				got, err := dirty.Marshal(m)
				if !assert.NoError(t, err) {
					return
				}
				want, err := dirty.Marshal(sortedDict(m))
				if !assert.NoError(t, err) || !assert.Equal(t, want, got) {
					return
				}
			}
		})
	}
	work.Wait()
}

// randomMap makes maps of few and of many, short and long keys, inside each
// other.
func randomMap(rng *rand.Rand, depth int) map[string]any {
	m := map[string]any{}
	long := strings.Repeat("long", 20)
	for range rng.IntN(11) {
		key := fmt.Sprint("k", rng.IntN(3+rng.IntN(10)))
		if rng.IntN(50) == 0 {
			key += long
		}
		switch {
		case depth < 12 && rng.IntN(4) == 0:
			m[key] = randomMap(rng, depth+1)
		case rng.IntN(8) == 0:
			m[key] = []any{rng.Int64(), randomMap(rng, 100)}
		default:
			m[key] = rng.IntN(100)
		}
	}
	return m
}

// sortedDict is the Dict of a map and of the maps inside it.
func sortedDict(v any) any {
	switch v := v.(type) {
	case map[string]any:
		d := dirty.Dict{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			d = append(d, dirty.Entry{Key: k, Value: sortedDict(v[k])})
		}
		return d
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = sortedDict(v[i])
		}
		return list
	}
	return v
}

// TestErrorInMapOfKnownShape: an error is told in the same way when the keys
// were seen before.
func TestErrorInMapOfKnownShape(t *testing.T) {
	good := map[string]any{"a": 1, "b": map[string]any{"x": 1, "y": 2}}
	bad := map[string]any{"a": 1, "b": map[string]any{"x": 1, "y": make(chan int)}}
	for range 3 {
		_, err := dirty.Marshal(bad)
		var fault *dirty.MarshalError
		require.ErrorAs(t, err, &fault)
		assert.Equal(t, "b.y", fault.Path)
		_, err = dirty.Marshal(map[string]any{"bad\xff": 1, "c": 2})
		require.ErrorIs(t, err, dirty.ErrInvalidUTF8)
		_, err = dirty.Marshal(good)
		require.NoError(t, err)
	}

	small := dirty.EncodeOptions{Limits: dirty.Limits{MaxPayload: 50}}
	wide := map[string]any{strings.Repeat("k", 40): 1, "a": "0123456789"}
	_, first := small.Marshal(wide)
	require.ErrorIs(t, first, dirty.ErrTooLarge)
	_, err := dirty.Marshal(wide)
	require.NoError(t, err)
	_, again := small.Marshal(wide)
	require.EqualError(t, again, first.Error())

	cycle := map[string]any{"a": 1}
	cycle["self"] = cycle
	for range 2 {
		_, err := dirty.Marshal(cycle)
		require.ErrorIs(t, err, dirty.ErrUnsupportedType)
		assert.ErrorContains(t, err, "contains itself")
	}
}
