package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/gunicorn-go/dirty/server/storetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTakeOverMovesStash checks that the tables are there after a take-over, in their
// order and with their types, and that what the new process had is replaced.
func TestTakeOverMovesStash(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	old, heir := filledStore(t), new(server.MemoryStore)
	want := fmt.Sprint(content(t, old))
	put(t, heir, "of its own", "k", 1)
	served := takeOver(t, &server.Server{Stash: old}, path)
	takeOver(t, &server.Server{Stash: heir}, path)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	assert.Equal(t, want, fmt.Sprint(content(t, heir)))
}

// startBusy starts a server that answers a request until its end, and returns its
// stash and its path.
func startBusy(t *testing.T) (stash *server.MemoryStore, path string) {
	t.Helper()
	path = filepath.Join(folder(t), "s")
	stash = new(server.MemoryStore)
	h, running, _ := patient()
	startTakeOver(t, &server.Server{Stash: stash, Handler: h}, path)
	send(t, dial(t, path), "wait")
	wait(t, "the handler", running)
	return stash, path
}

// moved returns the stash of a busy server that was taken over. heir is the stash of
// the new one.
func moved(t *testing.T, heir server.Store) (old *server.MemoryStore) {
	t.Helper()
	old, path := startBusy(t)
	startTakeOver(t, &server.Server{Stash: heir}, path)
	return old
}

// TestMovedStash checks that a stash which has moved does all that a stash does: each
// operation is made by the heir.
func TestMovedStash(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	storetest.Run(t, func() server.Store { return moved(t, new(server.MemoryStore)) })
}

// TestTakeOverHandlerPuts checks what a handler does that still runs in the old
// process, with the stash itself and through a client: it sees what the new process
// has, and puts there.
func TestTakeOverHandlerPuts(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	stash := new(server.MemoryStore)
	running, next := make(chan struct{}), make(chan struct{})
	old := &server.Server{Stash: stash, Handler: server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		running <- struct{}{}
		<-next
		if err := stash.Put(ctx, "t", "direct", encoded(1)); err != nil {
			return err
		}
		if err := newClient(t, path).Stash("t").Put(ctx, "by a client", 2); err != nil {
			return err
		}
		value, err := stash.Get(ctx, "t", "of the heir")
		if err != nil {
			return err
		}
		return w.Respond(value)
	})}
	served := takeOver(t, old, path)
	busy, ahead := dial(t, path), dial(t, path)
	send(t, busy, "do")
	wait(t, "the handler", running)
	put := frame(dirty.TypeStash, 1, encoded(kw{"op": 1, "table": "t", "key": "begun before", "value": 4}))
	_, err := ahead.NetConn().Write(put[:30]) // the old process has to read the rest
	require.NoError(t, err)
	eventually(t, "it reads that", func() bool { return old.Stats().Conns == 2 })
	heir := new(server.MemoryStore)
	takeOver(t, &server.Server{Stash: heir, Handler: server.HandlerFunc(echo)}, path)
	require.NoError(t, heir.Put(ctx, "t", "of the heir", encoded(3)))
	_, err = ahead.NetConn().Write(put[30:])
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(1, true), receive(t, ahead))
	close(next)
	assert.Equal(t, dirty.NewResponse(1, int64(3)), receive(t, busy))
	has(t, heir, "t", "direct", 1)
	has(t, heir, "t", "by a client", 2)
	has(t, heir, "t", "begun before", 4)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	// Code that runs on although the server has ended is told so, once the new process
	// has nothing to do with the old one any more. Until then it puts there.
	eventually(t, "an error", func() bool {
		err = stash.Put(ctx, "t", "late", encoded(5))
		if err == nil {
			has(t, heir, "t", "late", 5)
		}
		return err != nil
	})
	assert.ErrorContains(t, err, "the stash has moved to a process that does not answer")
}

