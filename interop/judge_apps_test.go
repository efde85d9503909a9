//go:build unix

package interop

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"iter"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	goserver "github.com/gunicorn-go/dirty/server"
)

// The dirty apps of gunicorn's examples in Go, as far as the examples' tests need.

// exampleApps returns them all. The sessions are kept in the stash, through a client of
// the server that the apps are for.
func exampleApps(c *client.Client) *goserver.Mux {
	mux := goserver.NewMux()
	(&modelApp{models: map[string]exampleModel{}}).register(mux)
	registerCompute(mux)
	(&sessionApp{sessions: c.Stash("sessions"), counters: c.Stash("counters")}).register(mux)
	registerChat(mux)
	registerCelery(mux)
	return mux
}

type exampleModel struct {
	Name     string  `dirty:"name"`
	LoadedAt float64 `dirty:"loaded_at"`
	Version  string  `dirty:"version"`
}

// modelApp is MLApp of examples/dirty_example.
type modelApp struct {
	mu         sync.Mutex
	models     map[string]exampleModel
	inferences int
}

func (a *modelApp) register(mux *goserver.Mux) {
	const app = "examples.dirty_example.dirty_app:MLApp"
	type modelStatus struct {
		Status string       `dirty:"status"`
		Model  exampleModel `dirty:"model"`
	}
	a.load("default")
	mux.Handle(app, "load_model", goserver.Func(func(_ context.Context, name string) (modelStatus, error) {
		return modelStatus{"loaded", a.load(name)}, nil
	}))
	mux.Handle(app, "unload_model", goserver.Func(func(_ context.Context, name string) (map[string]string, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.models, name)
		return map[string]string{"status": "unloaded", "name": name}, nil
	}))
	mux.Handle(app, "list_models", goserver.Func(func(context.Context, struct{}) (map[string]any, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		var names []string
		for name := range a.models {
			names = append(names, name)
		}
		slices.Sort(names)
		return map[string]any{"models": names, "count": len(names), "total_inferences": a.inferences}, nil
	}))
	mux.Handle(app, "inference", goserver.Func(func(_ context.Context, arg struct{ Model, Data string }) (map[string]any, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, ok := a.models[arg.Model]; !ok {
			return nil, errors.New("Model not loaded: " + arg.Model)
		}
		a.inferences++
		hash := md5.Sum([]byte(arg.Data))
		return map[string]any{"model": arg.Model, "input_hash": hex.EncodeToString(hash[:4]), "prediction": a.inferences}, nil
	}))
}

func (a *modelApp) load(name string) exampleModel {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.models[name] = exampleModel{name, float64(time.Now().UnixMilli()) / 1e3, "1.0.0"}
	return a.models[name]
}

// registerCompute adds ComputeApp of examples/dirty_example.
func registerCompute(mux *goserver.Mux) {
	const app = "examples.dirty_example.dirty_app:ComputeApp"
	mux.Handle(app, "fibonacci", goserver.Func(func(_ context.Context, n int) (map[string]int, error) {
		a, b := 0, 1
		for range n {
			a, b = b, a+b
		}
		return map[string]int{"n": n, "result": a}, nil
	}))
	mux.Handle(app, "prime_check", goserver.Func(func(_ context.Context, n int) (map[string]any, error) {
		return map[string]any{"n": n, "is_prime": big.NewInt(int64(n)).ProbablyPrime(0)}, nil
	}))
	mux.Handle(app, "stats", goserver.Func(func(context.Context, struct{}) (map[string]int, error) {
		return map[string]int{"total_computations": 0}, nil
	}))
}

type exampleSession struct {
	UserID     string            `dirty:"user_id"`
	Data       map[string]string `dirty:"data"`
	LoggedInAt float64           `dirty:"logged_in_at"`
	WorkerPID  int               `dirty:"worker_pid"`
}

// sessionApp is SessionApp of examples/dirty_example, whose state is in the stash.
type sessionApp struct {
	counting           sync.Mutex
	sessions, counters *client.Stash
}

