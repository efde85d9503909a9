package server_test

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeyIdentity(t *testing.T) {
	same := [][]any{
		{nil}, {true, int64(1), 1, 1.0}, {false, int64(0), 0.0, math.Copysign(0, -1)}, {"1"}, {[]byte("1"), []byte{0x31}},
		{int64(5), 5.0}, {5.5}, {int64(math.MinInt64), -0x1p63}, {int64(math.MaxInt64)}, {0x1p63}, {math.Inf(1)}, {math.Inf(-1)},
		{"None"}, {"True"}, {""}, {[]byte{}}, {int64(1<<53 + 1)}, {0x1p53},
	}
	ids := map[any]int{}
	for group, keys := range same {
		for _, key := range keys {
			id, err := server.KeyIdentity(key)
			require.NoError(t, err)
			if was, ok := ids[id]; ok {
				assert.Equal(t, was, group, "%#v", key)
			}
			ids[id] = group
		}
	}
	assert.Len(t, ids, len(same))
	id, err := server.KeyIdentity(math.NaN())
	assert.NoError(t, err)
	assert.NotEqual(t, id, id)
	for want, key := range map[string]any{"list": []any{}, "dict": map[string]any{}, "complex128": 1i} {
		_, err := server.KeyIdentity(key)
		assert.ErrorContains(t, err, "unhashable type: '"+want+"'")
	}
	_, err = server.KeyIdentity(dirty.Dict{})
	assert.ErrorContains(t, err, "unhashable type: 'dict'")
}

// Whoever changes what was given, or what was got, changes nobody else's.
func TestMemoryStoreOwnsItsMemory(t *testing.T) {
	var m server.MemoryStore
	key, value := []byte("key"), encoded("value")
	require.NoError(t, m.Put(ctx, key, key, value))
	key[0], value[5] = 'X', 'X'
	get := func() dirty.RawValue {
		v, err := m.Get(ctx, []byte("key"), []byte("key"))
		require.NoError(t, err)
		return v
	}
	got := get()
	assert.EqualValues(t, encoded("value"), got)
	got[5] = 'X'
	assert.EqualValues(t, encoded("value"), get())
	for range 2 {
		keys, err := m.Keys(ctx, []byte("key"), "")
		require.NoError(t, err)
		tables, err := m.Tables(ctx)
		require.NoError(t, err)
		assert.Equal(t, []any{[]byte("key")}, keys)
		assert.Equal(t, []any{[]byte("key")}, tables)
		keys[0].([]byte)[0], tables[0].([]byte)[0] = 'X', 'X'
	}
}

func TestMemoryStoreErrors(t *testing.T) {
	m := new(server.MemoryStore)
	bad := []any{}
	_, get := m.Get(ctx, "t", bad)
	_, del := m.Delete(ctx, bad, "k")
	_, keys := m.Keys(ctx, bad, "")
	_, size := m.Len(ctx, bad)
	_, drop := m.Drop(ctx, bad)
	_, exists := m.Exists(ctx, "t", bad)
	for i, err := range []error{m.Put(ctx, "t", bad, nil), get, del, keys, m.Clear(ctx, bad), size, m.Ensure(ctx, bad), drop, exists} {
		assert.ErrorContains(t, err, "unhashable", i)
	}
	_, err := m.Get(ctx, "t", "k")
	assert.Equal(t, dirty.ErrKeyNotFound, err)
	_, err = m.Len(ctx, "t")
	assert.Equal(t, dirty.ErrTableNotFound, err)
}

// TestMemoryStoreNaN checks tables and keys that are NaN: such a table is one and
// can be deleted; such keys are as in Python.
func TestMemoryStoreNaN(t *testing.T) {
	nan, other := math.NaN(), math.Float64frombits(0xfff8000000000001)
	m := new(server.MemoryStore)
	for range 3 {
		require.NoError(t, m.Put(ctx, nan, "k", encoded(1)))
		require.NoError(t, m.Ensure(ctx, other))
	}
	tables, err := m.Tables(ctx)
	require.NoError(t, err)
	require.Len(t, tables, 1)
	assert.True(t, math.IsNaN(tables[0].(float64)))
	n, err := m.Len(ctx, other)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	_, err = m.Get(ctx, other, "k")
	assert.NoError(t, err)
	existed, err := m.Drop(ctx, nan)
	require.NoError(t, err)
	assert.True(t, existed)
	tables, err = m.Tables(ctx)
	require.NoError(t, err)
	assert.Empty(t, tables)
	existed, err = m.Drop(ctx, nan)
	require.NoError(t, err)
	assert.False(t, existed)

	for range 3 { // each adds another key
		require.NoError(t, m.Put(ctx, "t", nan, encoded(1)))
	}
	n, err = m.Len(ctx, "t")
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	_, err = m.Get(ctx, "t", nan)
	assert.Equal(t, dirty.ErrKeyNotFound, err)
	existed, err = m.Delete(ctx, "t", nan)
	require.NoError(t, err)
	assert.False(t, existed)
	require.NoError(t, m.Clear(ctx, "t"))
	n, err = m.Len(ctx, "t")
	require.NoError(t, err)
	assert.Zero(t, n)
}

// Many at once; run with -race.
func TestMemoryStoreConcurrently(t *testing.T) {
	m := new(server.MemoryStore)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				table, key := fmt.Sprint(i%3), int64(i%7)
				assert.NoError(t, m.Put(ctx, table, key, encoded(g)))
				_, _ = m.Get(ctx, table, key)
				_, _ = m.Keys(ctx, table, "*")
				_, _ = m.Len(ctx, table)
				_, _ = m.Exists(ctx, table, key)
				_, _ = m.Tables(ctx)
				switch i % 10 {
				case 0:
					_, _ = m.Delete(ctx, table, key)
				case 1:
					_ = m.Clear(ctx, table)
				case 2:
					_, _ = m.Drop(ctx, table)
				case 3:
					_ = m.Ensure(ctx, table)
				}
			}
		})
	}
	wg.Wait()
}
