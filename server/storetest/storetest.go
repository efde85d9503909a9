// Package storetest checks that a [server.Store] behaves as the stash of a
// gunicorn arbiter does. A store of your own is tested with a few lines:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func() server.Store { return newStore(t) })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
)

// timeout bounds each test, whatever the store does.
const timeout = 2 * time.Minute

// Run checks the stores that newStore returns. It is called once for each test,
// maybe concurrently, and must return a store without tables each time. What the
// store holds open is closed by newStore, with [testing.T.Cleanup].
//
// What is checked are the operations on tables and keys that are there and on
// those that are not, the order of keys and tables, which keys are one key in
// Python, patterns, the memory of keys and values, large values, many keys, and
// use by many goroutines at once. The facts are those of gunicorn 25.1.0 and
// later; docs/SPEC.md has them. NaN is not checked: gunicorn never finds what is
// stored under it, while [server.KeyIdentity] makes all NaN one key.
func Run(t *testing.T, newStore func() server.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(s *store)
	}{
		{"missing", testMissing},
		{"put and get", testPutAndGet},
		{"delete", testDelete},
		{"order", testOrder},
		{"clear", testClear},
		{"tables", testTables},
		{"kinds of keys", testKinds},
		{"equal keys", testEqualKeys},
		{"bad keys", testBadKeys},
		{"patterns", testPatterns},
		{"names that look like others", testNames},
		{"values", testValues},
		{"memory", testMemory},
		{"many keys", testManyKeys},
		{"many goroutines", testConcurrency},
		{"an ended context", testContext},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			test.run(&store{t, ctx, newStore()})
		})
	}
}

// store is a store under test, with methods that fail the test on errors.
type store struct {
	t   *testing.T
	ctx context.Context
	server.Store
}

