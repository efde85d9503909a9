package server

import (
	"bytes"
	"container/list"
	"context"
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
type MemoryStore struct {
	mu     sync.RWMutex
	tables ordered[*ordered[dirty.RawValue]]
}

var _ Store = (*MemoryStore)(nil)

// ordered is a map with Python's keys. It keeps the order in which they came.
type ordered[V any] struct {
	byID  map[any]*list.Element // by mapKey
	items list.List             // of *item[V]
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
		o.byID = map[any]*list.Element{}
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

func (o *ordered[V]) keys() []any {
	keys := make([]any, 0, o.items.Len())
	for e := o.items.Front(); e != nil; e = e.Next() {
		keys = append(keys, cloneKey(e.Value.(*item[V]).key))
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
func (m *MemoryStore) Put(_ context.Context, table, key any, value dirty.RawValue) error {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return err
	}
	value = append(make(dirty.RawValue, 0, len(value)), value...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ensure(tableID, table).put(keyID, key, value)
	return nil
}

// Get returns a copy of the value of a key, or [dirty.ErrKeyNotFound].
func (m *MemoryStore) Get(_ context.Context, table, key any) (dirty.RawValue, error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.table(tableID); t != nil {
		if value, ok := t.get(keyID); ok {
			return append(make(dirty.RawValue, 0, len(value)), value...), nil
		}
	}
	return nil, dirty.ErrKeyNotFound
}

// Delete deletes a key, and reports whether it was there.
func (m *MemoryStore) Delete(_ context.Context, table, key any) (existed bool, err error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
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
	return FilterKeys(ctx, m.keys(id), pattern) // without the lock: a pattern may take long
}

// keys returns all keys of a table.
func (m *MemoryStore) keys(id any) []any {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.table(id); t != nil {
		return t.keys()
	}
	return []any{}
}

// Clear deletes all keys of a table, if there is one.
func (m *MemoryStore) Clear(_ context.Context, table any) error {
	id, err := mapKey(table)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.table(id); t != nil {
		*t = ordered[dirty.RawValue]{}
	}
	return nil
}

// Len returns the number of keys, or [dirty.ErrTableNotFound].
func (m *MemoryStore) Len(_ context.Context, table any) (int, error) {
	id, err := mapKey(table)
	if err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if t := m.table(id); t != nil {
		return t.items.Len(), nil
	}
	return 0, dirty.ErrTableNotFound
}

// Ensure makes a table, if there is none.
func (m *MemoryStore) Ensure(_ context.Context, table any) error {
	id, err := mapKey(table)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ensure(id, table)
	return nil
}

// Drop deletes a table and its keys, and reports whether it was there.
func (m *MemoryStore) Drop(_ context.Context, table any) (existed bool, err error) {
	id, err := mapKey(table)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tables.delete(id), nil
}

// Tables returns the names of the tables, in the order in which they were
// made.
func (m *MemoryStore) Tables(context.Context) ([]any, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.tables.keys(), nil
}

// Exists reports whether there is a key or, for a nil key, the table.
func (m *MemoryStore) Exists(_ context.Context, table, key any) (bool, error) {
	tableID, keyID, err := mapKeys(table, key)
	if err != nil {
		return false, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.table(tableID)
	if t == nil || key == nil {
		return t != nil, nil
	}
	_, ok := t.get(keyID)
	return ok, nil
}