// TestMovedStashFails checks the errors of operations that cannot be made by the
// process that has taken over.
func TestMovedStashFails(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	t.Run("the heir ends", func(t *testing.T) {
		stash, path := startBusy(t)
		heir := new(server.Server)
		startTakeOver(t, heir, path)
		put(t, stash, "t", "k", 1)
		require.NoError(t, heir.Close())
		err := stash.Put(ctx, "t", "k", encoded(2))
		assert.ErrorContains(t, err, "dirty: the stash has moved to a process that does not answer: ")
	})
	t.Run("the heir does nothing", func(t *testing.T) {
		stash, path := startBusy(t)
		nc := scriptedHeir(t, path)
		takeOffer(t, nc)
		_, err := nc.Write([]byte("C"))
		require.NoError(t, err)
		require.Equal(t, "G", packet(t, nc))
		ended, cancel := context.WithCancelCause(ctx)
		done := make(chan error, 1)
		go func() { done <- stash.Put(ended, "t", "k", encoded(1)) }()
		data, rights := make([]byte, 100), make([]byte, 100)
		_, _, _, _, err = nc.ReadMsgUnix(data, rights) // the connection, which stays open
		require.NoError(t, err)
		require.Empty(t, done)
		cancel(errBoom)
		assert.ErrorIs(t, wait(t, "the end", done), errBoom)
	})
	t.Run("the heir refuses", func(t *testing.T) {
		stash := moved(t, server.NoStash)
		assert.ErrorContains(t, stash.Put(ctx, "t", "k", encoded(1)), "this server has no stash")
	})
}

// TestHeldStash checks that changes wait while an heir decides, and go on where they
// are when it does not take over.
func TestHeldStash(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	stash := new(server.MemoryStore)
	takeOver(t, &server.Server{Stash: stash}, path)
	nc := scriptedHeir(t, path)
	takeOffer(t, nc)
	done := make(chan error, 1)
	go func() { done <- stash.Put(ctx, "t", "k", encoded(1)) }()
	client := make(chan dirty.Message, 1)
	c := dial(t, path)
	go func() { client <- ask(t, c, dirty.NewStashRequest(1, dirty.StashPut, "t", "l", 2, "")) }()
	assert.Equal(t, dirty.NewResponse(1, []any{}), ask(t, dial(t, path), dirty.NewStashRequest(1, dirty.StashKeys, "t", nil, nil, "")))
	require.Empty(t, done)
	require.Empty(t, client)
	require.NoError(t, nc.Close())
	require.NoError(t, wait(t, "the change", done))
	assert.Equal(t, dirty.NewResponse(1, true), wait(t, "that of a client", client))
	has(t, stash, "t", "k", 1)
	has(t, stash, "t", "l", 2)
}

// TestTakeOverOtherStashes checks servers of which one has no Snapshotter.
func TestTakeOverOtherStashes(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	full := func() *server.MemoryStore {
		s := new(server.MemoryStore)
		put(t, s, "t", "k", 1)
		return s
	}
	for name, tt := range map[string]struct {
		old, heir server.Store
		err       string
	}{
		"tables for none":        {full(), server.NoStash, "the running server has a stash of 1 tables, for which this one has no Snapshotter"},
		"no tables for none":     {new(server.MemoryStore), server.NoStash, ""},
		"none for a MemoryStore": {server.NoStash, full(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			served := startTakeOver(t, &server.Server{Stash: tt.old}, path)
			s := &server.Server{Stash: tt.heir, TakeOver: true}
			l, err := s.Listen(path)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				put(t, tt.old, "t", "k", 2)
				has(t, tt.old, "t", "k", 2)
				return
			}
			require.NoError(t, err)
			defer l.Close()
			assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
			if heir, ok := tt.heir.(*server.MemoryStore); ok {
				has(t, heir, "t", "k", 1) // it has kept its own
			}
		})
	}
	t.Run("one stash of two servers", func(t *testing.T) {
		paths := []string{filepath.Join(folder(t), "a"), filepath.Join(folder(t), "b")}
		old, heir := full(), new(server.MemoryStore)
		for _, path := range paths {
			startTakeOver(t, &server.Server{Stash: old}, path)
		}
		for i, path := range paths {
			startTakeOver(t, &server.Server{Stash: heir}, path)
			put(t, heir, "t", i, i)
		}
		has(t, heir, "t", "k", 1)
		has(t, heir, "t", 0, 0)
	})
	t.Run("one that embeds a MemoryStore", func(t *testing.T) {
		type own struct{ *server.MemoryStore }
		heir := full()
		path := filepath.Join(folder(t), "s")
		startTakeOver(t, &server.Server{Stash: own{filledStore(t)}}, path)
		startTakeOver(t, &server.Server{Stash: own{heir}}, path)
		assert.Equal(t, snapshot(t, filledStore(t)), snapshot(t, heir))
	})
}

