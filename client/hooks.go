package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
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

// hookError says that a hook did not return.
type hookError struct{ text string }

// newHookError takes what a hook panicked with; nil is a Goexit.
func newHookError(hook string, panicked any) *hookError {
	if panicked == nil {
		return &hookError{hook + " called runtime.Goexit"}
	}
	return &hookError{fmt.Sprintf("%s panicked: %v", hook, panicked)}
}

func (e *hookError) Error() string        { return e.text }
func (e *hookError) Is(target error) bool { return target == ErrHookFailed }

// guard calls a hook in a goroutine of its own, so that its end can only be the
// end of that. The error is the hook's, or says that it did not return.
func (h *hooks) guard(hook string, f func() error) error {
	var result struct {
		sync.WaitGroup
		err error
	}
	result.Add(1)
	go func() {
		returned := false
		defer func() {
			if !returned {
				result.err = newHookError(hook, nil)
			}
			result.Done()
		}()
		result.err = h.catch(hook, f)
		returned = true
	}()
	result.Wait()
	return result.err
}

// catch calls a hook in this goroutine, and turns a panic into an error. A
// Goexit does end this goroutine: what must be done nevertheless is deferred.
func (h *hooks) catch(hook string, f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		failure := newHookError(hook, recover())
		err = failure
		h.failures.Add(1)
		if hook != hookLogger { // which could not tell of itself
			h.log(slog.LevelError, "dirty: code that was given to the client did not return",
				"error", failure.Error(), "stack", string(debug.Stack()))
		}
	}()
	if err = f(); err != nil {
		inspect(err)
	}
	returned = true
	return err
}

// inspect calls the methods of an error, which may be the user's and panic as
// well: better here than where nobody expects it.
func inspect(err error) {
	_ = err.Error()
	_ = errors.Is(err, ErrHookFailed)
	var failed *OpError
	_ = errors.As(err, &failed)
}

// catchName is in the stack of each goroutine that runs a hook.
const catchName = "/dirty/client.(*hooks).catch"

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
		if strings.HasSuffix(frame.Function, catchName) {
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
