package dirty_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestView reads single fields of a request.
func TestView(t *testing.T) {
	request := dirty.NewRequest(1, "app:App", "act", []any{int64(7), "seven", []byte{7}, 0.7, true, nil, []any{1.5, 2.5, "x"}}, map[string]any{"model": "m", "n": int64(3)})
	frame, err := dirty.AppendMessage(nil, request)
	require.NoError(t, err)
	v := dirty.View(frame[dirty.HeaderSize:])

	app, ok := v.Get("app_path").Text()
	assert.True(t, ok)
	assert.Equal(t, "app:App", string(app))
	assert.Equal(t, len(app), cap(app))
	model, ok := v.Get("kwargs").Get("model").Text()
	assert.True(t, ok && string(model) == "m")
	args := v.Get("args")
	n, ok := args.Len()
	assert.True(t, ok)
	assert.Equal(t, 7, n)
	i, ok := args.Index(0).Int64()
	assert.True(t, ok)
	assert.EqualValues(t, 7, i)
	b, ok := args.Index(2).Bytes()
	assert.True(t, ok)
	assert.Equal(t, []byte{7}, b)
	f, ok := args.Index(3).Float64()
	assert.True(t, ok)
	assert.Equal(t, 0.7, f)
	yes, ok := args.Index(4).Bool()
	assert.True(t, yes && ok)
	assert.True(t, args.Index(5).IsNone())
	x, ok := args.Index(6).Index(2).Text()
	assert.True(t, ok && string(x) == "x")
	var s string
	require.NoError(t, args.Index(1).Unmarshal(&s))
	assert.Equal(t, "seven", s)
	assert.Equal(t, raw(t, "seven"), args.Index(1).Raw())
	var keys []string
	for key, value := range v.Get("kwargs").Entries() {
		keys = append(keys, string(key))
		assert.NotNil(t, value)
	}
	assert.Equal(t, []string{"model", "n"}, keys)
	count := 0
	for range args.Elements() {
		if count++; count == 3 {
			break
		}
	}
	assert.Equal(t, 3, count)
}

// TestViewNothing checks the methods on values that are not there or of another kind.
func TestViewNothing(t *testing.T) {
	for name, v := range map[string]dirty.View{
		"nil": nil, "empty": {}, "no such kind": {0x7f, 1, 2, 3, 4, 5}, "short number": {5, 1, 2}, "short bool": {1},
		"short string": unhex(t, "11 00000005 61"), "short list": unhex(t, "20 00000002 00"), "short dict": unhex(t, "21 00000001 11 00000001 6b"),
		"huge list": unhex(t, "20 ffffffff 00"), "huge dict": unhex(t, "21 ffffffff 00"), "huge bytes": unhex(t, "10 ffffffff 00"),
		"key of another kind": unhex(t, "21 00000001 00 00"), "not UTF-8": unhex(t, "11 00000001 ff"), "key not UTF-8": unhex(t, "21 00000001 11 00000001 ff 00"),
		"deep": []byte(strings.Repeat("\x20\x00\x00\x00\x01", 1001) + "\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			_, ok := v.Text()
			assert.False(t, ok)
			_, ok = v.Bool()
			assert.False(t, ok)
			_, ok = v.Int64()
			assert.False(t, ok)
			_, ok = v.Float64()
			assert.False(t, ok)
			_, ok = v.Len()
			assert.False(t, ok)
			assert.False(t, v.IsNone())
			assert.Nil(t, v.Get("k"))
			assert.Nil(t, v.Index(-1))
			assert.Nil(t, v.Index(1))
			assert.Nil(t, v.Get("k").Index(3).Get("x"))
			for range v.Entries() {
				assert.Fail(t, "there are no entries")
			}
			if name != "not UTF-8" {
				assert.Nil(t, v.Raw())
			}
			var x any
			assert.Error(t, v.Unmarshal(&x))
		})
	}
	_, ok := dirty.View(nil).Kind()
	assert.False(t, ok)
	_, ok = dirty.View(raw(t, "text")).Bytes()
	assert.False(t, ok)
}

