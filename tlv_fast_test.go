package dirty_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRuns decodes lists of runs of one kind after the other. The runs have all the
// lengths at which the decoder takes another path.
func TestRuns(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	makers := map[string]func() any{
		"int64":   func() any { return rng.Int64() - 1<<62 },
		"float64": func() any { return rng.NormFloat64() },
		"string":  func() any { return strings.Repeat("é", rng.IntN(70)) + fmt.Sprint(rng.IntN(100)) },
		"None":    func() any { return nil },
		"bool":    func() any { return rng.IntN(2) == 0 },
		"list":    func() any { return []any{rng.Int64()} },
		"dict":    func() any { return map[string]any{"k": fmt.Sprint(rng.IntN(3))} },
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 63, 64, 65, 72, 127, 255, 256, 257, 511, 512, 513, 777, 2000} {
		for first, makeFirst := range makers {
			for second, makeSecond := range makers {
				list := make([]any, 0, 2*n+1)
				for range n {
					list = append(list, makeFirst())
				}
				list = append(list, makeSecond())
				for range n % 11 {
					list = append(list, makeFirst())
				}
				data, err := dirty.Marshal(list)
				require.NoError(t, err)
				var got any
				require.NoError(t, dirty.Unmarshal(data, &got))
				require.Equal(t, any(list), got, "%d of %s, then %s", n, first, second)
			}
		}
	}
}

// TestTypedRuns is TestRuns for slices of Go types. One element has another kind,
// which may or may not fit.
func TestTypedRuns(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 5, 8, 9, 100} {
		for at := range n {
			ints, floats, strs := make([]any, n), make([]any, n), make([]any, n)
			wantInts, wantFloats, wantStrs := make([]int, n), make([]float64, n), make([]string, n)
			for i := range n {
				ints[i], floats[i], strs[i] = i, float64(i)+0.5, fmt.Sprint(i)
				wantInts[i], wantFloats[i], wantStrs[i] = i, float64(i)+0.5, fmt.Sprint(i)
			}
			ints[at], wantInts[at] = float64(7), 7
			floats[at], wantFloats[at] = 7, 7
			strs[at], wantStrs[at] = nil, ""

			// Nothing may be left of earlier elements.
			gotInts, gotFloats, gotStrs := []int{9, 9, 9, 9, 9, 9}, []float64{9, 9, 9, 9, 9, 9}, []string{"9", "9", "9", "9", "9", "9"}
			for _, test := range []struct{ in, got, want any }{
				{ints, &gotInts, &wantInts}, {floats, &gotFloats, &wantFloats}, {strs, &gotStrs, &wantStrs},
			} {
				data, err := dirty.Marshal(test.in)
				require.NoError(t, err)
				require.NoError(t, dirty.Unmarshal(data, test.got))
				require.Equal(t, test.want, test.got, "%d, other at %d", n, at)
			}

			ints[at] = "no number"
			data, err := dirty.Marshal(ints)
			require.NoError(t, err)
			for _, dst := range []any{new([]int), new([]int64), new([]float64)} {
				err := dirty.Unmarshal(data, dst)
				var fault *dirty.UnmarshalTypeError
				require.ErrorAs(t, err, &fault)
				require.Equal(t, fmt.Sprintf("[%d]", at), fault.Path)
			}
		}
	}
}

// TestIntegersOutOfRange checks that integers which do not fit their type are refused
// in runs as well.
func TestIntegersOutOfRange(t *testing.T) {
	large := int64(1) << 40
	data, err := dirty.Marshal([]int64{1, 2, 3, 4, 5, large, 6})
	require.NoError(t, err)
	var small []int32
	require.ErrorIs(t, dirty.Unmarshal(data, &small), dirty.ErrOverflow)
	assert.Equal(t, []int32{1, 2, 3, 4, 5}, small)

	var ints []int
	err = dirty.Unmarshal(data, &ints)
	if strconv.IntSize == 32 {
		require.ErrorIs(t, err, dirty.ErrOverflow)
		assert.Equal(t, []int{1, 2, 3, 4, 5}, ints)
		return
	}
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 3, 4, 5, int(large), 6}, ints)
}

