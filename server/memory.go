package server

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"iter"
	"sync"

	"github.com/gunicorn-go/dirty"
)

// MemoryStore is a [Store] in memory. It copies what it is given and what it
// returns, so later changes of a caller do not show. Nothing is ever deleted by
// itself, and nothing bounds its size: clients can fill the memory.
//
// It does what gunicorn's stash does, with one difference: all NaN are one key, and
// one table. In gunicorn each Put under NaN adds another one, which nobody can find.
//
// The zero value is empty and ready to use. It may be used concurrently, also
// by several servers.
//
// It is a [Snapshotter]. Once it has moved to another process its methods ask that
// one. There they return an error if that process has ended.
type MemoryStore struct {
	mu     sync.RWMutex
	tables ordered[*ordered[dirty.RawValue]]
	held   chan struct{} // closed when changes need not wait any more; nil: they need not
	moved  Store         // where the tables are; nil: here
}

var _ Snapshotter = (*MemoryStore)(nil)

// lock locks the tables for a change, which waits while changes are held. If they
// are not to be changed here, it locks nothing and returns the store to ask instead.
func (m *MemoryStore) lock(ctx context.Context) (to Store) {
	for {
		m.mu.Lock()
		held, moved := m.held, m.moved
		if held == nil && moved == nil {
			return nil
		}
		m.mu.Unlock()
		if moved != nil {
			return moved
		}
		select {
		case <-held:
		case <-ctx.Done():
			return refusing{context.Cause(ctx)}
		}
	}
}

// rlock locks the tables for reading, or returns the store to ask instead.
func (m *MemoryStore) rlock() (to Store) {
	m.mu.RLock()
	if m.moved == nil {
		return nil
	}
	defer m.mu.RUnlock()
	return m.moved
}

// Hold makes the methods that change tables wait, until their context ends or
// release is called, see [Snapshotter]. It waits itself while another Hold lasts. It
// fails if ctx ends meanwhile, and if the tables have moved.
func (m *MemoryStore) Hold(ctx context.Context) (release func(to Store), err error) {
	if m.lock(ctx) != nil {
		return nil, cmp.Or(context.Cause(ctx), error(ErrMoved))
	}
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.held = held
	return func(to Store) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.held != held {
			return // released before
		}
		m.held, m.moved = nil, to
		if to != nil {
			m.tables = ordered[*ordered[dirty.RawValue]]{}
		}
		close(held)
	}, nil
}

// ordered is a map with Python's keys. It keeps the order in which they came.
type ordered[V any] struct {
	byID  map[any]*list.Element // by mapKey
	items *list.List            // of *item[V]; nil while there are none. A list must not be copied.
}

type item[V any] struct {
	key   any // as it was put first
	value V
}

func (o *ordered[V]) get(id any) (v V, ok bool) {
	e := o.byID[id]
	if e == nil {
		return v, false
	}
	return e.Value.(*item[V]).value, true
}

func (o *ordered[V]) put(id, key any, v V) {
	if e := o.byID[id]; e != nil {
		e.Value.(*item[V]).value = v
		return
	}
	if o.byID == nil {
		o.byID, o.items = map[any]*list.Element{}, list.New()
	}
	o.byID[id] = o.items.PushBack(&item[V]{cloneKey(key), v})
}

func (o *ordered[V]) delete(id any) (existed bool) {
	e := o.byID[id]
	if e == nil {
		return false
	}
	delete(o.byID, id)
	o.items.Remove(e)
	return true
}

func (o *ordered[V]) len() int { return len(o.byID) }

// all returns the keys and values in their order.
func (o *ordered[V]) all() iter.Seq2[any, V] {
	return func(yield func(any, V) bool) {
		if o.items == nil {
			return
		}
		for e := o.items.Front(); e != nil; e = e.Next() {
			if i := e.Value.(*item[V]); !yield(i.key, i.value) {
				return
			}
		}
	}
}

func (o *ordered[V]) keys() []any {
	keys := make([]any, 0, o.len())
	for key := range o.all() {
		keys = append(keys, cloneKey(key))
	}
	return keys
}

func cloneKey(key any) any {
	if b, ok := key.([]byte); ok {
		return bytes.Clone(b)
	}
	return key
}

// table returns a table, or nil. The lock is held.
func (m *MemoryStore) table(id any) *ordered[dirty.RawValue] {
	t, _ := m.tables.get(id)
	return t
}

// ensure returns a table, which it makes if there is none. The lock is held.
func (m *MemoryStore) ensure(id, name any) *ordered[dirty.RawValue] {
	t := m.table(id)
	if t == nil {
		t = new(ordered[dirty.RawValue])
		m.tables.put(id, name, t)
	}
	return t
}

// otherKey is the KeyIdentity of a key that is no string.
type otherKey string

