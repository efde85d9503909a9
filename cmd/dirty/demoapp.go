package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
)

// demoApp is the app of the demonstration server.
const demoApp = "demo:App"

// newDemoMux returns the actions of the demonstration server. It calls begun when slow
// begins, and cancelled when a client leaves before slow has answered.
func newDemoMux(begun, cancelled func()) *server.Mux {
	mux := server.NewMux()
	mux.Handle(demoApp, "echo", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond(dirty.Dict{{Key: "args", Value: r.Args}, {Key: "kwargs", Value: r.Kwargs}})
	}))
	mux.Handle(demoApp, "add", server.Func(func(_ context.Context, arg struct {
		A float64 `dirty:"a"`
		B float64 `dirty:"b"`
	}) (float64, error) {
		return arg.A + arg.B, nil
	}))
	mux.Handle(demoApp, "tokens", server.StreamFunc(func(ctx context.Context, arg struct {
		Prompt string  `dirty:"prompt"`
		Pause  float64 `dirty:"pause"` // seconds before each token
	}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for token := range strings.FieldsSeq(arg.Prompt) {
				if err := wait(ctx, arg.Pause); err != nil {
					yield("", err)
					return
				}
				if !yield(token, nil) {
					return
				}
			}
		}
	}))
	mux.Handle(demoApp, "fail", server.Func(func(_ context.Context, message string) (any, error) {
		return nil, fmt.Errorf("it failed: %s", message)
	}))
	mux.Handle(demoApp, "slow", server.Func(func(ctx context.Context, seconds float64) (string, error) {
		begun()
		err := wait(ctx, seconds)
		if ctx.Err() != nil {
			cancelled()
		}
		if err != nil {
			return "", err
		}
		return "done", nil
	}))
	return mux
}

// maxWait is how long an action waits at most, in seconds.
const maxWait = 3600

// wait waits for some seconds, or until the client leaves.
func wait(ctx context.Context, seconds float64) error {
	if !(seconds >= 0 && seconds <= maxWait) { // not a number is refused too
		return fmt.Errorf("cannot wait for %v seconds: want 0 to %d", seconds, maxWait)
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
