package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// errorf is fmt.Errorf with the prefix of this module's errors.
func errorf(format string, args ...any) error { return fmt.Errorf("dirty: "+format, args...) }

// patience is how long code of the user's may go on after its context has ended.
const patience = time.Second

// guard calls code of the user's in a goroutine of its own. It may panic or end that
// goroutine: both become an error. So does code that runs on although ctx has ended.
func guard(ctx context.Context, what string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New(what + " called runtime.Goexit")
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%s panicked: %v", what, v)
			}
			result <- err
		}()
		if err = f(); err != nil {
			err = errors.New(err.Error()) // its methods are the user's too
		}
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		return errors.New(what + " goes on after its context has ended")
	}
}

// logger writes to a logger of the user's, or nowhere if that is nil.
type logger struct{ to *slog.Logger }

// write writes a line, and waits for the logger. The line is lost if that panics or ends
// its goroutine.
func (l logger) write(level slog.Level, message string, args ...any) {
	if l.to == nil {
		return
	}
	_ = guard(context.Background(), "the logger", func() error {
		l.to.Log(context.Background(), level, message, args...)
		return nil
	})
}

// rareLines writes lines that strangers can cause: one a second at most, because they must
// not fill the disk. The next line says how many were dropped. It may be used
// concurrently.
type rareLines struct {
	mu      sync.Mutex
	last    time.Time // of a line that was written
	dropped int       // lines since then
}

func (r *rareLines) write(log logger, level slog.Level, message string, args ...any) {
	r.mu.Lock()
	now := time.Now()
	if now.Sub(r.last) < time.Second {
		r.dropped++
		r.mu.Unlock()
		return
	}
	dropped := r.dropped
	r.last, r.dropped = now, 0
	r.mu.Unlock()
	if dropped > 0 {
		args = append(args, "dropped", dropped)
	}
	log.write(level, message, args...)
}

// sleep waits, and reports whether the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
