package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// put stores a value.
func put(tb testing.TB, s server.Store, table, key, value any) {
	tb.Helper()
	require.NoError(tb, s.Put(ctx, table, key, encoded(value)))
}

// has checks that a store has a value.
func has(tb testing.TB, s server.Store, table, key, want any) {
	tb.Helper()
	got, err := s.Get(ctx, table, key)
	require.NoError(tb, err, "%v", key)
	assert.Equal(tb, dirty.RawValue(encoded(want)), got, "%v", key)
}

// content returns all tables of a store, their keys and values in order.
func content(tb testing.TB, s server.Store) (all []any) {
	tb.Helper()
	tables, err := s.Tables(ctx)
	require.NoError(tb, err)
	for _, table := range tables {
		keys, err := s.Keys(ctx, table, "")
		require.NoError(tb, err)
		entries := []any{table}
		for _, key := range keys {
			value, err := s.Get(ctx, table, key)
			require.NoError(tb, err)
			entries = append(entries, key, value)
		}
		all = append(all, entries)
	}
	return all
}

// snapshot returns a snapshot of a store.
func snapshot(tb testing.TB, s server.Snapshotter) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, s.Snapshot(ctx, &b))
	return b.Bytes()
}

// filledStore returns a store with all kinds of keys and values, in an order that
// sorting would change.
func filledStore(tb testing.TB) *server.MemoryStore {
	tb.Helper()
	s := new(server.MemoryStore)
	for i, table := range []any{"z", "", nil, int64(7), 1.5, []byte("z"), true, "a"} {
		require.NoError(tb, s.Ensure(ctx, table))
		if table == "" {
			continue // an empty table
		}
		for j, key := range []any{"z", "a", nil, int64(-5), "5", 5.5, math.Inf(1), math.NaN(), []byte{0, 255}, []byte("z"), false, ""} {
			put(tb, s, table, key, []any{int64(i), int64(j), kw{"k": nil}})
		}
	}
	put(tb, s, "z", "large", make([]byte, 300<<10))
	require.NoError(tb, s.Put(ctx, "z", "no value", nil))
	require.NoError(tb, s.Put(ctx, "z", "nonsense", dirty.RawValue("nonsense")))
	put(tb, s, "z", "a", "changed in its place")
	existed, err := s.Delete(ctx, "z", nil)
	require.NoError(tb, err)
	require.True(tb, existed)
	put(tb, s, "z", nil, "at a new place")
	return s
}

func TestSnapshot(t *testing.T) {
	for name, s := range map[string]*server.MemoryStore{"empty": new(server.MemoryStore), "filled": filledStore(t)} {
		t.Run(name, func(t *testing.T) {
			data := snapshot(t, s)
			restored := new(server.MemoryStore)
			put(t, restored, "before", "k", 1)
			require.NoError(t, restored.Restore(ctx, iotest.OneByteReader(bytes.NewReader(data))))
			// Through text, because NaN is not equal to NaN.
			assert.Equal(t, fmt.Sprint(content(t, s)), fmt.Sprint(content(t, restored)))
			assert.Equal(t, data, snapshot(t, restored))
			put(t, restored, "after", "k", 1)
			has(t, restored, "after", "k", 1)
		})
	}
}

// TestRestoredChanges checks that a store which was restored changes as the one does that
// it is a copy of.
func TestRestoredChanges(t *testing.T) {
	original, restored := filledStore(t), new(server.MemoryStore)
	require.NoError(t, restored.Restore(ctx, bytes.NewReader(snapshot(t, original))))
	for _, s := range []*server.MemoryStore{original, restored} {
		put(t, s, "new", "k", 1)
		put(t, s, "z", "new", 2)
		for table, existed := range map[any]bool{"a": true, "new": true, "none": false} {
			got, err := s.Drop(ctx, table)
			require.NoError(t, err)
			assert.Equal(t, existed, got)
		}
		existed, err := s.Delete(ctx, "z", "large")
		require.NoError(t, err)
		assert.True(t, existed)
		require.NoError(t, s.Clear(ctx, int64(7)))
		require.NoError(t, s.Ensure(ctx, "a")) // at a new place
	}
	assert.Equal(t, fmt.Sprint(content(t, original)), fmt.Sprint(content(t, restored)))
	assert.Equal(t, snapshot(t, original), snapshot(t, restored))
}

// TestSnapshotFormat holds the bytes of a snapshot, which later versions must read.
func TestSnapshotFormat(t *testing.T) {
	s := new(server.MemoryStore)
	put(t, s, "t", int64(5), true)
	require.NoError(t, s.Ensure(ctx, nil))
	want := "dirty stash 1\n" +
		"\x00\x00\x00\x07T\x11\x00\x00\x00\x01t" +
		"\x00\x00\x00\x0cK\x05\x00\x00\x00\x00\x00\x00\x00\x05\x01\x01" +
		"\x00\x00\x00\x02T\x00" +
		"\x00\x00\x00\x00"
	got := snapshot(t, s)
	require.Equal(t, want, string(got[:len(got)-4]))
	assert.Equal(t, crc32.Checksum([]byte(want), crc32.MakeTable(crc32.Castagnoli)), binary.BigEndian.Uint32(got[len(got)-4:]))
	restored := new(server.MemoryStore)
	require.NoError(t, restored.Restore(ctx, bytes.NewReader(got)))
	assert.Equal(t, content(t, s), content(t, restored))
}

