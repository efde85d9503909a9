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

// TestKeyIdentity checks the texts that stand for keys. Stores write them to their
// files and data bases, so they never change.
func TestKeyIdentity(t *testing.T) {
	same := map[string][]any{
		"n":                       {nil},
		"i:1":                     {true, int64(1), 1, 1.0},
		"i:0":                     {false, int64(0), 0.0, math.Copysign(0, -1)},
		"i:5":                     {int64(5), 5.0},
		"i:-9223372036854775808":  {int64(math.MinInt64), -0x1p63},
		"i:9223372036854775807":   {int64(math.MaxInt64)},
		"i:9007199254740993":      {int64(1<<53 + 1)},
		"i:9007199254740992":      {0x1p53, int64(1 << 53)},
		"f:9.223372036854776e+18": {0x1p63},
		"f:5.5":                   {5.5},
		"f:-0.1":                  {-0.1},
		"f:0.30000000000000004":   {math.Nextafter(0.3, 1)},
		"f:5e-324":                {5e-324},
		"f:1e+300":                {1e300},
		"f:+Inf":                  {math.Inf(1)},
		"f:-Inf":                  {math.Inf(-1)},
		"f:NaN":                   {math.NaN(), math.Float64frombits(0xfff8000000000001)},
		"s:1":                     {"1"},
		"s:":                      {""},
		"s:n":                     {"n"},
		"s:None":                  {"None"},
		"s:i:5":                   {"i:5"},
		"s:b:1":                   {"b:1"},
		"s:é\x00":                 {"é\x00"},
		"b:1":                     {[]byte("1"), []byte{0x31}},
		"b:":                      {[]byte{}, []byte(nil)},
		"b:\x00\xff":              {[]byte{0, 255}},
	}
	for want, keys := range same {
		for _, key := range keys {
			got, err := server.KeyIdentity(key)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%#v", key)
		}
	}
	for want, key := range map[string]any{"list": []any{}, "dict": map[string]any{}, "complex128": 1i} {
		_, err := server.KeyIdentity(key)
		assert.ErrorContains(t, err, "unhashable type: '"+want+"'")
	}
	_, err := server.KeyIdentity(dirty.Dict{})
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

// TestMemoryStoreNaN checks that all NaN are one table and one key, so that what is
// stored under them is found and deleted.
func TestMemoryStoreNaN(t *testing.T) {
	nan, other := math.NaN(), math.Float64frombits(0xfff8000000000001)
	m := new(server.MemoryStore)
	for range 3 {
		require.NoError(t, m.Put(ctx, nan, nan, encoded(1)))
		require.NoError(t, m.Put(ctx, other, other, encoded(2)))
		require.NoError(t, m.Ensure(ctx, other))
	}
	n, err := m.Len(ctx, other)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	value, err := m.Get(ctx, nan, nan)
	require.NoError(t, err)
	assert.EqualValues(t, encoded(2), value)
	keys, err := m.Keys(ctx, nan, "nan")
	require.NoError(t, err)
	require.Len(t, keys, 1)
	assert.Equal(t, math.Float64bits(nan), math.Float64bits(keys[0].(float64))) // as it was put first
	existed, err := m.Delete(ctx, nan, other)
	require.NoError(t, err)
	assert.True(t, existed)
	exists, err := m.Exists(ctx, nan, nan)
	require.NoError(t, err)
	assert.False(t, exists)

	for _, want := range []bool{true, false} {
		existed, err = m.Drop(ctx, other)
		require.NoError(t, err)
		assert.Equal(t, want, existed)
	}
	tables, err := m.Tables(ctx)
	require.NoError(t, err)
	assert.Empty(t, tables)
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