// TestViewRepeatedKeys checks that the last of equal keys counts.
func TestViewRepeatedKeys(t *testing.T) {
	v := dirty.View(raw(t, dirty.Dict{{"k", 1}, {"other", 2}, {"k", 3}}))
	n, ok := v.Get("k").Int64()
	assert.True(t, ok)
	assert.EqualValues(t, 3, n)
	// A fault behind the key hides it: the last one is not known.
	assert.Nil(t, v[:len(v)-1].Get("k"))
}

// TestViewAllocs checks that nothing is allocated.
func TestViewAllocs(t *testing.T) {
	v := dirty.View(raw(t, map[string]any{"list": []any{1, "a", []byte("b")}, "k": "v"}))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		text, ok := v.Get("k").Text()
		if !ok || string(text) != "v" {
			t.Fail()
		}
		_, _ = v.Get("list").Index(2).Bytes()
		_, _ = v.Len()
		for range v.Get("list").Elements() {
		}
		for range v.Entries() {
		}
		_ = v.Raw()
	}))
}

// compareView checks that a View of well-formed bytes returns what they decode to.
func compareView(t *testing.T, want any, v dirty.View) {
	t.Helper()
	var (
		got any
		ok  = true
	)
	switch want := want.(type) {
	case nil:
		ok = v.IsNone()
	case bool:
		got, ok = v.Bool()
	case int64:
		got, ok = v.Int64()
	case float64:
		f, isFloat := v.Float64()
		require.True(t, isFloat)
		require.Equal(t, math.Float64bits(want), math.Float64bits(f))
		return
	case []byte:
		got, ok = v.Bytes()
	case string:
		text, isText := v.Text()
		got, ok = string(text), isText
	case []any:
		n, isList := v.Len()
		require.True(t, isList)
		require.Len(t, want, n)
		i := 0
		for element := range v.Elements() {
			if i < 20 {
				require.Equal(t, element, v.Index(i))
			}
			compareView(t, want[i], element)
			i++
		}
		require.Len(t, want, i)
		require.Nil(t, v.Index(n))
		return
	case dirty.Dict:
		_, isDict := v.Len()
		require.True(t, isDict)
		for i, e := range want {
			if i < 20 {
				compareView(t, e.Value, v.Get(e.Key))
			}
		}
		for key := range v.Entries() {
			_, known := want.Get(string(key))
			require.True(t, known)
		}
		return
	}
	require.True(t, ok)
	require.Equal(t, want, got)
}

// FuzzView reads any bytes. Nothing panics or allocates much. From well-formed bytes it
// reads what Unmarshal decodes.
func FuzzView(f *testing.F) {
	addVectors(f, "values.json", "decode_only.json", "bad_values.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		v := dirty.View(data)
		var want any
		if err := (dirty.DecodeOptions{UseDict: true}).Unmarshal(data, &want); err == nil {
			compareView(t, want, v)
			require.Equal(t, data, []byte(v.Raw()))
			return
		}
		walkView(v, 0)
	})
}

// walkView calls every method of a View and of the values in it.
func walkView(v dirty.View, depth int) {
	_, _ = v.Kind()
	_ = v.IsNone()
	_, _ = v.Bool()
	_, _ = v.Int64()
	_, _ = v.Float64()
	_, _ = v.Bytes()
	_, _ = v.Text()
	_, _ = v.Len()
	_ = v.Raw()
	var x any
	_ = v.Unmarshal(&x)
	for i := range 3 {
		_ = v.Index(i)
	}
	if depth > 3 {
		return
	}
	n := 0
	for element := range v.Elements() {
		if n++; n > 5 {
			break
		}
		walkView(element, depth+1)
	}
	for key, value := range v.Entries() {
		if n++; n > 5 {
			break
		}
		walkView(v.Get(string(key)), depth+1)
		walkView(value, depth+1)
	}
}
