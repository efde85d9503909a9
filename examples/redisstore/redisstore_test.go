package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/examples/redisstore"
	"github.com/gunicorn-go/dirty/server"
	"github.com/gunicorn-go/dirty/server/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	rdb := startRedis(t)
	var stores atomic.Int64
	storetest.Run(t, func() server.Store {
		return &redisstore.Store{Redis: rdb, Prefix: fmt.Sprint(stores.Add(1))}
	})
}

// TestStoreLayout checks what is in Redis against the comment of Store.
func TestStoreLayout(t *testing.T) {
	ctx, rdb := newContext(t), startRedis(t)
	s := &redisstore.Store{Redis: rdb}
	names := func() []string {
		all, err := rdb.Keys(ctx, "*").Result()
		require.NoError(t, err)
		return all
	}
	hash := func(name string) map[string]string {
		fields, err := rdb.HGetAll(ctx, name).Result()
		require.NoError(t, err)
		return fields
	}
	require.NoError(t, s.Ensure(ctx, "empty"))
	require.NoError(t, s.Put(ctx, "t", true, encode(t, "one")))
	require.NoError(t, s.Put(ctx, "t", 1.0, encode(t, "again"))) // the same key
	require.NoError(t, s.Put(ctx, "t", []byte{0xff}, encode(t, nil)))
	assert.ElementsMatch(t, []string{"{dirty}:counter", "{dirty}:tables", "{dirty}:keys:s:t", "{dirty}:values:s:t"}, names())
	assert.Equal(t, map[string]string{"s:empty": "1:" + string(encode(t, "empty")), "s:t": "2:" + string(encode(t, "t"))}, hash("{dirty}:tables"))
	assert.Equal(t, map[string]string{"i:1": "3:" + string(encode(t, true)), "b:\xff": "4:" + string(encode(t, []byte{0xff}))}, hash("{dirty}:keys:s:t"))
	assert.Equal(t, map[string]string{"i:1": string(encode(t, "again")), "b:\xff": string(encode(t, nil))}, hash("{dirty}:values:s:t"))
	counter, err := rdb.Get(ctx, "{dirty}:counter").Result()
	require.NoError(t, err)
	assert.Equal(t, "4", counter)

	other := &redisstore.Store{Redis: rdb, Prefix: "other"}
	require.NoError(t, other.Put(ctx, "t", "k", encode(t, 1)))
	for _, table := range []string{"t", "empty"} {
		_, err := s.Drop(ctx, table)
		require.NoError(t, err)
	}
	assert.ElementsMatch(t, []string{"{dirty}:counter", "{other}:counter", "{other}:tables", "{other}:keys:s:t", "{other}:values:s:t"}, names())
}

// TestStoreNaN checks that what is stored under NaN can be deleted.
func TestStoreNaN(t *testing.T) {
	ctx, nan := newContext(t), math.NaN()
	s := &redisstore.Store{Redis: startRedis(t)}
	for i := range 3 {
		require.NoError(t, s.Put(ctx, nan, nan, encode(t, i)))
	}
	value, err := s.Get(ctx, nan, nan)
	require.NoError(t, err)
	assert.EqualValues(t, encode(t, 2), value)
	existed, err := s.Delete(ctx, nan, nan)
	require.NoError(t, err)
	assert.True(t, existed)
	existed, err = s.Drop(ctx, nan)
	require.NoError(t, err)
	assert.True(t, existed)
	tables, err := s.Tables(ctx)
	require.NoError(t, err)
	assert.Empty(t, tables)
}