// sealed returns records as a snapshot with a right checksum.
func sealed(records ...string) string {
	data := "dirty stash 1\n"
	for _, r := range records {
		data += string(binary.BigEndian.AppendUint32(nil, uint32(len(r)))) + r
	}
	sum := crc32.Checksum([]byte(data), crc32.MakeTable(crc32.Castagnoli))
	return data + string(binary.BigEndian.AppendUint32(nil, sum))
}

// TestRestoreRefuses checks that what is no whole snapshot changes nothing.
func TestRestoreRefuses(t *testing.T) {
	table, key, nothing := "T"+string(encoded("t")), "K"+string(encoded("k"))+string(encoded(1)), ""
	whole := sealed(table, key, nothing)
	cases := map[string]struct{ data, err string }{
		"nothing":              {"", "it ends too early"},
		"another file":         {"not a snapshot at all", `it begins with "not a snapshot"`},
		"a later version":      {strings.Replace(whole, "1\n", "2\n", 1), `it begins with "dirty stash 2\n", not with "dirty stash 1\n"`},
		"more after its end":   {whole + "x", "something comes after its end"},
		"two snapshots":        {whole + whole, "something comes after its end"},
		"a key without table":  {sealed(key, table, nothing), `a record of kind 'K' is out of place`},
		"an unknown record":    {sealed(table, "X"+key[1:], nothing), `a record of kind 'X' is out of place`},
		"a table with a value": {sealed(table+"x", nothing), `a record of kind 'T' is out of place`},
		"a list as a key":      {sealed(table, "K"+string(encoded([]any{}))+"x", nothing), "unhashable type: 'list'"},
		"no key":               {sealed(table, "K", nothing), "offset 0"},
		"a key cut short":      {sealed(table, key[:4], nothing), "offset"},
		"a huge record":        {whole[:14] + "\xff\xff\xff\xff", "a record of 4294967295 bytes"},
		"a record that is a lie": {whole[:14] + "\x7f\xff\xff\xff" + strings.Repeat("x", 100<<10),
			"it ends too early"},
	}
	for n := range len(whole) {
		cases[fmt.Sprintf("cut after %d bytes", n)] = struct{ data, err string }{whole[:n], "it ends too early"}
		changed := []byte(whole)
		changed[n] ^= 1
		cases[fmt.Sprintf("byte %d changed", n)] = struct{ data, err string }{string(changed), ""}
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			s := filledStore(t)
			before := snapshot(t, s)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			allocated := m.TotalAlloc
			err := s.Restore(ctx, strings.NewReader(tt.data))
			runtime.ReadMemStats(&m)
			assert.Less(t, m.TotalAlloc-allocated, uint64(2<<20))
			require.ErrorIs(t, err, server.ErrSnapshot)
			assert.ErrorContains(t, err, tt.err)
			assert.Equal(t, before, snapshot(t, s))
		})
	}
	s := filledStore(t)
	before := snapshot(t, s)
	assert.ErrorIs(t, s.Restore(ctx, io.MultiReader(strings.NewReader(whole[:20]), iotest.ErrReader(errBoom))), errBoom)
	assert.ErrorIs(t, s.Restore(ctx, io.MultiReader(strings.NewReader(whole), iotest.ErrReader(errBoom))), errBoom)
	ended, cancel := context.WithCancelCause(ctx)
	cancel(errBoom)
	assert.ErrorIs(t, s.Restore(ended, strings.NewReader(whole)), errBoom)
	assert.Equal(t, before, snapshot(t, s))
}

func TestSnapshotFails(t *testing.T) {
	s := filledStore(t)
	assert.ErrorIs(t, s.Snapshot(ctx, iotestErrWriter{}), errBoom)
	ended, cancel := context.WithCancelCause(ctx)
	cancel(errBoom)
	assert.ErrorIs(t, s.Snapshot(ended, io.Discard), errBoom)
}

type iotestErrWriter struct{}

func (iotestErrWriter) Write([]byte) (int, error) { return 0, errBoom }

// TestSnapshotCopiesNoValues checks that a snapshot of a large store takes little
// memory.
func TestSnapshotCopiesNoValues(t *testing.T) {
	s := new(server.MemoryStore)
	value := encoded(make([]byte, 1<<20))
	for i := range 64 {
		require.NoError(t, s.Put(ctx, "t", i, value))
	}
	least := uint64(math.MaxUint64)
	for range 10 { // what is left of other tests may allocate, too
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, s.Snapshot(ctx, io.Discard))
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	assert.Less(t, least, uint64(1<<20))
}