// TestElementsShareNothing checks that an element stays as it is when everything else
// is gone or has changed, although elements of a list share arrays.
func TestElementsShareNothing(t *testing.T) {
	floats := make([]float64, 1000)
	for i := range floats {
		floats[i] = float64(i) + 0.25
	}
	data, err := dirty.Marshal(floats)
	require.NoError(t, err)
	var kept []any
	for i := range 100 {
		var v any
		require.NoError(t, dirty.Unmarshal(data, &v))
		list := v.([]any)
		kept = append(kept, list[i*10])
		for j := range list {
			list[j] = nil // must not reach the others
		}
	}
	clear(data)
	runtime.GC()
	for i, v := range kept {
		require.Equal(t, float64(i*10)+0.25, v)
	}
}

// TestRepeatedTexts decodes texts that repeat, which are remembered from message to
// message, and texts that do not.
func TestRepeatedTexts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	few := []string{"app:App", "run", "app:Bpp", "", "x", "é", strings.Repeat("long", 7), strings.Repeat("long", 8), strings.Repeat("long", 9)}
	for range 5000 {
		want := map[string]any{}
		for i := range 1 + rng.IntN(4) {
			text := few[rng.IntN(len(few))]
			if rng.IntN(3) == 0 {
				text = fmt.Sprint(rng.Int64())
			}
			want[fmt.Sprint(i)] = text
		}
		data, err := dirty.Marshal(want)
		require.NoError(t, err)
		var got any
		require.NoError(t, dirty.Unmarshal(data, &got))
		require.Equal(t, any(want), got)
		clear(data)
	}
}

// TestKeptString checks that a short string of a list does not keep the long ones in
// memory.
func TestKeptString(t *testing.T) {
	list := []any{"id"}
	for range 63 {
		list = append(list, strings.Repeat("x", 1<<18))
	}
	data, err := dirty.Marshal(list)
	require.NoError(t, err)
	var v any
	before := liveHeap()
	require.NoError(t, dirty.Unmarshal(data, &v))
	kept := v.([]any)[0]
	v = nil
	assert.Less(t, int64(liveHeap())-int64(before), int64(1<<20))
	assert.Equal(t, "id", kept)
	runtime.KeepAlive(data)
	runtime.KeepAlive(list)
}

// TestMapsOfChangingShapes encodes maps whose keys change all the time, although those
// of the last map are remembered. It compares them with sorted Dicts.
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

// TestSortedKeys: the keys of a map of any size are sorted, whatever they have in common.
func TestSortedKeys(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, prefix := range []string{"", "a", "\x00", "same 8 b", "same 8 b\x00", strings.Repeat("long", 20), "\u00e9"} {
		for size := range 70 {
			m := map[string]any{}
			for len(m) < size {
				key := make([]byte, rng.IntN(10))
				for i := range key {
					key[i] = "\x00aab"[rng.IntN(4)]
				}
				m[prefix+string(key)] = len(m)
			}
			want, err := dirty.Marshal(sortedDict(m))
			require.NoError(t, err)
			for range 3 {
				got, err := dirty.Marshal(m)
				require.NoError(t, err)
				require.Equal(t, want, got, "%d keys that begin with %q", size, prefix)
			}
		}
	}
}

// TestSortedManyKeys: the keys of a large map are sorted, too, when there are more entries
// than sorted has numbers for.
func TestSortedManyKeys(t *testing.T) {
	for _, size := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1} {
		m := make(map[string]any, size)
		for i := range size {
			m["key "+strconv.Itoa(i)] = nil
		}
		want, err := dirty.Marshal(sortedDict(m))
		require.NoError(t, err)
		got, err := dirty.Marshal(m)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%d keys", size)
	}
}

// randomMap returns a map of few or many keys, short or long ones, with maps in it.
func randomMap(rng *rand.Rand, depth int) map[string]any {
	m := map[string]any{}
	long := strings.Repeat("long", 20)
	size, keys := rng.IntN(11), 3+rng.IntN(10)
	if rng.IntN(8) == 0 {
		size, keys, depth = rng.IntN(60), 10+rng.IntN(40), 100 // with no map in it, or there would be very many
	}
	for range size {
		key := fmt.Sprint("k", rng.IntN(keys))
		if rng.IntN(50) == 0 {
			key += long
		}
		switch {
		case depth < 12 && rng.IntN(4) == 0:
			m[key] = randomMap(rng, depth+1)
		case size <= 11 && rng.IntN(8) == 0:
			m[key] = []any{rng.Int64(), randomMap(rng, 100)}
		default:
			m[key] = rng.IntN(100)
		}
	}
	return m
}

// sortedDict returns v with Dicts in place of the maps in it.
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

// TestErrorInMapOfKnownShape checks that errors are the same when the keys are
// remembered.
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
