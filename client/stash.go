package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"

	"github.com/gunicorn-go/dirty"
)

// Stash is a table of the arbiter, which all its workers and clients share. It
// lives as long as the arbiter, and has no transactions. A Stash may be used
// concurrently; it does nothing by itself.
//
// A key is a string, an integer, a float, a bool or a []byte; others are an
// [ErrInvalidArgument]. Keys are equal as in a dict of Python's: 5 is not "5", but
// 1, 1.0 and true are one key.
//
// Errors are an [*OpError] that names table and key.
type Stash struct {
	client *Client
	table  string
}

// Stash returns the table of that name, which need not exist: Put makes it.
func (c *Client) Stash(table string) *Stash { return &Stash{c, table} }

// Put stores a value under a key, encoded as [dirty.Marshal] does. None is a value
// like any other.
//
// A dict with the key "error" at its top is refused with [ErrInvalidArgument]:
// gunicorn would store it, and give it back as an error.
func (s *Stash) Put(ctx context.Context, key, value any) error {
	m := dirty.StashRequest{Op: dirty.StashPut, Key: key}
	var err error
	if m.Value, err = encodeStorable(value, s.client.cfg.Limits); err != nil {
		return s.refuse(m, err)
	}
	_, err = askKey[any](ctx, s, m)
	return err
}

// Get returns the value of a key, as [dirty.Unmarshal] does for an any. If there
// is none the error matches [dirty.ErrKeyNotFound], also if there is no such table.
// A stored None is nil without an error.
func (s *Stash) Get(ctx context.Context, key any) (any, error) { return StashGet[any](ctx, s, key) }

// StashGet is [Stash.Get] with a value of type T, into which it is decoded at
// once, as [Call] does.
func StashGet[T any](ctx context.Context, s *Stash, key any) (T, error) {
	return askKey[T](ctx, s, dirty.StashRequest{Op: dirty.StashGet, Key: key})
}

