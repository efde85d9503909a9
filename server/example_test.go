package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// Answer is what the example's action predict returns.
type Answer struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// A server with an action that returns a value and one that streams. Python calls
// the first one with client.execute("app:Model", "predict", "cat.png", top=1), the
// second one with client.stream("app:Model", "tokens", "a prompt").
func Example() {
	mux := server.NewMux()
	mux.Handle("app:Model", "predict", server.Func(
		func(_ context.Context, arg struct {
			Image string
			Top   int
		}) (Answer, error) {
			if arg.Image == "" {
				return Answer{}, errors.New("no image")
			}
			return Answer{"cat", 0.9}, nil
		}))
	mux.Handle("app:Model", "tokens", server.StreamFunc(
		func(ctx context.Context, prompt string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for _, token := range []string{"you", " ", "asked: ", prompt} {
					if !yield(token, nil) {
						return // the client has left
					}
				}
			}
		}))
	dir, err := os.MkdirTemp("", "dirty")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	l, err := server.Listen(filepath.Join(dir, "dirty.sock"), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &server.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()

	ctx := context.Background()
	c, err := client.New(client.WithSocket(l.Addr().String()))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.Call[Answer](ctx, c, "app:Model", "predict", "cat.png", client.Kwargs{"top": 1})
	fmt.Println(answer, err)
	_, err = c.Execute(ctx, "app:Model", "predict")
	fmt.Println(errors.Is(err, dirty.ErrApp))
	for token, err := range client.StreamOf[string](ctx, c, "app:Model", "tokens", "hello") {
		fmt.Print(token, err, "|")
	}
	fmt.Println()

	_ = c.Close()
	fmt.Println(s.Shutdown(ctx))
	// Output:
	// {cat 0.9} <nil>
	// true
	// you<nil>| <nil>|asked: <nil>|hello<nil>|
	// <nil>
}

// Middleware sees every request.
func ExampleChain() {
	bounded := func(next server.Handler) server.Handler {
		return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute) // no handler runs for longer
			defer cancel()
			fmt.Println(r.AppPath, r.Action)
			return next.ServeDirty(ctx, w, r)
		})
	}
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(func(context.Context, struct{}) (string, error) { return "pong", nil }))
	s := &server.Server{Handler: server.Chain(mux, bounded)}

	ours, theirs := net.Pipe() // a connection without a socket
	done := make(chan error)
	go func() { done <- s.ServeConn(context.Background(), theirs) }()
	c := dirty.NewConn(ours)
	_ = c.WriteMessage(dirty.NewRequest(1, "app:App", "ping", nil, nil))
	m, err := c.ReadMessage()
	fmt.Println(m.(*dirty.Response).Result, err)
	_ = c.Close()
	fmt.Println(<-done)
	// Output:
	// app:App ping
	// pong <nil>
	// <nil>
}

// Only processes of one user may connect, although the socket's mode lets more
// of them.
func ExamplePeerCred() {
	s := &server.Server{
		Mode:   0o666,
		Logger: slog.Default(),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if cred, ok := server.PeerCred(c); !ok || cred.UID != os.Getuid() {
				return nil
			}
			return ctx
		},
	}
	_ = s
}
