package server_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain looks for real gunicorn; see python_test.go for what DIRTY_INTEROP
// decides.
func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		os.Exit(runChild(child))
	}
	if err := findPythons(); err != nil {
		sayNotRun(err)
		if os.Getenv("DIRTY_INTEROP") == "require" {
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// noGoroutines fails if goroutines of the server are left, after they have had
// time to end. Tests do not run in parallel, so they are those of this test.
func noGoroutines(tb testing.TB) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		left := goroutines()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
			return
		}
	}
}

// goroutines returns the stacks of those that run the server's code.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var found []string
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, "gunicorn-go/dirty/server.") {
			found = append(found, stack)
		}
	}
	return found
}
