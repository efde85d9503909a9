package dirtynats

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxKeySize bounds a key and the name of a table, encoded, in bytes.
const MaxKeySize = 45_000

// minTTL is the shortest time to live that NATS knows.
const minTTL = time.Second

// StashConfig is what NewStash and OpenStash need.
type StashConfig struct {
	// Bucket is where the stash is. A bucket without a Name is called "dirty-stash".
	Bucket Bucket

	// TTL has the tables whose keys expire, by name, and how long after it was put a
	// key lives: a second or more. The table stays. Keys of other tables live until
	// they are deleted. Every program that shares the stash should have the same TTL.
	TTL map[string]time.Duration
}

// Stash is a [server.Store] in a bucket of NATS. It may be used concurrently, and any
// number of servers may share one bucket. Keys are listed in the order in which they
// were first put, as in gunicorn.
//
// Each operation is atomic but these: Put makes the table after it has stored the
// value, and Keys and Tables may or may not list what changes while they run. A read
// sees every write that was acknowledged before it, on whichever server. While the NATS
// servers choose a new leader, a read may for a few seconds be answered by the old one.
//
// When NATS is away, or has lost the majority of its servers, operations fail with
// ErrUnavailable, at the latest after Bucket.Timeout. A Put, Delete, Clear or Drop that
// fails so may have taken place.
//
// These are the records in the bucket. TABLE and KEY are hashes of what
// [server.KeyIdentity] returns; the header Dirty-Key has the key itself.
//
//	TABLE.t      the table
//	TABLE.k.KEY  a key
//
// What is deleted leaves nothing behind.
type Stash struct {
	records *records
	ttl     map[string]time.Duration // by KeyIdentity
}

var _ server.Store = (*Stash)(nil)

