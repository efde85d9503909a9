package dirty_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnmarshalSliceReuse checks that slices keep their memory and nothing of their
// earlier elements.
func TestUnmarshalSliceReuse(t *testing.T) {
	type item struct {
		A, B int
		C    []int
		D    map[string]int
	}
	old := func() []item {
		return []item{{1, 2, []int{3}, map[string]int{"x": 1}}, {4, 5, []int{6}, nil}, {7, 8, nil, nil}}[:1]
	}
	got := old()
	first := &got[0]
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{map[string]any{"A": 9}, map[string]any{}}), &got))
	assert.Equal(t, []item{{A: 9}, {}}, got, "nothing of the old elements is left")
	assert.Same(t, first, &got[0], "the memory is used again")

	numbers := []float64{1, 2, 3}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{nil, 5}), &numbers))
	assert.Equal(t, []float64{0, 5}, numbers)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{}), &numbers))
	assert.Equal(t, []float64{}, numbers)
	texts := []dText{{"old"}, {"old"}}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &texts))
	assert.Equal(t, []dText{{"text:a"}, {}}, texts)

	more, counts := []dMore{"old", "old"}, []dCount{7, 7}
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &more))
	assert.Equal(t, []dMore{"a", ""}, more)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, []any{"a", nil}), &counts))
	assert.Equal(t, []dCount{1, 1}, counts)

	// An error leaves what came before it and nothing that was there before.
	bad := mustMarshal(t, []any{1, "x", 1})
	for _, dst := range []any{&[]int{7, 8, 9}, &[]int64{7, 8, 9}, &[]float64{7, 8, 9}, &[]uint8{}, &[]any{7}, &[]*int{some(7), some(8), some(9)}} {
		err := dirty.Unmarshal(bad, dst)
		if v := reflect.ValueOf(dst).Elem(); v.Type().Elem().Kind() != reflect.Interface {
			assert.ErrorIs(t, err, dirty.ErrTypeMismatch)
			for i := 1; i < v.Len(); i++ {
				assert.True(t, v.Index(i).IsZero(), "%T: %v", dst, v)
			}
		}
	}
	strs := []string{"old", "old"}
	assert.Error(t, dirty.Unmarshal(mustMarshal(t, []any{1, ""}), &strs))
	assert.NotContains(t, strs, "old")
}

// TestBytesKeepTheirMemory checks that bytes are decoded into the memory of the
// destination if they fit its capacity.
func TestBytesKeepTheirMemory(t *testing.T) {
	for _, test := range []struct {
		name   string
		before []byte
		sent   string
		kept   bool
	}{
		{"nil", nil, "abc", false},
		{"nil and nothing", nil, "", false},
		{"enough", make([]byte, 1, 8), "abc", true},
		{"just enough", make([]byte, 3), "abc", true},
		{"nothing", make([]byte, 3), "", true},
		{"too little", make([]byte, 2), "abc", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.before
			require.NoError(t, dirty.Unmarshal(dirty.AppendBytes(nil, []byte(test.sent)), &got))
			require.NotNil(t, got)
			assert.Equal(t, test.sent, string(got))
			if test.kept {
				assert.Same(t, &test.before[:1][0], &got[:1][0])
			} else if len(got) > 0 && cap(test.before) > 0 {
				assert.NotSame(t, &test.before[:1][0], &got[0])
			}
		})
	}
}