func (s *store) check(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// equal fails the test if got is not what is wanted.
func (s *store) equal(what string, want, got any) {
	s.t.Helper()
	if !reflect.DeepEqual(want, got) {
		s.t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func (s *store) put(table, key, value any) {
	s.t.Helper()
	s.check(fmt.Sprintf("Put(%#v, %#v)", table, key), s.Put(s.ctx, table, key, encode(s.t, value)))
}

// has checks that a key has a value.
func (s *store) has(table, key, want any) {
	s.t.Helper()
	got, err := s.Get(s.ctx, table, key)
	s.check(fmt.Sprintf("Get(%#v, %#v)", table, key), err)
	if !bytes.Equal(encode(s.t, want), got) {
		s.t.Errorf("Get(%#v, %#v): got %s, want %#v", table, key, shorten(dirty.Diagnose(got)), want)
	}
}

// hasNot checks that there is no such key.
func (s *store) hasNot(table, key any) {
	s.t.Helper()
	_, err := s.Get(s.ctx, table, key)
	if !errors.Is(err, dirty.ErrKeyNotFound) {
		s.t.Errorf("Get(%#v, %#v): the error is %v, want one that matches dirty.ErrKeyNotFound", table, key, err)
	}
}

func (s *store) keys(table any, pattern string, want ...any) {
	s.t.Helper()
	got, err := s.Keys(s.ctx, table, pattern)
	what := fmt.Sprintf("Keys(%#v, %q)", table, pattern)
	s.check(what, err)
	s.equal(what, list(want), list(got))
}

func (s *store) tables(want ...any) {
	s.t.Helper()
	got, err := s.Tables(s.ctx)
	s.check("Tables", err)
	s.equal("Tables", list(want), list(got))
}

func (s *store) size(table any, want int) {
	s.t.Helper()
	got, err := s.Len(s.ctx, table)
	what := fmt.Sprintf("Len(%#v)", table)
	s.check(what, err)
	s.equal(what, want, got)
}

func (s *store) noTable(table any) {
	s.t.Helper()
	_, err := s.Len(s.ctx, table)
	if !errors.Is(err, dirty.ErrTableNotFound) {
		s.t.Errorf("Len(%#v): the error is %v, want one that matches dirty.ErrTableNotFound", table, err)
	}
	s.exists(table, nil, false)
}

// exists checks a key or, for a nil key, the table.
func (s *store) exists(table, key any, want bool) {
	s.t.Helper()
	got, err := s.Exists(s.ctx, table, key)
	what := fmt.Sprintf("Exists(%#v, %#v)", table, key)
	s.check(what, err)
	s.equal(what, want, got)
}

func (s *store) delete(table, key any, want bool) {
	s.t.Helper()
	got, err := s.Delete(s.ctx, table, key)
	what := fmt.Sprintf("Delete(%#v, %#v)", table, key)
	s.check(what, err)
	s.equal(what, want, got)
}

func (s *store) drop(table any, want bool) {
	s.t.Helper()
	got, err := s.Drop(s.ctx, table)
	what := fmt.Sprintf("Drop(%#v)", table)
	s.check(what, err)
	s.equal(what, want, got)
}

// list makes nil and empty lists equal.
func list(l []any) []any { return append([]any{}, l...) }

func encode(t *testing.T, v any) dirty.RawValue {
	t.Helper()
	b, err := dirty.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shorten(text string) string {
	if len(text) > 100 {
		return text[:100] + "..."
	}
	return text
}

func testMissing(s *store) {
	s.tables()
	s.hasNot("t", "k")
	s.delete("t", "k", false)
	s.keys("t", "")
	s.check("Clear of a missing table", s.Clear(s.ctx, "t"))
	s.noTable("t")
	s.drop("t", false)
	s.exists("t", "k", false)
	s.tables() // asking has made none
}

func testPutAndGet(s *store) {
	s.put("t", "k", "v")
	s.has("t", "k", "v")
	s.exists("t", "k", true)
	s.exists("t", nil, true)
	s.hasNot("t", "other")
	s.hasNot("other", "k")
	s.size("t", 1)
	s.put("t", "k", 2)
	s.has("t", "k", 2)
	s.size("t", 1)
}

func testDelete(s *store) {
	s.put("t", "a", 1)
	s.put("t", "b", 2)
	s.delete("t", "a", true)
	s.delete("t", "a", false)
	s.hasNot("t", "a")
	s.has("t", "b", 2)
	s.delete("t", "b", true)
	s.size("t", 0) // the table stays
	s.tables("t")
}

func testOrder(s *store) {
	for _, key := range []string{"c", "a", "b"} {
		s.put("t", key, key)
	}
	s.keys("t", "", "c", "a", "b")
	s.put("t", "a", "again") // keeps its place
	s.keys("t", "", "c", "a", "b")
	s.delete("t", "c", true)
	s.put("t", "c", "new") // comes last
	s.keys("t", "", "a", "b", "c")
}

func testClear(s *store) {
	s.put("t", "k", 1)
	s.put("other", "k", 1)
	s.check("Clear", s.Clear(s.ctx, "t"))
	s.hasNot("t", "k")
	s.size("t", 0)
	s.keys("t", "")
	s.has("other", "k", 1)
	s.tables("t", "other")
	s.put("t", "k", 2)
	s.has("t", "k", 2)
}

func testTables(s *store) {
	s.check("Ensure", s.Ensure(s.ctx, "b"))
	s.check("Ensure", s.Ensure(s.ctx, "b"))
	s.size("b", 0)
	s.exists("b", nil, true)
	s.put("a", "k", 1)
	s.tables("b", "a")
	s.check("Ensure of a table with keys", s.Ensure(s.ctx, "a"))
	s.has("a", "k", 1)
	s.drop("b", true)
	s.drop("b", false)
	s.noTable("b")
	s.tables("a")
	s.drop("a", true)
	s.hasNot("a", "k")
	s.put("a", "other", 1)
	s.keys("a", "", "other") // nothing of the old table is left
}

// allKinds are keys of every kind, all different.
var allKinds = []any{
	"k", "", "5", "None", "True", "1.5", "é\u0000\n", int64(5), int64(-5), int64(1), int64(1) << 62, -int64(1) << 63,
	1.5, -0.25, 1e300, []byte("k"), []byte{}, []byte{0, 255}, false,
}

func testKinds(s *store) {
	for i, key := range allKinds {
		s.put("t", key, i)
	}
	s.size("t", len(allKinds))
	for i, key := range allKinds {
		s.has("t", key, i)
		s.exists("t", key, true)
	}
	s.keys("t", "", allKinds...) // each with its kind
	for _, key := range allKinds {
		s.delete("t", key, true)
	}
	s.size("t", 0)

	// None is a key as well, but Exists asks for the table then.
	s.put("t", nil, "none")
	s.has("t", nil, "none")
	s.hasNot("t", "None")
	s.keys("t", "", nil)
	s.delete("t", nil, true)
	s.hasNot("t", nil)

	for i, table := range allKinds {
		s.put(table, "k", i)
	}
	s.put(nil, "k", "none")
	for i, table := range allKinds {
		s.has(table, "k", i)
	}
	s.has(nil, "k", "none")
	s.drop(nil, true)
	s.tables(append([]any{"t"}, allKinds...)...)
}

func testEqualKeys(s *store) {
	for _, equal := range [][]any{
		{int64(1), true, 1.0}, {int64(0), false, 0.0, math.Copysign(0, -1)}, {1.5, 1.5}, {int64(1) << 53, float64(1 << 53)},
	} {
		table := fmt.Sprint(equal)
		for i, first := range equal {
			for _, other := range equal {
				s.put(table, first, i)
				s.has(table, other, i)
				s.size(table, 1)
			}
		}
		s.keys(table, "", equal[0]) // as it was put first
		s.delete(table, equal[len(equal)-1], true)
		s.size(table, 0)
	}
	s.put("k", "k", 1)
	s.hasNot("k", []byte("k"))
	s.put("n", int64(1)<<53+1, 1) // has no float
	s.hasNot("n", float64(1<<53))
}

// testBadKeys: what is no key in Python is an error, and stores nothing. Whether Put
// makes the table before it sees the key does not matter; an arbiter does.
func testBadKeys(s *store) {
	for _, key := range []any{[]any{}, map[string]any{}, dirty.Dict{}} {
		if s.Put(s.ctx, "t", key, encode(s.t, 1)) == nil {
			s.t.Errorf("Put with a key of type %T: there is no error", key)
		}
		if _, err := s.Get(s.ctx, "t", key); err == nil || errors.Is(err, dirty.ErrKeyNotFound) {
			s.t.Errorf("Get with a key of type %T: the error is %v", key, err)
		}
		if s.Ensure(s.ctx, key) == nil {
			s.t.Errorf("Ensure with a table of type %T: there is no error", key)
		}
	}
	s.keys("t", "")
}

func testPatterns(s *store) {
	keys := []any{"apple", "apricot", "banana", "Apple", "a/b", "[x]", "a*", int64(12), 1.5, true, nil, []byte("ap")}
	for i, key := range keys {
		s.put("t", key, i)
	}
	for pattern, want := range map[string][]any{
		"":      keys,
		"*":     keys,
		"ap*":   {"apple", "apricot"},
		"a*":    {"apple", "apricot", "a/b", "a*"},
		"a[*]":  {"a*"},
		"?pple": {"apple", "Apple"},
		"[[]x]": {"[x]"},
		"1*":    {int64(12), 1.5},
		"True":  {true},
		"None":  {nil},
		"b'ap'": {[]byte("ap")},
		"[!a]*": {"banana", "Apple", "[x]", int64(12), 1.5, true, nil, []byte("ap")},
		"x*":    nil,
	} {
		s.keys("t", pattern, want...)
	}
}

// testNames: names that a store may use for something of its own are names as
// others.
func testNames(s *store) {
	names := []any{
		"", " ", ":", "a:b", "a", "b", "*", "tables", "keys", "s:k", "i:5", "{t}", "\x00", "../x", "a\nb", `"`, "'", "%s", "é", "😀",
		strings.Repeat("long", 10_000),
	}
	for i, table := range names {
		for j, key := range names {
			s.put(table, key, i*len(names)+j)
		}
	}
	s.tables(names...)
	for i, table := range names {
		s.keys(table, "", names...)
		for j, key := range names {
			s.has(table, key, i*len(names)+j)
		}
	}
	for _, table := range names {
		s.drop(table, true)
	}
	s.tables()
}

// testValues: values come back byte for byte.
func testValues(s *store) {
	for i, value := range []any{
		nil, true, 0, -1, 1.5, "", "text", []byte{}, []byte{0, 1, 255}, []any{}, []any{1, []any{2}}, map[string]any{"a": nil},
		dirty.Dict{{Key: "z", Value: 1}, {Key: "a", Value: 2}}, bytes.Repeat([]byte("large"), 1<<20),
	} {
		s.put("t", int64(i), value)
		s.has("t", int64(i), value)
	}
	s.put("t", "none", nil)
	s.exists("t", "none", true) // a stored None is there
}

// testMemory: what is put may be changed afterwards, and so may what was got.
func testMemory(s *store) {
	table, key, value := []byte("table"), []byte("key"), encode(s.t, "value")
	s.check("Put", s.Put(s.ctx, table, key, value))
	clear(table)
	clear(key)
	clear(value)
	s.has([]byte("table"), []byte("key"), "value")
	keys, err := s.Keys(s.ctx, []byte("table"), "")
	s.check("Keys", err)
	if len(keys) == 1 {
		if b, ok := keys[0].([]byte); ok {
			clear(b)
		}
	}
	s.keys([]byte("table"), "", []byte("key"))
}

func testManyKeys(s *store) {
	const n = 2000
	want := make([]any, n)
	for i := range want {
		want[i] = fmt.Sprintf("key %d", i)
		s.put("t", want[i], i)
	}
	s.size("t", n)
	s.keys("t", "", want...)
	s.keys("t", "key 1999", "key 1999")
	s.check("Clear", s.Clear(s.ctx, "t"))
	s.size("t", 0)
}

// testConcurrency: operations do not disturb each other.
func testConcurrency(s *store) {
	const goroutines, rounds = 8, 20
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			own := fmt.Sprintf("own %d", g)
			for i := range rounds {
				value := encode(s.t, i)
				err := errors.Join(
					s.Put(s.ctx, "shared", own, value), s.Put(s.ctx, "shared", "contended", value),
					s.Put(s.ctx, own, int64(i), value), s.Ensure(s.ctx, "made by all"))
				got, getErr := s.Get(s.ctx, "shared", own)
				if getErr == nil && !bytes.Equal(got, value) {
					getErr = fmt.Errorf("%s: got %s, want %d", own, dirty.Diagnose(got), i)
				}
				_, keysErr := s.Keys(s.ctx, "shared", "own*")
				if err := errors.Join(err, getErr, keysErr); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		s.t.Error(err)
	}
	s.size("shared", goroutines+1)
	for g := range goroutines {
		s.size(fmt.Sprintf("own %d", g), rounds)
	}
	tables, err := s.Tables(s.ctx)
	s.check("Tables", err)
	s.equal("the number of tables", goroutines+2, len(tables))
}

// testContext: a store may look at the context or not, but it must not lose what
// it holds.
func testContext(s *store) {
	s.put("t", "k", "v")
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	_, _ = s.Get(ended, "t", "k")
	_ = s.Put(ended, "t", "other", encode(s.t, 1))
	_, _ = s.Keys(ended, "t", "")
	s.has("t", "k", "v")
}