// Lookup is [Stash.Get] for keys that may be missing, which is no error.
func (s *Stash) Lookup(ctx context.Context, key any) (value any, found bool, err error) {
	value, err = s.Get(ctx, key)
	if errors.Is(err, dirty.ErrKeyNotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// Delete deletes a key, and reports whether it was there.
func (s *Stash) Delete(ctx context.Context, key any) (existed bool, err error) {
	return askKey[bool](ctx, s, dirty.StashRequest{Op: dirty.StashDelete, Key: key})
}

// Keys returns the keys whose text matches a pattern, in order of insertion:
// * ? [abc] [!abc] as Python's fnmatch has them, where * matches a slash too. "" is
// all keys. A missing table has none. Keys are strings, unless another client has
// stored others.
func (s *Stash) Keys(ctx context.Context, pattern string) ([]any, error) {
	return ask[[]any](ctx, s, dirty.StashRequest{Op: dirty.StashKeys, Pattern: pattern})
}

// StashItem is a key of a table and its value.
type StashItem struct{ Key, Value any }

// Items ranges over the keys that match a pattern, as [Stash.Keys] has it, and
// their values. It asks for one value at a time: keys that are deleted meanwhile
// are left out, keys that are added do not come. An error is yielded once, as the
// last pair. It may be ranged over again, and asks anew.
func (s *Stash) Items(ctx context.Context, pattern string) iter.Seq2[StashItem, error] {
	return func(yield func(StashItem, error) bool) {
		keys, err := s.Keys(ctx, pattern)
		if err != nil {
			yield(StashItem{}, err)
			return
		}
		for _, key := range keys {
			// Not Get, which would refuse some keys that other clients have stored.
			value, err := ask[any](ctx, s, dirty.StashRequest{Op: dirty.StashGet, Key: key})
			switch {
			case errors.Is(err, dirty.ErrKeyNotFound):
				continue
			case err != nil:
				yield(StashItem{}, err)
				return
			case !yield(StashItem{key, value}, nil):
				return
			}
		}
	}
}

// StashInfo is what the arbiter tells of a table.
type StashInfo struct {
	Table string `dirty:"table"`
	Size  int    `dirty:"size"` // number of keys
}

// Info returns what the arbiter tells of the table. If there is none the error
// matches [dirty.ErrTableNotFound].
func (s *Stash) Info(ctx context.Context) (StashInfo, error) {
	return ask[StashInfo](ctx, s, dirty.StashRequest{Op: dirty.StashInfo})
}

// Len returns the number of keys. If there is no such table the error matches
// [dirty.ErrTableNotFound].
func (s *Stash) Len(ctx context.Context) (int, error) {
	info, err := s.Info(ctx)
	return info.Size, err
}

// Clear deletes all keys. The table stays.
func (s *Stash) Clear(ctx context.Context) error {
	_, err := ask[any](ctx, s, dirty.StashRequest{Op: dirty.StashClear})
	return err
}

// Ensure makes the table, if it is not there.
func (s *Stash) Ensure(ctx context.Context) error {
	_, err := ask[any](ctx, s, dirty.StashRequest{Op: dirty.StashEnsure})
	return err
}

// Exists reports whether a key exists or, without a key, whether the table does.
func (s *Stash) Exists(ctx context.Context, key ...any) (bool, error) {
	m := dirty.StashRequest{Op: dirty.StashExists}
	switch len(key) {
	case 0:
		return ask[bool](ctx, s, m)
	case 1:
		m.Key = key[0]
		return askKey[bool](ctx, s, m)
	}
	return false, s.refuse(m, fmt.Errorf("%w: %d keys, want one or none", ErrInvalidArgument, len(key)))
}

// Drop deletes the table and its keys, and reports whether it was there.
func (s *Stash) Drop(ctx context.Context) (existed bool, err error) {
	return ask[bool](ctx, s, dirty.StashRequest{Op: dirty.StashDeleteTable})
}

// Tables returns the names of the tables. Names that are no strings, which
// Python code can make but a Stash cannot have, are left out.
func (c *Client) Tables(ctx context.Context) ([]string, error) {
	names, err := ask[[]any](ctx, c.Stash(""), dirty.StashRequest{Op: dirty.StashTables})
	var tables []string
	for _, name := range names {
		if text, ok := name.(string); ok {
			tables = append(tables, text)
		}
	}
	return tables, err
}

// askKey is ask for an operation on a key of the caller's.
func askKey[T any](ctx context.Context, s *Stash, m dirty.StashRequest) (T, error) {
	if err := checkKey(m.Key); err != nil {
		var zero T
		return zero, s.refuse(m, err)
	}
	return ask[T](ctx, s, m)
}

// ask makes a stash operation. The message lacks id and table.
func ask[T any](ctx context.Context, s *Stash, m dirty.StashRequest) (T, error) {
	m.Table = s.table
	call := CallInfo{Operation: s.operation(m)}
	return doFor[T](ctx, s.client, call, s.client.cfg.Timeout, func(_ *conn, id uint64, _ CallInfo) dirty.Message {
		m := m // attempts may be made at one time
		m.ID = id
		return &m
	})
}

// operation names a stash operation.
func (s *Stash) operation(m dirty.StashRequest) Operation {
	op := Operation{Name: "stash " + m.Op.String(), Table: s.table}
	switch key := m.Key.(type) {
	case nil:
	case string:
		op.Key = key
	case []byte:
		op.Key = fmt.Sprintf("b%q", key)
	default:
		op.Key = fmt.Sprint(key)
	}
	switch m.Op {
	case dirty.StashPut, dirty.StashDelete, dirty.StashClear, dirty.StashEnsure, dirty.StashDeleteTable: // they change something
	case dirty.StashGet, dirty.StashKeys, dirty.StashInfo, dirty.StashTables, dirty.StashExists:
		op.reads = true
	}
	return op
}

// refuse returns the error for an operation that is not made.
func (s *Stash) refuse(m dirty.StashRequest, err error) error {
	return &OpError{Operation: s.operation(m), Stage: StagePrepare, Err: err}
}

// checkKey refuses what Python has no key for, and NaN, which is never found
// again.
func checkKey(key any) error {
	v := reflect.ValueOf(key)
	_, encodesItself := key.(dirty.Marshaler)
	_, encoded := key.(dirty.RawValue)
	switch {
	case encodesItself || encoded: // to what cannot be seen here
	case !v.IsValid(), v.Kind() == reflect.Slice && v.IsNil(): // which would be None
		return fmt.Errorf("%w: the key is nil", ErrInvalidArgument)
	case v.CanFloat() && math.IsNaN(v.Float()):
		return fmt.Errorf("%w: the key is NaN, which would never be found", ErrInvalidArgument)
	case v.CanInt(), v.CanUint(), v.CanFloat(), v.Kind() == reflect.String, v.Kind() == reflect.Bool:
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return nil
	}
	return fmt.Errorf("%w: a key of type %T, want a string, a number, a bool or []byte", ErrInvalidArgument, key)
}

// encodeStorable returns a value that can be put, or why it cannot be. A value
// that may be a dict is encoded to see its keys, and returned so.
func encodeStorable(value any, limits dirty.Limits) (any, error) {
	switch value.(type) {
	case nil, bool, int, int64, float64, string, []byte, []any:
		return value, nil
	}
	encoded, err := dirty.EncodeOptions{Limits: limits}.Marshal(value)
	if err != nil {
		return nil, err
	}
	d := dirty.DecodeOptions{Limits: limits}.NewDecoder(encoded)
	n, err := d.DictHeader()
	if err != nil { // it is no dict
		return dirty.RawValue(encoded), nil
	}
	for range n {
		key, err := d.Key()
		if err != nil {
			return nil, err
		}
		if key == "error" {
			return nil, fmt.Errorf("%w: gunicorn gives back a dict with the key \"error\" as an error", ErrInvalidArgument)
		}
		if err := d.Skip(); err != nil {
			return nil, err
		}
	}
	return dirty.RawValue(encoded), nil
}