// TestMarshalLists encodes slices and arrays.
func TestMarshalLists(t *testing.T) {
	type floats []float64
	checkMarshal(t, []marshalRow{
		{[]byte{0, 255}, "h'00ff'"}, {[]byte{}, "h''"}, {[]byte(nil), "null"}, {[2]byte{1, 2}, "h'0102'"}, {&[2]byte{1, 2}, "h'0102'"}, {[0]byte{}, "h''"}, {&[0]byte{}, "h''"},
		{dBytes{1}, "h'01'"}, {[]dByte{1}, "h'01'"}, {[1]dByte{1}, "h'01'"}, {json.RawMessage(`{}`), "h'7b7d'"},
		{[]eByteM{1, 2}, "[true, true]"}, {[1]eByteM{1}, "[true]"}, {[]int8{1}, "[1]"},
		{[]any{}, "[]"}, {[]any(nil), "null"}, {[]int(nil), "null"}, {[]int{}, "[]"}, {[0]int{}, "[]"}, {[2]string{"a", "b"}, `["a", "b"]`}, {&[]float64{1}, "[1.0]"},
		{[]float64{1, 2.5}, "[1.0, 2.5]"}, {[]int64{1}, "[1]"}, {[]uint32{1}, "[1]"}, {[][]int{{1}, nil}, "[[1], null]"}, {[]error{nil}, "[null]"}, {[]dirty.Entry{{Key: "k"}}, `[{"Key": "k", "Value": null}]`},
		{floats{1}, "[1.0]"}, {&floats{1}, "[1.0]"}, {struct{ F floats }{floats{1}}, `{"F": [1.0]}`},
	})
}

// TestUnmarshalLists decodes into slices and arrays.
func TestUnmarshalLists(t *testing.T) {
	type (
		floats []float64
		texts  []string
	)
	checkUnmarshal(t, []unmarshalRow{
		{[]byte("b"), new([]byte), []byte("b")}, {[]byte{}, new([]byte), []byte{}}, {[]byte("b"), new(dBytes), dBytes("b")},
		{[]byte("b"), new([]dByte), []dByte{'b'}}, {"b", new([]byte), dirty.ErrTypeMismatch}, {[]int{1}, new([]byte), dirty.ErrTypeMismatch},
		{[]byte("ab"), new([2]byte), [2]byte{'a', 'b'}}, {[]byte("a"), &[2]byte{8, 9}, [2]byte{'a', 0}},
		{[]byte("abc"), new([2]byte), dirty.ErrOverflow}, {"ab", new([2]byte), dirty.ErrTypeMismatch}, {[]byte{}, &[0]byte{}, [0]byte{}},
		{[]byte("ab"), new([2]dByte), [2]dByte{'a', 'b'}}, {[]int{1}, new([2]byte), dirty.ErrTypeMismatch},

		{[]int{1, 2}, new([]int), []int{1, 2}}, {[]int{}, new([]int), []int{}}, {[]int{1, 2}, new([]float64), []float64{1, 2}},
		{[]float64{1, 2}, new([]int64), []int64{1, 2}}, {[]string{"a", ""}, new([]string), []string{"a", ""}}, {[]string{"a"}, new([]dStr), []dStr{"a"}},
		{[]any{1, "a"}, new([]any), []any{int64(1), "a"}}, {[]any{1, "a"}, new([]int), dirty.ErrTypeMismatch},
		{[]any{1.5, nil}, &[]float64{7, 7, 7}, []float64{1.5, 0}}, {[]any{"a", nil}, &[]string{"x", "x"}, []string{"a", ""}},
		{[]int{1}, new([2]int), [2]int{1, 0}}, {[]int{1}, &[2]int{8, 9}, [2]int{1, 0}}, {[]int{1, 2, 3}, new([2]int), dirty.ErrOverflow},
		{[]any{}, &[2]any{1, 2}, [2]any{}}, {"s", new([]int), dirty.ErrTypeMismatch}, {map[string]any{}, new([]int), dirty.ErrTypeMismatch},
		{[]byte("b"), new([]int), dirty.ErrTypeMismatch}, {"s", new([1]int), dirty.ErrTypeMismatch},
		{[]any{[]any{1}, nil}, new([][]int8), [][]int8{{1}, nil}}, {[]any{nil, 1}, new([]*int), []*int{nil, some(1)}},
		{[]float64{1}, new(floats), floats{1}}, {[]any{1, nil}, &floats{7, 7}, floats{1, 0}}, {[]string{"a"}, new(texts), texts{"a"}},
	})
}
