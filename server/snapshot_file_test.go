package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSnapshotFile(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "stash")
	s := filledStore(t)
	for range 2 { // the second one replaces the first
		require.NoError(t, server.WriteSnapshot(ctx, s, path))
	}
	checkNames(t, dir, "stash")
	if runtime.GOOS != "windows" {
		assert.Equal(t, fs.FileMode(0o600), modeOf(t, path))
	}
	restored := new(server.MemoryStore)
	require.NoError(t, server.ReadSnapshot(ctx, restored, path))
	assert.Equal(t, snapshot(t, s), snapshot(t, restored))

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	err = server.WriteSnapshot(ended, s, path)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "dirty: write the stash to "+path)
	checkNames(t, dir, "stash")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after, "the old file stays")
	assert.ErrorIs(t, server.WriteSnapshot(ctx, s, filepath.Join(dir, "no", "stash")), fs.ErrNotExist)
}

func TestReadSnapshotRefuses(t *testing.T) {
	dir := folder(t)
	s := filledStore(t)
	before := snapshot(t, s)
	assert.ErrorIs(t, server.ReadSnapshot(ctx, s, filepath.Join(dir, "none")), fs.ErrNotExist)
	assert.ErrorContains(t, server.ReadSnapshot(ctx, s, dir), "it is no file")
	path := filepath.Join(dir, "stash")
	require.NoError(t, os.WriteFile(path, before[:len(before)-1], 0o600))
	err := server.ReadSnapshot(ctx, s, path)
	assert.ErrorIs(t, err, server.ErrSnapshot)
	assert.ErrorContains(t, err, "dirty: read the stash from "+path+": this is no snapshot of a stash: it ends too early")
	assert.Equal(t, before, snapshot(t, s))
}

func init() { children["writes snapshots"] = childThatWritesSnapshots }

// childThatWritesSnapshots writes one after the other until it is killed.
func childThatWritesSnapshots() error {
	s := new(server.MemoryStore)
	for i := 0; ; i++ {
		for j := range 100 { // so that a part of it would show
			if err := s.Put(ctx, "t", j, encoded(i)); err != nil {
				return err
			}
		}
		if err := server.WriteSnapshot(ctx, s, os.Getenv(childVariable+"_PATH")); err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("written")
		}
	}
}

// TestWriteSnapshotAndKill kills a process that writes, at any moment: there is always
// a whole file.
func TestWriteSnapshotAndKill(t *testing.T) {
	path := filepath.Join(folder(t), "stash")
	for i := range 10 {
		cmd := childCommand("writes snapshots", childVariable+"_PATH="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 100))
		require.NoError(t, err)
		time.Sleep(time.Duration(i) * 3 * time.Millisecond) // the moment is to vary
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		s := new(server.MemoryStore)
		require.NoError(t, server.ReadSnapshot(ctx, s, path))
		first, err := s.Get(ctx, "t", 0)
		require.NoError(t, err)
		for j := range 100 {
			value, err := s.Get(ctx, "t", j)
			require.NoError(t, err)
			assert.Equal(t, first, value)
		}
	}
}

// runUntil runs a server until stop is called, which returns what Run returned. So does
// ended, if it ends before that.
func runUntil(t *testing.T, s *server.Server, path string) (stop func() error, ended <-chan error) {
	t.Helper()
	c, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- s.Run(c, path) }()
	eventually(t, "it serves", func() bool {
		if len(result) > 0 {
			return true
		}
		_, err := os.Stat(path)
		return err == nil
	})
	return func() error {
		cancel()
		return wait(t, "Run", result)
	}, result
}

