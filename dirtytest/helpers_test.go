package dirtytest_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/server"
)

const app = "app:App"

// newMux returns the actions that the tests call.
func newMux() *server.Mux {
	mux := server.NewMux()
	mux.Handle(app, "echo", server.Func(func(_ context.Context, v any) (any, error) { return v, nil }))
	mux.Handle(app, "count", server.StreamFunc(func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}))
	return mux
}

// failingTB records the failures of a test, which do not fail this one.
type failingTB struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (f *failingTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *failingTB) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.failures...)
}

// TestMain fails if a goroutine of the package is left when all tests have run.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := goroutinesLeft(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func goroutinesLeft() string {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		buf := make([]byte, 1<<20)
		var left []string
		for i, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && strings.Contains(stack, "gunicorn-go/dirty") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}
