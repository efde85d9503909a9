// Package redisstore keeps the stash of a server in Redis. There it outlives the
// server, and several servers can share it. The package is an example: copy this file
// into your program and change what you need.
package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/redis/go-redis/v9"
)

// Store is a [server.Store] in Redis. It may be used concurrently, and so may
// several Stores with the same Prefix. Each operation is atomic.
//
// This is what it keeps in Redis. TABLE and KEY are what [server.KeyIdentity] returns.
//
//	{PREFIX}:tables        hash: for each TABLE, its name
//	{PREFIX}:keys:TABLE    hash: for each KEY, the key
//	{PREFIX}:values:TABLE  hash: for each KEY, its value, in gunicorn's encoding
//	{PREFIX}:counter       how many names and keys were ever added
//
// The braces keep it all on one node of a Redis Cluster.
// Names and keys are written as "NUMBER:ENCODED". The number is that of the counter
// when they were added, which gives their order. Then comes what [dirty.Marshal] makes
// of them, since true, 1 and 1.0 are one key, but are listed as they were put first.
//
// Nothing expires. Do not let Redis evict keys: a table is more than one of them.
type Store struct {
	// Redis is the connection to Redis. It must be set. The Store does not close it.
	//
	// Set MaxRetries to -1 in its options: a Delete that is sent twice can find
	// nothing the second time. With ContextTimeoutEnabled, calls end at the deadline
	// of their context. A context that is cancelled is seen before a command is sent;
	// while Redis does not answer, only ReadTimeout and WriteTimeout end a call.
	Redis redis.UniversalClient

	// Prefix comes before all names in Redis, and tells one stash from another. It
	// must not have braces. The empty one stands for "dirty".
	Prefix string
}

var _ server.Store = (*Store)(nil)

// name returns the full name of something in Redis.
func (s *Store) name(rest string) string { return "{" + cmp.Or(s.Prefix, "dirty") + "}:" + rest }

// place is where a table and one of its keys are in Redis.
type place struct {
	tables, table string // a hash and the field in it
	keys, values  string // hashes
	key           string // the field in both
}

// locate finds the place of a key. For a whole table the key does not matter.
func (s *Store) locate(table, key any) (place, error) {
	tableID, tableErr := server.KeyIdentity(table)
	keyID, keyErr := server.KeyIdentity(key)
	return place{
		tables: s.name("tables"), table: tableID,
		keys: s.name("keys:" + tableID), values: s.name("values:" + tableID), key: keyID,
	}, cmp.Or(tableErr, keyErr)
}

// add adds a table, if there is none. If a key is given, it adds that as well, and
// sets its value.
var add = redis.NewScript(`
local counter, tables, keys, values = unpack(KEYS)
local table_id, table_name, key_id, key, value = unpack(ARGV)
local function add(hash, id, encoded)
	if redis.call('HEXISTS', hash, id) == 0 then
		redis.call('HSET', hash, id, redis.call('INCR', counter) .. ':' .. encoded)
	end
end
add(tables, table_id, table_name)
if key_id then
	add(keys, key_id, key)
	redis.call('HSET', values, key_id, value)
end
return 1`)

func (s *Store) add(ctx context.Context, p place, table any, keyAndValue ...any) error {
	name, err := dirty.Marshal(table)
	if err != nil {
		return err
	}
	names := []string{s.name("counter"), p.tables, p.keys, p.values}
	return add.Run(ctx, s.Redis, names, append([]any{p.table, name}, keyAndValue...)...).Err()
}

// Put stores a value.
func (s *Store) Put(ctx context.Context, table, key any, value dirty.RawValue) error {
	p, err := s.locate(table, key)
	if err != nil {
		return err
	}
	encoded, err := dirty.Marshal(key)
	if err != nil {
		return err
	}
	return s.add(ctx, p, table, p.key, encoded, []byte(value))
}

// Ensure makes a table, if there is none.
func (s *Store) Ensure(ctx context.Context, table any) error {
	p, err := s.locate(table, nil)
	if err != nil {
		return err
	}
	return s.add(ctx, p, table)
}