// TestSnapshotOfOneMoment checks that a snapshot which is made while others put has
// nothing without what was put before it.
func TestSnapshotOfOneMoment(t *testing.T) {
	s := new(server.MemoryStore)
	put(t, s, "t", "first", 0)
	put(t, s, "t", "second", 0)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = s.Put(ctx, "t", "first", encoded(i))
				_ = s.Put(ctx, "t", "second", encoded(i))
				_ = s.Put(ctx, i%20, i%50, encoded(i)) // in other tables
			}
		}
	})
	for range 200 {
		restored := new(server.MemoryStore)
		require.NoError(t, restored.Restore(ctx, bytes.NewReader(snapshot(t, s))))
		var numbers [2]int
		for i, key := range []string{"first", "second"} {
			raw, err := restored.Get(ctx, "t", key)
			require.NoError(t, err)
			require.NoError(t, dirty.Unmarshal(raw, &numbers[i]))
		}
		assert.Contains(t, []int{0, 1}, numbers[0]-numbers[1])
	}
	close(stop)
	writer.Wait()
}

// changes are all methods that change tables.
var changes = map[string]func(ctx context.Context, s server.Store) error{
	"Put":    func(ctx context.Context, s server.Store) error { return s.Put(ctx, "t", "k", encoded(2)) },
	"Delete": func(ctx context.Context, s server.Store) error { _, err := s.Delete(ctx, "t", "k"); return err },
	"Clear":  func(ctx context.Context, s server.Store) error { return s.Clear(ctx, "t") },
	"Ensure": func(ctx context.Context, s server.Store) error { return s.Ensure(ctx, "u") },
	"Drop":   func(ctx context.Context, s server.Store) error { _, err := s.Drop(ctx, "t"); return err },
	"Restore": func(ctx context.Context, s server.Store) error {
		return s.(server.Snapshotter).Restore(ctx, strings.NewReader(sealed("")))
	},
	"Hold": func(ctx context.Context, s server.Store) error {
		release, err := s.(server.Snapshotter).Hold(ctx)
		if err == nil {
			release(nil)
		}
		return err
	},
}

func TestHold(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(server.MemoryStore)
				put(t, s, "t", "k", 1)
				release, err := s.Hold(ctx)
				require.NoError(t, err)
				done := make(chan error, 1)
				go func() { done <- change(ctx, s) }()
				ended, cancel := context.WithCancelCause(ctx)
				refused := make(chan error, 1)
				go func() { refused <- change(ended, s) }()
				synctest.Wait()
				require.Empty(t, done)
				require.Empty(t, refused)
				has(t, s, "t", "k", 1)
				assert.Len(t, content(t, s), 1, "reads go on")
				cancel(errBoom)
				assert.ErrorIs(t, <-refused, errBoom)
				require.Empty(t, done)
				release(nil)
				assert.NoError(t, <-done)
				release(server.NoStash) // the second one does not count
				assert.NoError(t, change(ctx, s))
			})
		})
	}
}

// TestHoldMoves checks that a store which has moved has nothing of its own any more.
func TestHoldMoves(t *testing.T) {
	s, to := new(server.MemoryStore), new(server.MemoryStore)
	put(t, s, "t", "k", 1)
	release, err := s.Hold(ctx)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Put(ctx, "t", "held", encoded(2)) }()
	release(to)
	require.NoError(t, wait(t, "the change", done))
	has(t, to, "t", "held", 2)
	put(t, s, "t", "later", 3)
	has(t, to, "t", "later", 3)
	assert.Equal(t, content(t, to), content(t, s))
	_, err = s.Get(ctx, "t", "k")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	assert.Equal(t, server.ErrMoved, s.Snapshot(ctx, io.Discard))
	assert.Equal(t, server.ErrMoved, s.Restore(ctx, strings.NewReader(sealed(""))))
	_, err = s.Hold(ctx)
	assert.Equal(t, server.ErrMoved, err)
}

// FuzzRestore restores anything: a store that took it gives it back.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(sealed("")))
	f.Add([]byte(sealed("T"+string(encoded("t")), "K"+string(encoded(1.0))+string(encoded("v")), "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, again server.MemoryStore
		if err := s.Restore(ctx, bytes.NewReader(data)); err != nil {
			if !errors.Is(err, server.ErrSnapshot) {
				t.Fatal(err)
			}
			if tables, _ := s.Tables(ctx); len(tables) > 0 {
				t.Fatalf("%d tables after an error", len(tables))
			}
			return
		}
		first := snapshot(t, &s)
		if err := again.Restore(ctx, bytes.NewReader(first)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, snapshot(t, &again)) {
			t.Fatal("the snapshot of what was restored differs")
		}
	})
}