// OpenStash is NewStash and Open.
func OpenStash(ctx context.Context, js jetstream.JetStream, config StashConfig) (*Stash, error) {
	s, err := NewStash(js, config)
	if err != nil {
		return nil, err
	}
	if err := s.Open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// NewStash returns a stash that is opened by Open, or by its first operation that finds
// NATS. So a program can start while NATS is away.
func NewStash(js jetstream.JetStream, config StashConfig) (*Stash, error) {
	s := &Stash{ttl: map[string]time.Duration{}}
	for table, ttl := range config.TTL {
		if ttl < minTTL {
			return nil, fmt.Errorf("dirtynats: the TTL of table %q is %v, less than %v", table, ttl, minTTL)
		}
		id, err := server.KeyIdentity(table)
		if err != nil {
			return nil, err
		}
		s.ttl[id] = ttl
	}
	config.Bucket.Name = cmp.Or(config.Bucket.Name, "dirty-stash")
	var err error
	if s.records, err = newRecords(js, config.Bucket); err != nil {
		return nil, err
	}
	return s, nil
}

// Open opens the stash. It makes the bucket if there is none. It does nothing to a stash
// that is open.
func (s *Stash) Open(ctx context.Context) error { return s.records.open(ctx) }

// The headers of a key and of a table.
const (
	headerKey   = "Dirty-Key"   // as it was put first: gunicorn's encoding in Base64
	headerOrder = "Dirty-Order" // the number of its first record, if that was replaced
)

// table is where a table is.
type table struct {
	name  any
	id    string // its KeyIdentity
	token string
}

func newTable(name any) (table, error) {
	id, err := server.KeyIdentity(name)
	return table{name, id, token(id)}, err
}

// record returns the name of the record of the table.
func (t table) record() string { return t.token + ".t" }

// keys returns a filter for the records of all keys.
func (t table) keys() string { return t.token + ".k.*" }

// locate returns a table and the name of the record of a key.
func locate(name, key any) (table, string, error) {
	t, err := newTable(name)
	if err != nil {
		return t, "", err
	}
	id, err := server.KeyIdentity(key)
	return t, t.token + ".k." + token(id), err
}

// encodeKey returns a key for headerKey.
func encodeKey(key any) (string, error) {
	encoded, err := dirty.Marshal(key)
	if err != nil {
		return "", err
	}
	if len(encoded) > MaxKeySize {
		return "", fmt.Errorf("dirtynats: a key of %d bytes is over the limit of %d", len(encoded), MaxKeySize)
	}
	return base64.StdEncoding.EncodeToString(encoded), nil
}

// decodeKey returns the key of a record.
func decodeKey(r *record) (key any, err error) {
	encoded, err := base64.StdEncoding.DecodeString(r.header.Get(headerKey))
	if err == nil {
		err = dirty.Unmarshal(encoded, &key)
	}
	if err != nil {
		return nil, fmt.Errorf("a broken record: %s: %w", headerKey, err)
	}
	return key, nil
}

// order returns the number of the first record of a key or a table.
func order(r *record) (uint64, error) {
	text := r.header.Get(headerOrder)
	if text == "" {
		return r.seq, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a broken record: %s: %w", headerOrder, err)
	}
	return n, nil
}

// Put stores a value. It makes the table if there is none.
func (s *Stash) Put(ctx context.Context, tableName, key any, value dirty.RawValue) error {
	t, name, err := locate(tableName, key)
	if err != nil {
		return err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return err
	}
	return s.records.do(ctx, func(ctx context.Context) error {
		if err := s.records.checkSize(value); err != nil {
			return err
		}
		err := errConflict
		for errors.Is(err, errConflict) {
			err = s.replace(ctx, t, name, encoded, value)
		}
		if err != nil {
			return err
		}
		return s.ensure(ctx, t)
	})
}

// replace stores a value in place of what is there. It returns errConflict if that
// changes at the same time.
func (s *Stash) replace(ctx context.Context, t table, name, key string, value []byte) error {
	old, err := s.records.get(ctx, name)
	if err != nil {
		return err
	}
	header := nats.Header{headerKey: {key}}
	if old != nil {
		first, err := order(old)
		if err != nil {
			return err
		}
		header = nats.Header{headerKey: old.header[headerKey], headerOrder: {strconv.FormatUint(first, 10)}}
	}
	_, err = s.records.put(ctx, name, old, write{header: header, value: value, ttl: s.ttl[t.id]})
	return err
}

// Ensure makes a table, if there is none.
func (s *Stash) Ensure(ctx context.Context, tableName any) error {
	t, err := newTable(tableName)
	if err != nil {
		return err
	}
	return s.records.do(ctx, func(ctx context.Context) error { return s.ensure(ctx, t) })
}

func (s *Stash) ensure(ctx context.Context, t table) error {
	encoded, err := encodeKey(t.name)
	if err != nil {
		return err
	}
	for {
		old, err := s.records.get(ctx, t.record())
		if old != nil || err != nil {
			return err
		}
		// A conflict alone would not mean that it is there: what was in the way may
		// get lost.
		_, err = s.records.put(ctx, t.record(), nil, write{header: nats.Header{headerKey: {encoded}}})
		if !errors.Is(err, errConflict) {
			return err
		}
	}
}

// Get returns a value, or [dirty.ErrKeyNotFound].
func (s *Stash) Get(ctx context.Context, tableName, key any) (value dirty.RawValue, err error) {
	_, name, err := locate(tableName, key)
	if err != nil {
		return nil, err
	}
	var r *record
	err = s.records.do(ctx, func(ctx context.Context) (err error) {
		r, value, err = s.records.read(ctx, name)
		return err
	})
	if err == nil && r == nil {
		err = dirty.ErrKeyNotFound
	}
	return value, err
}

// Delete deletes a key, and reports whether it was there.
func (s *Stash) Delete(ctx context.Context, tableName, key any) (existed bool, err error) {
	_, name, err := locate(tableName, key)
	if err != nil {
		return false, err
	}
	return s.purge(ctx, name+".>")
}

// purge removes all that matches a filter, and reports whether there was anything.
func (s *Stash) purge(ctx context.Context, filter string) (existed bool, err error) {
	err = s.records.do(ctx, func(ctx context.Context) error {
		removed, err := s.records.purge(ctx, filter, 0)
		existed = removed > 0
		return err
	})
	return existed, err
}

// Clear deletes all keys of a table, if there is one.
func (s *Stash) Clear(ctx context.Context, tableName any) error {
	t, err := newTable(tableName)
	if err != nil {
		return err
	}
	_, err = s.purge(ctx, t.token+".k.>")
	return err
}

// Drop deletes a table and its keys, and reports whether it was there.
func (s *Stash) Drop(ctx context.Context, tableName any) (existed bool, err error) {
	t, err := newTable(tableName)
	if err != nil {
		return false, err
	}
	return s.purge(ctx, t.token+".>")
}

// Len returns the number of keys, or [dirty.ErrTableNotFound].
func (s *Stash) Len(ctx context.Context, tableName any) (n int, err error) {
	t, err := newTable(tableName)
	if err != nil {
		return 0, err
	}
	exists := true
	err = s.records.do(ctx, func(ctx context.Context) error {
		names, err := s.records.names(ctx, t.keys())
		if n = len(names); n > 0 || err != nil {
			return err
		}
		r, err := s.records.get(ctx, t.record())
		exists = r != nil
		return err
	})
	if err == nil && !exists {
		err = dirty.ErrTableNotFound
	}
	return n, err
}

// Exists reports whether there is a key or, for a nil key, the table.
func (s *Stash) Exists(ctx context.Context, tableName, key any) (exists bool, err error) {
	t, name, err := locate(tableName, key)
	if err != nil {
		return false, err
	}
	if key == nil {
		name = t.record()
	}
	err = s.records.do(ctx, func(ctx context.Context) error {
		r, err := s.records.get(ctx, name)
		exists = r != nil
		return err
	})
	return exists, err
}

// Keys returns the keys of a table that match a pattern, in the order in which they
// were first put.
func (s *Stash) Keys(ctx context.Context, tableName any, pattern string) ([]any, error) {
	t, err := newTable(tableName)
	if err != nil {
		return nil, err
	}
	keys, err := s.list(ctx, t.keys())
	if err != nil {
		return nil, err
	}
	return server.FilterKeys(ctx, keys, pattern)
}

// Tables returns the names of the tables, in the order in which they were made.
func (s *Stash) Tables(ctx context.Context) ([]any, error) { return s.list(ctx, "*.t") }

// list returns the keys of the records that match a filter, in order.
func (s *Stash) list(ctx context.Context, filter string) ([]any, error) {
	var found []*record
	err := s.records.do(ctx, func(ctx context.Context) (err error) {
		found, err = s.records.list(ctx, filter)
		return err
	})
	if err != nil {
		return nil, err
	}
	type entry struct {
		order uint64
		key   any
	}
	entries := make([]entry, len(found))
	for i, r := range found {
		n, orderErr := order(r)
		key, keyErr := decodeKey(r)
		if err := cmp.Or(orderErr, keyErr); err != nil {
			return nil, fmt.Errorf("dirtynats: %w", err)
		}
		entries[i] = entry{n, key}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.order, b.order) })
	keys := make([]any, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys, nil
}