// mapKey returns what stands for a key in the maps of a MemoryStore. A string stands
// for itself: nearly all keys are strings, and their KeyIdentity takes an allocation.
func mapKey(key any) (comparable any, err error) {
	if _, isString := key.(string); isString {
		return key, nil
	}
	id, err := KeyIdentity(key)
	return otherKey(id), err
}

// mapKeys returns those of a table and a key, if both can be keys.
func mapKeys(table, key any) (tableID, keyID any, err error) {
	if tableID, err = mapKey(table); err != nil {
		return nil, nil, err
	}
	keyID, err = mapKey(key)
	return tableID, keyID, err
}

// Put stores a copy of an encoded value. It makes the table if there is none.
func (m *MemoryStore) Put(ctx context.Context, table, key any, value dirty.RawValue) error {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return err
	}
	value = append(make(dirty.RawValue, 0, len(value)), value...)
	if to := m.lock(ctx); to != nil {
		return to.Put(ctx, table, key, value)
	}
	defer m.mu.Unlock()
	m.ensure(tableID, table).put(keyID, key, value)
	return nil
}

// Get returns a copy of the value of a key, or [dirty.ErrKeyNotFound].
func (m *MemoryStore) Get(ctx context.Context, table, key any) (dirty.RawValue, error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return nil, err
	}
	if to := m.rlock(); to != nil {
		return to.Get(ctx, table, key)
	}
	defer m.mu.RUnlock()
	if t := m.table(tableID); t != nil {
		if value, ok := t.get(keyID); ok {
			return append(make(dirty.RawValue, 0, len(value)), value...), nil
		}
	}
	return nil, dirty.ErrKeyNotFound
}

// Delete deletes a key, and reports whether it was there.
func (m *MemoryStore) Delete(ctx context.Context, table, key any) (existed bool, err error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return false, err
	}
	if to := m.lock(ctx); to != nil {
		return to.Delete(ctx, table, key)
	}
	defer m.mu.Unlock()
	t := m.table(tableID)
	return t != nil && t.delete(keyID), nil
}

// Keys returns the keys of a table that match a pattern, in the order in which
// they were first put.
func (m *MemoryStore) Keys(ctx context.Context, table any, pattern string) ([]any, error) {
	id, err := mapKey(table)
	if err != nil {
		return nil, err
	}
	if to := m.rlock(); to != nil {
		return to.Keys(ctx, table, pattern)
	}
	keys := []any{}
	if t := m.table(id); t != nil {
		keys = t.keys()
	}
	m.mu.RUnlock()
	return FilterKeys(ctx, keys, pattern) // without the lock: a pattern may take long
}

// Clear deletes all keys of a table, if there is one.
func (m *MemoryStore) Clear(ctx context.Context, table any) error {
	id, err := mapKey(table)
	if err != nil {
		return err
	}
	if to := m.lock(ctx); to != nil {
		return to.Clear(ctx, table)
	}
	defer m.mu.Unlock()
	if t := m.table(id); t != nil {
		*t = ordered[dirty.RawValue]{}
	}
	return nil
}

// Len returns the number of keys, or [dirty.ErrTableNotFound].
func (m *MemoryStore) Len(ctx context.Context, table any) (int, error) {
	id, err := mapKey(table)
	if err != nil {
		return 0, err
	}
	if to := m.rlock(); to != nil {
		return to.Len(ctx, table)
	}
	defer m.mu.RUnlock()
	if t := m.table(id); t != nil {
		return t.len(), nil
	}
	return 0, dirty.ErrTableNotFound
}

// Ensure makes a table, if there is none.
func (m *MemoryStore) Ensure(ctx context.Context, table any) error {
	id, err := mapKey(table)
	if err != nil {
		return err
	}
	if to := m.lock(ctx); to != nil {
		return to.Ensure(ctx, table)
	}
	defer m.mu.Unlock()
	m.ensure(id, table)
	return nil
}

// Drop deletes a table and its keys, and reports whether it was there.
func (m *MemoryStore) Drop(ctx context.Context, table any) (existed bool, err error) {
	id, err := mapKey(table)
	if err != nil {
		return false, err
	}
	if to := m.lock(ctx); to != nil {
		return to.Drop(ctx, table)
	}
	defer m.mu.Unlock()
	return m.tables.delete(id), nil
}

// Tables returns the names of the tables, in the order in which they were
// made.
func (m *MemoryStore) Tables(ctx context.Context) ([]any, error) {
	if to := m.rlock(); to != nil {
		return to.Tables(ctx)
	}
	defer m.mu.RUnlock()
	return m.tables.keys(), nil
}

// Exists reports whether there is a key or, for a nil key, the table.
func (m *MemoryStore) Exists(ctx context.Context, table, key any) (bool, error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return false, err
	}
	if to := m.rlock(); to != nil {
		return to.Exists(ctx, table, key)
	}
	defer m.mu.RUnlock()
	t := m.table(tableID)
	if t == nil || key == nil {
		return t != nil, nil
	}
	_, ok := t.get(keyID)
	return ok, nil
}