// Get returns a value, or [dirty.ErrKeyNotFound].
func (s *Store) Get(ctx context.Context, table, key any) (dirty.RawValue, error) {
	p, err := s.locate(table, key)
	if err != nil {
		return nil, err
	}
	value, err := s.Redis.HGet(ctx, p.values, p.key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, dirty.ErrKeyNotFound
	}
	return value, err
}

// Delete deletes a key, and reports whether it was there.
func (s *Store) Delete(ctx context.Context, table, key any) (existed bool, err error) {
	p, err := s.locate(table, key)
	if err != nil {
		return false, err
	}
	var deleted *redis.IntCmd
	_, err = s.Redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		deleted = tx.HDel(ctx, p.keys, p.key)
		return tx.HDel(ctx, p.values, p.key).Err()
	})
	return deleted.Val() > 0, err
}

// Clear deletes all keys of a table.
func (s *Store) Clear(ctx context.Context, table any) error {
	p, err := s.locate(table, nil)
	if err != nil {
		return err
	}
	return s.Redis.Unlink(ctx, p.keys, p.values).Err()
}

// Drop deletes a table, and reports whether it was there.
func (s *Store) Drop(ctx context.Context, table any) (existed bool, err error) {
	p, err := s.locate(table, nil)
	if err != nil {
		return false, err
	}
	var deleted *redis.IntCmd
	_, err = s.Redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		deleted = tx.HDel(ctx, p.tables, p.table)
		return tx.Unlink(ctx, p.keys, p.values).Err()
	})
	return deleted.Val() > 0, err
}

// Len returns the number of keys, or [dirty.ErrTableNotFound].
func (s *Store) Len(ctx context.Context, table any) (int, error) {
	p, err := s.locate(table, nil)
	if err != nil {
		return 0, err
	}
	var exists *redis.BoolCmd
	var size *redis.IntCmd
	_, err = s.Redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		exists, size = tx.HExists(ctx, p.tables, p.table), tx.HLen(ctx, p.keys)
		return nil
	})
	if err == nil && !exists.Val() {
		err = dirty.ErrTableNotFound
	}
	return int(size.Val()), err
}

// Exists reports whether there is a key or, for a nil key, the table.
func (s *Store) Exists(ctx context.Context, table, key any) (bool, error) {
	p, err := s.locate(table, key)
	switch {
	case err != nil:
		return false, err
	case key == nil:
		return s.Redis.HExists(ctx, p.tables, p.table).Result()
	}
	return s.Redis.HExists(ctx, p.keys, p.key).Result()
}

// Keys returns the keys of a table that match a pattern, in order.
func (s *Store) Keys(ctx context.Context, table any, pattern string) ([]any, error) {
	p, err := s.locate(table, nil)
	if err != nil {
		return nil, err
	}
	keys, err := s.list(ctx, p.keys)
	if err != nil {
		return nil, err
	}
	return server.FilterKeys(ctx, keys, pattern)
}

// Tables returns the names of the tables, in order.
func (s *Store) Tables(ctx context.Context) ([]any, error) {
	return s.list(ctx, s.name("tables"))
}

// list returns the names or keys in a hash, in the order in which they were added.
func (s *Store) list(ctx context.Context, hash string) ([]any, error) {
	texts, err := s.Redis.HVals(ctx, hash).Result()
	if err != nil {
		return nil, err
	}
	type entry struct {
		number uint64
		key    any
	}
	entries := make([]entry, len(texts))
	for i, text := range texts {
		number, encoded, _ := strings.Cut(text, ":")
		var notNumber error
		entries[i].number, notNumber = strconv.ParseUint(number, 10, 64)
		if err := cmp.Or(notNumber, dirty.Unmarshal([]byte(encoded), &entries[i].key)); err != nil {
			return nil, fmt.Errorf("redisstore: a broken entry in %q: %w", hash, err)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	keys := make([]any, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys, nil
}
