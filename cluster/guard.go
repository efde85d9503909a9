package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gunicorn-go/dirty/internal/usercode"
)

// errorf is fmt.Errorf with the prefix of this module's errors.
func errorf(format string, args ...any) error { return fmt.Errorf("dirty: "+format, args...) }

// patience is how long code of the user's is waited for when it should have ended.
const patience = time.Second

// userCode calls code of the user's.
type userCode struct{}

// Try calls f in this goroutine. Its error is a text only: the methods of others are the
// user's too.
func (userCode) Try(what string, f func() error) error {
	return usercode.Try(what, nil, func() error {
		if err := f(); err != nil {
			return errors.New(err.Error())
		}
		return nil
	})
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