// TestTakeOverOddStash checks stores that fail, panic or end their goroutine: the old
// server serves on, and its stash can be changed.
func TestTakeOverOddStash(t *testing.T) {
	for name, do := range map[string]func() error{
		"fails":  func() error { return errBoom },
		"panics": func() error { panic("boom") },
		"exits":  func() error { runtime.Goexit(); return nil },
	} {
		for _, where := range []string{"Hold", "Snapshot", "Restore"} {
			t.Run(where+" "+name, func(t *testing.T) {
				path := filepath.Join(folder(t), "s")
				old := &oddStash{MemoryStore: new(server.MemoryStore), where: where, do: do}
				put(t, old, "t", "large", make([]byte, 1<<20)) // more than a pipe holds
				s := saying("old")
				s.Stash = old
				takeOver(t, s, path)
				own := &oddStash{MemoryStore: new(server.MemoryStore), where: where, do: do}
				heir := &server.Server{TakeOver: true, Stash: own}
				_, err := heir.Listen(path)
				require.Error(t, err)
				if name == "fails" {
					assert.ErrorContains(t, err, "boom")
				}
				if where == "Restore" {
					assert.ErrorContains(t, err, "the stash of the running server cannot be restored")
				} else {
					assert.ErrorContains(t, err, "the running server refuses: its stash cannot move")
				}
				put(t, old, "t", "k", 1)
				answers(t, dial(t, path), "old")
				old.mended.Store(true)
				own.mended.Store(true)
				l, err := heir.Listen(path)
				require.NoError(t, err)
				defer l.Close()
				has(t, heir.Stash, "t", "k", 1)
			})
		}
	}
}

// slowTables is a Snapshotter whose Tables returns when its context ends.
type slowTables struct {
	*server.MemoryStore
	asked chan struct{}
}

func (s *slowTables) Tables(ctx context.Context) ([]any, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return []any{"t"}, nil
}

// TestShutdownDuringTables checks that a server which ends while its store lists the
// tables lets that go.
func TestShutdownDuringTables(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	stash := &slowTables{new(server.MemoryStore), make(chan struct{}, 1)}
	old := &server.Server{Stash: stash}
	served := takeOver(t, old, path)
	scriptedHeir(t, path)
	wait(t, "Tables", stash.asked)
	require.NoError(t, old.Shutdown(ctx))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end", served))
	put(t, stash, "t", "k", 1) // nobody holds it
}

// TestShutdownDuringSnapshot checks that a server which ends while its stash is being
// sent does not wait for that.
func TestShutdownDuringSnapshot(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	stash := new(server.MemoryStore)
	put(t, stash, "t", "large", make([]byte, 32<<20)) // more than the socket takes
	old := &server.Server{Stash: stash}
	served := takeOver(t, old, path)
	nc := scriptedHeir(t, path)
	require.Equal(t, "O", packet(t, nc))
	ended := make(chan error, 1)
	go func() { ended <- old.Shutdown(ctx) }()
	for {
		if kind := packet(t, nc); kind != "S" {
			require.Equal(t, "A", kind)
			break
		}
	}
	assert.NoError(t, wait(t, "Shutdown", ended))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end", served))
	put(t, stash, "t", "k", 1) // nobody holds it
}

// TestPredecessorEndsDuringSnapshot checks that a part of a snapshot is not taken for
// the whole.
func TestPredecessorEndsDuringSnapshot(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	stash := new(server.MemoryStore)
	put(t, stash, "t", "large", make([]byte, 32<<20))
	old := &server.Server{Stash: stash}
	takeOver(t, old, path)
	begun, next := make(chan struct{}), make(chan struct{})
	heir := &server.Server{TakeOver: true, Stash: &oddStash{MemoryStore: new(server.MemoryStore), where: "Restore", do: func() error {
		close(begun)
		<-next
		return nil
	}}}
	listening := make(chan error, 1)
	go func() {
		l, err := heir.Listen(path)
		if err == nil {
			err = l.Close()
		}
		listening <- err
	}()
	wait(t, "the heir to restore", begun)
	require.NoError(t, old.Close())
	close(next)
	assert.ErrorContains(t, wait(t, "the heir", listening), "the running server refuses")
	tables, err := heir.Stash.Tables(ctx)
	require.NoError(t, err)
	assert.Empty(t, tables)
}

