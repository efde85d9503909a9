package dirty_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnmarshalOwnership checks that results do not change when the data does.
func TestUnmarshalOwnership(t *testing.T) {
	large := strings.Repeat("large", 40_000)
	tree := map[string]any{"key": []any{"short", large, []byte("bytes"), []byte(large), map[string]any{large: "v"}}, "s": strings.Repeat("m", 100)}
	type typed struct {
		Key dirty.RawValue
		S   string
	}
	for _, opts := range []dirty.DecodeOptions{{}, {UseDict: true}} {
		data := mustMarshal(t, tree)
		want := append([]byte{}, data...)
		var got any
		var text typed
		var self dSelf
		var m map[string]dirty.RawValue
		for _, dst := range []any{&got, &text, &self, &m} {
			require.NoError(t, opts.Unmarshal(data, dst))
		}
		for i := range data {
			data[i] = 'x'
		}
		assert.Equal(t, want, mustMarshal(t, got))
		assert.Equal(t, want, self.raw)
		assert.Equal(t, want, mustMarshal(t, m))
		assert.Equal(t, tree["s"], text.S)
		assert.Equal(t, mustMarshal(t, tree["key"]), []byte(text.Key))
	}
	a := mustMarshal(t, []any{[]byte("one"), []byte("two")}) // appending to a part changes no other part
	var got []any
	require.NoError(t, dirty.Unmarshal(a, &got))
	_ = append(got[0].([]byte), "XXX"...)
	assert.Equal(t, []any{[]byte("one"), []byte("two")}, got)
	nested := mustMarshal(t, []any{[]any{1}, []any{2}})
	require.NoError(t, dirty.Unmarshal(nested, &got))
	_ = append(got[0].([]any), "X")
	assert.Equal(t, []any{[]any{int64(1)}, []any{int64(2)}}, got)
}

// TestUnmarshalPools makes many different calls, one after the other and at once. They
// share pools, but no call may affect another one.
func TestUnmarshalPools(t *testing.T) {
	type row struct {
		Name string
		Tags []string
		M    map[string]any
	}
	calls := []func() (got, want any){}
	for i := range 40 {
		name := strings.Repeat(string(rune('a'+i%26)), 2+i)
		tree := map[string]any{name: []any{name, int64(i), []any{name + "1", name + "2"}}, "k": name}
		data := mustMarshal(t, tree)
		typed := row{name, []string{name, name + "x"}, map[string]any{name: name}}
		typedData := mustMarshal(t, typed)
		calls = append(calls,
			func() (any, any) { var v any; assert.NoError(t, dirty.Unmarshal(data, &v)); return v, tree },
			func() (any, any) { var v row; assert.NoError(t, dirty.Unmarshal(typedData, &v)); return v, typed },
			func() (any, any) {
				var v any // the first call fails halfway
				assert.Error(t, dirty.Unmarshal(typedData, &struct{ Name, Tags string }{}))
				assert.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(data, &v))
				return mustMarshal(t, toMaps(v)), data
			})
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var results [][2]any
			for i := range 2 * len(calls) {
				got, want := calls[(i*7+g*13)%len(calls)]()
				results = append(results, [2]any{got, want})
			}
			for _, r := range results { // after all others had their turn
				assert.Equal(t, r[1], r[0])
			}
		})
	}
	wg.Wait()
}

// TestDecodeLeniency decodes what gunicorn's decoder tolerates.
func TestDecodeLeniency(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      any
	}{
		{"bool 02", "01 02", true},
		{"bool ff", "01 ff", true},
		{"duplicates: the last value", "21 00000002 11 00000001 61 01 00 11 00000001 61 01 01", map[string]any{"a": true}},
		{"duplicates: to None", "21 00000002 11 00000001 61 01 00 11 00000001 61 00", map[string]any{"a": nil}},
	} {
		var got any
		require.NoError(t, dirty.Unmarshal(unhex(t, tt.hex), &got), tt.name)
		assert.Equal(t, tt.want, got, tt.name)
	}
	var d any // a Dict keeps the first position of a key
	require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(
		unhex(t, "21 00000003 11 00000001 61 01 00 11 00000001 62 00 11 00000001 61 01 01"), &d))
	assert.Equal(t, dirty.Dict{{Key: "a", Value: true}, {Key: "b"}}, d)
	long := dirty.AppendDictHeader(nil, 60)
	for i := range 60 {
		long = dirty.AppendInt64(dirty.AppendString(long, string(rune('a'+i%30))), int64(i))
	}
	require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(long, &d))
	require.Len(t, d, 30)
	for i, e := range d.(dirty.Dict) {
		assert.Equal(t, dirty.Entry{Key: string(rune('a' + i)), Value: int64(i + 30)}, e)
	}
}
