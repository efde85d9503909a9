package client_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain is the last line of defence against goroutines that outlive their
// client; newClient looks in each test, which must not run in parallel for that.
// A process with the variable of a helper is that helper.
func TestMain(m *testing.M) {
	if helper := os.Getenv(helperVariable); helper != "" {
		os.Exit(runHelper(helper))
	}
	stop, err := startExampleArbiter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	if code == 0 {
		if left := goroutinesLeft(); left != "" {
			fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
			code = 1
		}
	}
	os.Exit(code)
}

// goroutinesLeft returns the stacks of goroutines that run this package's code,
// after they have had time to end. Tests have their own package.
func goroutinesLeft() string {
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		var left []string
		for i, stack := range strings.Split(allStacks(), "\n\n") {
			if i > 0 && strings.Contains(stack, "gunicorn-go/dirty/client.") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}

func allStacks() string {
	for buf := make([]byte, 1<<16); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
	}
}
