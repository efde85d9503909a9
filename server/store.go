package server

import (
	"context"
	"errors"

	"github.com/gunicorn-go/dirty"
)

// Store keeps the tables of a stash. Its methods are called concurrently. The
// context is that of the operation, and ends when its client leaves or the server
// is closed.
//
// Tables and keys are of the types that are keys in Python: nil, bool, int64,
// float64, string and []byte. Nearly always they are strings. [KeyIdentity] tells
// which of them are one key, and gives each a text by which a Store can keep it. Byte
// slices and values are valid only during the call; a Store copies what it keeps.
//
// Clients are told of errors as follows. One that matches
// [dirty.ErrKeyNotFound] or [dirty.ErrTableNotFound] becomes the error with which
// Python's get returns its default. A [*dirty.RemoteError] is sent as it is. Others
// become a DirtyError with their text.
type Store interface {
	// Put stores an encoded value. It makes the table if there is none.
	Put(ctx context.Context, table, key any, value dirty.RawValue) error

	// Get returns the value of a key. If there is no such key or table, it
	// returns an ErrKeyNotFound. The value must not be changed afterwards.
	Get(ctx context.Context, table, key any) (dirty.RawValue, error)

	// Delete deletes a key, and reports whether it was there.
	Delete(ctx context.Context, table, key any) (existed bool, err error)

	// Keys returns the keys of a table that match a pattern, in the order in
	// which they were first put; see [FilterKeys]. A missing table has none.
	Keys(ctx context.Context, table any, pattern string) ([]any, error)

	// Clear deletes all keys of a table, if there is one.
	Clear(ctx context.Context, table any) error

	// Len returns the number of keys. If there is no such table, it returns an
	// ErrTableNotFound.
	Len(ctx context.Context, table any) (int, error)

	// Ensure makes a table, if there is none.
	Ensure(ctx context.Context, table any) error

	// Drop deletes a table and its keys, and reports whether it was there.
	Drop(ctx context.Context, table any) (existed bool, err error)

	// Tables returns the names of the tables, in the order in which they were
	// made.
	Tables(ctx context.Context) ([]any, error)

	// Exists reports whether a table has a key or, if key is nil, whether there
	// is the table.
	Exists(ctx context.Context, table, key any) (bool, error)
}

// NoStash is a [Store] that refuses everything, for servers without a stash.
var NoStash Store = refusing{errors.New("this server has no stash")}

// refusing is a Store that refuses everything with an error.
type refusing struct{ err error }

func (r refusing) Put(context.Context, any, any, dirty.RawValue) error { return r.err }

func (r refusing) Get(context.Context, any, any) (dirty.RawValue, error) { return nil, r.err }

func (r refusing) Delete(context.Context, any, any) (bool, error) { return false, r.err }

func (r refusing) Keys(context.Context, any, string) ([]any, error) { return nil, r.err }

func (r refusing) Clear(context.Context, any) error { return r.err }

func (r refusing) Len(context.Context, any) (int, error) { return 0, r.err }

func (r refusing) Ensure(context.Context, any) error { return r.err }

func (r refusing) Drop(context.Context, any) (bool, error) { return false, r.err }

func (r refusing) Tables(context.Context) ([]any, error) { return nil, r.err }

func (r refusing) Exists(context.Context, any, any) (bool, error) { return false, r.err }
