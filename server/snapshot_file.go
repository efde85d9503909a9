package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gunicorn-go/dirty/internal/usercode"
)

// WriteSnapshot writes a snapshot of a store to a file. It writes a new file of mode
// 0600 beside it, has the system store that on disk, and then gives it its name. So
// there is always a whole file, the old one or the new one. A file that a crash
// leaves behind has a name that begins with a dot and ends with ".tmp".
func WriteSnapshot(ctx context.Context, s Snapshotter, path string) error {
	if err := writeSnapshot(ctx, s, path); err != nil {
		return chain{sentinel("write the stash to " + path), err}
	}
	return nil
}

func writeSnapshot(ctx context.Context, s Snapshotter, path string) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	f, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed { // after an error, and if Snapshot panics
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := s.Snapshot(ctx, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	renamed = true
	return syncFolder(dir)
}

// ReadSnapshot restores a store from a file that [WriteSnapshot] has written. If there
// is no such file, the error matches [fs.ErrNotExist]. After any error the store is as
// before.
func ReadSnapshot(ctx context.Context, s Snapshotter, path string) error {
	if err := readSnapshot(ctx, s, path); err != nil {
		return chain{sentinel("read the stash from " + path), err}
	}
	return nil
}

func readSnapshot(ctx context.Context, s Snapshotter, path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular(): // opening a named pipe would wait
		return fmt.Errorf("it is no file, but %v", info.Mode())
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Restore(ctx, f)
}

// readStash reads the StashFile, if there is one, unless that was done or the tables
// have come from a predecessor.
func (s *Server) readStash(ctx context.Context) error {
	if s.StashFile == "" || s.hasStash.Load() {
		return nil
	}
	store, err := s.stashToKeep()
	if err == nil {
		err = s.callStore(ctx, func() error { return ReadSnapshot(ctx, store, s.StashFile) })
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.hasStash.Store(true)
	return nil
}

// writeStash writes the StashFile.
func (s *Server) writeStash(ctx context.Context) error {
	if s.StashFile == "" {
		return nil
	}
	store, err := s.stashToKeep()
	if err != nil {
		return err
	}
	return s.callStore(ctx, func() error { return WriteSnapshot(ctx, store, s.StashFile) })
}

// stashToKeep returns the stash for the StashFile.
func (s *Server) stashToKeep() (Snapshotter, error) {
	if err := s.setUp(); err != nil {
		return nil, err
	}
	store, ok := s.cfg.stash.(Snapshotter)
	if !ok {
		return nil, fmt.Errorf("dirty: Server.StashFile: a %T is no Snapshotter", s.cfg.stash)
	}
	return store, nil
}

// callStore calls code of a store, which may panic, end its goroutine, or block. It
// returns when ctx ends, whatever that code does.
func (s *Server) callStore(ctx context.Context, f func() error) error {
	err := usercode.CallUntil(ctx, 0, &s.journal, "stash", f)
	if usercode.IsFailure(err) {
		return errStorePanic
	}
	return err
}

// errStorePanic is for a method of a store that does not return.
const errStorePanic = sentinel("a method of the stash has panicked or ended its goroutine")
