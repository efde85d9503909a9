package main

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty/server"
)

// The action that the page calls. python/app.py has the same one.
const (
	appName    = "app:LLM"
	actionName = "generate"
)

// newModel returns a stand-in for a model: it repeats the prompt, word by word.
func newModel() *server.Mux {
	mux := server.NewMux()
	mux.Handle(appName, actionName, server.StreamFunc(func(ctx context.Context, arg struct {
		Prompt string `dirty:"prompt"`
		Words  int    `dirty:"words"`
	}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			words := strings.Fields(arg.Prompt)
			if len(words) == 0 {
				return
			}
			for n := range arg.Words {
				select {
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
					return
				}
				if !yield(words[n%len(words)]+" ", nil) {
					return
				}
			}
		}
	}))
	return mux
}