// TestTakeOverWithStashFile checks that only the last process writes the file, and
// that one which takes over does not read it.
func TestTakeOverWithStashFile(t *testing.T) {
	dir := folder(t)
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
	before := new(server.MemoryStore)
	put(t, before, "t", "of the file", 1)
	require.NoError(t, server.WriteSnapshot(ctx, before, file))
	first := &server.Server{TakeOver: true, StashFile: file, Stash: new(server.MemoryStore)}
	_, over := runUntil(t, first, path)
	c := newClient(t, path)
	require.NoError(t, c.Ping(ctx))
	has(t, first.Stash, "t", "of the file", 1)
	put(t, first.Stash, "t", "of the first", 2)
	_, err := first.Stash.Delete(ctx, "t", "of the file")
	require.NoError(t, err)

	second := &server.Server{TakeOver: true, StashFile: file, Stash: new(server.MemoryStore)}
	ctx2, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx2, path) }()
	eventually(t, "the second one serves", func() bool {
		_, err := second.Stash.Get(ctx, "t", "of the first")
		return err == nil
	})
	assert.Equal(t, server.ErrTakenOver, wait(t, "the first one", over))
	saved := new(server.MemoryStore)
	require.NoError(t, server.ReadSnapshot(ctx, saved, file))
	assert.Equal(t, content(t, before), content(t, saved), "the first one did not write")
	put(t, second.Stash, "t", "of the second", 3)
	cancel()
	require.NoError(t, wait(t, "the end", ended))
	require.NoError(t, server.ReadSnapshot(ctx, saved, file))
	has(t, saved, "t", "of the first", 2)
	has(t, saved, "t", "of the second", 3)
	_, err = saved.Get(ctx, "t", "of the file")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
}

// TestTakeOverWithBrokenFile checks that a server that cannot read its file takes nothing
// over, and that the tables of a file that it can read are there.
func TestTakeOverWithBrokenFile(t *testing.T) {
	dir := folder(t)
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
	first := &server.Server{TakeOver: true, Stash: struct{ server.Store }{new(server.MemoryStore)}} // no Snapshotter
	served := takeOver(t, first, path)
	c := dial(t, path)
	require.NoError(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	err := (&server.Server{TakeOver: true, StashFile: file}).Run(ctx, path)
	require.ErrorIs(t, err, server.ErrSnapshot)
	usable(t, c)
	usable(t, dial(t, path))

	kept := new(server.MemoryStore)
	put(t, kept, "t", "k", 1)
	require.NoError(t, server.WriteSnapshot(ctx, kept, file))
	heir := &server.Server{TakeOver: true, StashFile: file, Stash: new(server.MemoryStore)}
	_, _ = runUntil(t, heir, path)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	has(t, heir.Stash, "t", "k", 1)
}

// TestTakenOverAndEnded checks that a server which was taken over, and is then told to
// end, does not write the file either.
func TestTakenOverAndEnded(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	dir := folder(t)
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
	h, running, _ := patient()
	stop, _ := runUntil(t, &server.Server{TakeOver: true, StashFile: file, Handler: h, DrainTimeout: time.Millisecond}, path)
	send(t, dial(t, path), "wait")
	wait(t, "the handler", running)
	startTakeOver(t, new(server.Server), path)
	err := stop()
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, server.ErrMoved)
	assert.NoFileExists(t, file)
}

// TestTakeOverCounts counts in the stash from many goroutines through many take-overs,
// by the handlers' own stash and by clients. No put is lost, and nobody reads an older
// value than it has put.
func TestTakeOverCounts(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	counting := func(stash *server.MemoryStore) *server.Server {
		return &server.Server{Stash: stash, Handler: server.Func(func(ctx context.Context, arg []int) (bool, error) {
			who, n := arg[0], arg[1]
			time.Sleep(time.Duration(n%5) * time.Millisecond) // be under way in a take-over
			return true, stash.Put(ctx, "handlers", who, encoded(n))
		})}
	}
	stash := new(server.MemoryStore)
	served := takeOver(t, counting(stash), path)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var puts atomic.Int64
	c := newClient(t, path)
	for who := range 8 {
		callers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := c.Execute(ctx, app, "count", []any{who, n})
				if !assert.NoError(t, err) || !assert.NoError(t, c.Stash("clients").Put(ctx, fmt.Sprint(who), n)) {
					return
				}
				for table, key := range map[string]any{"handlers": who, "clients": fmt.Sprint(who)} {
					got, err := c.Stash(table).Get(ctx, key)
					if !assert.NoError(t, err) || !assert.EqualValues(t, n, got, table) {
						return
					}
				}
				puts.Add(1)
			}
		})
	}
	n := 0
	for ; n < restarts || puts.Load() <= 100 && !t.Failed(); n++ {
		time.Sleep(5 * time.Millisecond) // of calls
		next := new(server.MemoryStore)
		before := served
		served = takeOver(t, counting(next), path)
		assert.Equal(t, server.ErrTakenOver, wait(t, "the end of the old one", before))
		stash = next
	}
	close(stop)
	callers.Wait()
	t.Logf("%d rounds in %d take-overs", puts.Load(), n)
	assert.Len(t, content(t, stash), 2)
}