// TestStash uses the store as a program does: clients call servers that share it.
func TestStash(t *testing.T) {
	ctx, rdb := newContext(t), startRedis(t)
	connect := func() *client.Stash {
		path := serve(t, &server.Server{Stash: &redisstore.Store{Redis: rdb}})
		c, err := client.New(client.WithSocket(path), client.WithTimeout(timeout))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c.Stash("users")
	}
	s, other := connect(), connect()

	_, err := s.Get(ctx, "ada")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	_, err = s.Len(ctx)
	assert.ErrorIs(t, err, dirty.ErrTableNotFound)

	want := map[string]any{"visits": int64(1), "tags": []any{"a", nil, 1.5, []byte{0, 255}}}
	require.NoError(t, s.Put(ctx, "bob", nil))
	require.NoError(t, s.Put(ctx, "ada", want))
	require.NoError(t, s.Put(ctx, 5.0, "five"))
	require.NoError(t, s.Put(ctx, "bob", "changed")) // keeps its place
	got, err := other.Get(ctx, "ada")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = other.Get(ctx, 5) // as in Python, 5 and 5.0 are one key
	require.NoError(t, err)
	assert.Equal(t, "five", got)
	_, err = other.Get(ctx, "5")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	keys, err := other.Keys(ctx, "")
	require.NoError(t, err)
	assert.Equal(t, []any{"bob", "ada", 5.0}, keys)
	keys, err = other.Keys(ctx, "[ab]*")
	require.NoError(t, err)
	assert.Equal(t, []any{"bob", "ada"}, keys)

	large := make([]byte, 60<<20)
	large[0], large[len(large)-1] = 1, 2
	require.NoError(t, s.Put(ctx, "large", large))
	got, err = other.Get(ctx, "large")
	require.NoError(t, err)
	assert.True(t, assert.ObjectsAreEqual(large, got), "60 MiB come back as they were")

	// Only one of many deletes a key.
	var deleted atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			existed, err := []*client.Stash{s, other}[i%2].Delete(ctx, "ada")
			assert.NoError(t, err)
			if existed {
				deleted.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, deleted.Load())
	n, err := s.Len(ctx)
	require.NoError(t, err)
	assert.Equal(t, 3, n)
}

// TestStoreErrors checks that trouble with Redis is told, and not taken for a key
// that is missing.
func TestStoreErrors(t *testing.T) {
	ctx, rdb := newContext(t), startRedis(t)
	s := &redisstore.Store{Redis: rdb}
	require.NoError(t, s.Put(ctx, "t", "k", encode(t, 1)))
	for _, broken := range []string{"", "1", "x:", "1:", "1:\xff", "-1:" + string(encode(t, "k"))} {
		require.NoError(t, rdb.HSet(ctx, "{dirty}:keys:s:t", "s:k", broken).Err())
		_, err := s.Keys(ctx, "t", "")
		assert.ErrorContains(t, err, `redisstore: a broken entry in "{dirty}:keys:s:t"`, "%q", broken)
	}

	require.NoError(t, rdb.Close())
	_, get := s.Get(ctx, "t", "k")
	_, del := s.Delete(ctx, "t", "k")
	_, keys := s.Keys(ctx, "t", "")
	_, size := s.Len(ctx, "t")
	_, drop := s.Drop(ctx, "t")
	_, tables := s.Tables(ctx)
	_, exists := s.Exists(ctx, "t", "k")
	for i, err := range []error{
		s.Put(ctx, "t", "k", encode(t, 1)), s.Ensure(ctx, "t"), s.Clear(ctx, "t"), get, del, keys, size, drop, tables, exists,
	} {
		assert.ErrorContains(t, err, "closed", i)
		assert.False(t, errors.Is(err, dirty.ErrKeyNotFound) || errors.Is(err, dirty.ErrTableNotFound), i)
	}
}

// TestStoreContext checks that calls end with their context while Redis is silent.
func TestStoreContext(t *testing.T) {
	socket := filepath.Join(shortDir(t), "silent.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s := &redisstore.Store{Redis: connect(t, socket)}
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 10*time.Millisecond)
		},
		"cancelled before": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := end(newContext(t))
			defer cancel()
			began := time.Now()
			_, err := s.Get(ctx, "t", "k")
			assert.Error(t, err)
			assert.Less(t, time.Since(began), timeout/2)
			t.Log(err)
		})
	}
}

func encode(t *testing.T, v any) dirty.RawValue {
	b, err := dirty.Marshal(v)
	require.NoError(t, err)
	return b
}

// serve serves on a socket until the test ends, and returns its path.
func serve(t *testing.T, s *server.Server) string {
	path := filepath.Join(shortDir(t), "dirty.sock")
	listener, err := server.Listen(path, 0o600)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, server.ErrServerClosed)
	})
	return path
}
