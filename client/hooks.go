package client

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/gunicorn-go/dirty/internal/usercode"
)

// Hooks are code of the user's that the client calls: the functions that the
// options take, the connections of a Dialer, and the methods of values that are
// encoded and decoded. They may panic, end their goroutine, block, or call the
// client. No lock is held while one runs, and all of them are called here.
type hooks struct {
	logger   *slog.Logger
	failures atomic.Uint64
}

// silent is the logger of clients without one.
var silent = slog.New(slog.DiscardHandler)

// The hooks by the names that errors give them.
const (
	hookResolver    = "the Resolver"
	hookDialer      = "the Dialer"
	hookConn        = "the connection of the Dialer"
	hookInterceptor = "the Interceptor"
	hookForward     = "the function that takes the answers of Forward"
	hookLogger      = "the Logger"
	hookValue       = "the encoding or decoding of a value"
	hookContext     = "a method of the context"
)

// hookError says that a hook did not return, or returned nothing.
type hookError struct{ text string }

func (e *hookError) Error() string        { return e.text }
func (e *hookError) Is(target error) bool { return target == ErrHookFailed }

// guard calls a hook in a goroutine of its own, so that its end can only be the
// end of that. The error is the hook's, or says that it did not return.
func (h *hooks) guard(hook string, f func() error) error {
	return markFailure(usercode.Call(h, hook, f))
}

// Try calls a hook in this goroutine, and turns a panic into an error. A Goexit
// does end this goroutine: what must be done nevertheless is deferred.
func (h *hooks) Try(hook string, f func() error) error {
	return markFailure(usercode.Try(hook, h.report, f))
}

// markFailure makes an ErrHookFailed of a failure.
func markFailure(err error) error {
	if usercode.IsFailure(err) {
		return &hookError{err.Error()}
	}
	return err
}

// report counts and logs a failure.
func (h *hooks) report(failure *usercode.Failure) {
	h.failures.Add(1)
	if failure.What != hookLogger { // which could not tell of itself
		h.log(slog.LevelError, "dirty: code that was given to the client did not return",
			"error", failure.Error(), "stack", string(debug.Stack()))
	}
}

// tryName is in the stack of each goroutine that runs a hook.
const tryName = "/dirty/client.(*hooks).Try"

// insideHook reports whether this goroutine runs a hook, of any client.
func insideHook() bool {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(1, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*n)
		n = runtime.Callers(1, pcs)
	}
	frames := runtime.CallersFrames(pcs[:n])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, tryName) {
			return true
		}
		if !more {
			return false
		}
	}
}

// log reports something. A logger that does not return loses its record.
func (h *hooks) log(level slog.Level, message string, args ...any) {
	if h.logger == silent {
		return
	}
	_ = h.guard(hookLogger, func() error {
		h.logger.Log(context.Background(), level, message, args...)
		return nil
	})
}