func (a *sessionApp) register(mux *goserver.Mux) {
	const app = "examples.dirty_example.dirty_app:SessionApp"
	type user struct {
		ID   string            `dirty:"user_id"`
		Data map[string]string `dirty:"user_data"`
	}
	handle := func(action string, f func(ctx context.Context, u user) (map[string]any, error)) {
		mux.Handle(app, action, goserver.Func(func(ctx context.Context, u user) (map[string]any, error) {
			result, err := f(ctx, u)
			if err == nil {
				result["served_by_worker"] = os.Getpid()
			}
			return result, err
		}))
	}
	handle("login", func(ctx context.Context, u user) (map[string]any, error) {
		session := exampleSession{u.ID, u.Data, float64(time.Now().UnixMilli()) / 1e3, os.Getpid()}
		err := a.sessions.Put(ctx, "user:"+u.ID, session)
		return map[string]any{"status": "ok", "session": session}, cmp.Or(err, a.countRequest(ctx))
	})
	handle("logout", func(ctx context.Context, u user) (map[string]any, error) {
		existed, err := a.sessions.Delete(ctx, "user:"+u.ID)
		status := map[bool]string{true: "logged_out", false: "not_found"}[existed]
		return map[string]any{"status": status, "user_id": u.ID}, cmp.Or(err, a.countRequest(ctx))
	})
	handle("get_session", func(ctx context.Context, u user) (map[string]any, error) {
		session, _, err := a.sessions.Lookup(ctx, "user:"+u.ID)
		return map[string]any{"session": session}, cmp.Or(err, a.countRequest(ctx))
	})
	handle("list_sessions", func(ctx context.Context, _ user) (map[string]any, error) {
		var sessions []any
		for item, err := range a.sessions.Items(ctx, "user:*") {
			if err != nil {
				return nil, err
			}
			sessions = append(sessions, item.Value)
		}
		return map[string]any{"sessions": sessions, "count": len(sessions)}, a.countRequest(ctx)
	})
	handle("get_stats", func(ctx context.Context, _ user) (map[string]any, error) {
		n, err := a.requests(ctx)
		return map[string]any{"total_requests": n}, err
	})
	handle("clear_all", func(ctx context.Context, _ user) (map[string]any, error) {
		return map[string]any{"status": "cleared"}, cmp.Or(a.sessions.Clear(ctx), a.counters.Put(ctx, "requests", 0))
	})
}

func (a *sessionApp) requests(ctx context.Context) (int, error) {
	n, err := client.StashGet[int](ctx, a.counters, "requests")
	if errors.Is(err, dirty.ErrKeyNotFound) {
		return 0, nil
	}
	return n, err
}

func (a *sessionApp) countRequest(ctx context.Context) error {
	a.counting.Lock()
	defer a.counting.Unlock()
	n, err := a.requests(ctx)
	return cmp.Or(err, a.counters.Put(ctx, "requests", n+1))
}

// registerChat adds ChatApp of examples/streaming_chat.
func registerChat(mux *goserver.Mux) {
	const app = "streaming_chat.chat_app:ChatApp"
	mux.Handle(app, "generate", goserver.StreamFunc(func(_ context.Context, prompt string) iter.Seq2[string, error] {
		return words(chatAnswer(prompt))
	}))
	mux.Handle(app, "generate_with_thinking", goserver.StreamFunc(func(_ context.Context, prompt string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, thought := range []string{"[thinking", ".", ".", ".", "]\n\n"} {
				if !yield(thought, nil) {
					return
				}
			}
			words(chatAnswer(prompt))(yield)
		}
	}))
}

func chatAnswer(prompt string) string {
	for key, answer := range map[string]string{
		"hello":     "Hello! I am a Go program that answers word by word.",
		"explain":   "Dirty workers do what takes long, so that web workers need not.",
		"streaming": "Each word is a chunk, and the end comes after the last one.",
	} {
		if strings.Contains(prompt, key) {
			return answer
		}
	}
	return "I do not know that."
}

// words yields words with the spaces between them.
func words(text string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for word := range strings.SplitAfterSeq(text, " ") {
			if !yield(word, nil) {
				return
			}
		}
	}
}