func TestStashFile(t *testing.T) {
	dir := folder(t)
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
	begun := make(chan struct{})
	first := &server.Server{StashFile: file, Stash: new(server.MemoryStore)}
	first.Handler = server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		close(begun)
		eventually(t, "the server is told to end", func() bool { _, err := os.Stat(path); return err != nil })
		return first.Stash.Put(ctx, "t", "late", encoded(2))
	})
	stop, _ := runUntil(t, first, path)
	c := dial(t, path)
	require.Equal(t, dirty.NewResponse(1, true), ask(t, c, dirty.NewStashRequest(1, dirty.StashPut, "t", "k", 1, "")))
	send(t, c, "do")
	wait(t, "the handler", begun)
	require.NoError(t, stop())
	assert.Equal(t, dirty.NewResponse(1, nil), receive(t, c))

	second := &server.Server{StashFile: file}
	_, ended := runUntil(t, second, path)
	c = dial(t, path)
	assert.Equal(t, dirty.NewResponse(1, int64(1)), ask(t, c, dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")))
	assert.Equal(t, dirty.NewResponse(1, int64(2)), ask(t, c, dirty.NewStashRequest(1, dirty.StashGet, "t", "late", nil, "")))
	require.Equal(t, dirty.NewResponse(1, true), ask(t, c, dirty.NewStashRequest(1, dirty.StashDelete, "t", "k", nil, "")))
	require.NoError(t, second.Shutdown(ctx)) // by somebody else
	assert.ErrorIs(t, wait(t, "Run", ended), server.ErrServerClosed)

	saved := new(server.MemoryStore)
	require.NoError(t, server.ReadSnapshot(ctx, saved, file))
	assert.Equal(t, []any{[]any{"t", "late", dirty.RawValue(encoded(2))}}, content(t, saved))
	checkNames(t, dir, "stash")
}

func TestStashFileRefused(t *testing.T) {
	dir := folder(t)
	path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
	require.NoError(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	err := (&server.Server{StashFile: file}).Run(ctx, path)
	assert.ErrorIs(t, err, server.ErrSnapshot)
	assert.ErrorContains(t, err, file)
	checkNames(t, dir, "stash") // no socket is left
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "nonsense", string(text))

	err = (&server.Server{StashFile: file, Stash: server.NoStash}).Run(ctx, path)
	assert.ErrorContains(t, err, "no Snapshotter")

	// Where it cannot be written the end says so.
	stop, _ := runUntil(t, &server.Server{StashFile: filepath.Join(dir, "no", "stash")}, path)
	usable(t, dial(t, path))
	assert.ErrorIs(t, stop(), fs.ErrNotExist)

	// A server that never served writes nothing.
	never := filepath.Join(dir, "never")
	require.Error(t, (&server.Server{StashFile: never}).Run(ctx, filepath.Join(dir, "no", "s")))
	closed := &server.Server{StashFile: never}
	require.NoError(t, closed.Close())
	assert.ErrorIs(t, closed.Run(ctx, path), server.ErrServerClosed)
	assert.NoFileExists(t, never)
}

// oddStash is a Snapshotter that does anything where it is told to.
type oddStash struct {
	*server.MemoryStore
	where  string
	do     func() error
	mended atomic.Bool
}

func (s *oddStash) at(where string) error {
	if s.where == where && !s.mended.Load() {
		return s.do()
	}
	return nil
}

func (s *oddStash) Hold(ctx context.Context) (func(to server.Store), error) {
	if err := s.at("Hold"); err != nil {
		return nil, err
	}
	return s.MemoryStore.Hold(ctx)
}

func (s *oddStash) Snapshot(ctx context.Context, w io.Writer) error {
	if err := s.at("Snapshot"); err != nil {
		return err
	}
	return s.MemoryStore.Snapshot(ctx, w)
}

func (s *oddStash) Restore(ctx context.Context, r io.Reader) error {
	if err := s.at("Restore"); err != nil {
		return err
	}
	return s.MemoryStore.Restore(ctx, r)
}

// TestStashFileOddStash checks stores that fail, panic or end their goroutine: Run says so,
// and the file stays as it is.
func TestStashFileOddStash(t *testing.T) {
	for name, test := range map[string]struct {
		do   func() error
		want string
	}{
		"fails":  {func() error { return errBoom }, "boom"},
		"panics": {func() error { panic("boom") }, "a method of the stash has panicked"},
		"exits":  {func() error { runtime.Goexit(); return nil }, "or ended its goroutine"},
	} {
		for _, where := range []string{"Restore", "Snapshot"} {
			t.Run(where+" "+name, func(t *testing.T) {
				dir := folder(t)
				path, file := filepath.Join(dir, "s"), filepath.Join(dir, "stash")
				require.NoError(t, server.WriteSnapshot(ctx, filledStore(t), file))
				s := &server.Server{StashFile: file, Stash: &oddStash{MemoryStore: new(server.MemoryStore), where: where, do: test.do}}
				stop, _ := runUntil(t, s, path)
				assert.ErrorContains(t, stop(), test.want)
				checkNames(t, dir, "stash")
				kept := new(server.MemoryStore)
				require.NoError(t, server.ReadSnapshot(ctx, kept, file))
				assert.Equal(t, snapshot(t, filledStore(t)), snapshot(t, kept))
			})
		}
	}
}

// TestRunListener checks Run with a listener that is there.
func TestRunListener(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "s")
	s := saying("here")
	l, err := s.Listen(path)
	require.NoError(t, err)
	ending, cancel := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.RunListener(ending, l) }()
	answers(t, dial(t, path), "here")
	cancel(errors.New("the end"))
	assert.NoError(t, wait(t, "the end", ended))
	checkNames(t, dir)
}
