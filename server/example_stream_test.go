package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// countdown yields a number each moment. It returns when its client has left, because
// then its context ends, and yield returns false.
func countdown(ctx context.Context, from int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n := from; n > 0; n-- {
			if !yield(n, nil) {
				return
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
		yield(0, errors.New("lift-off")) // Python's stream raises it
	}
}

// An action that streams. Python reads it with client.stream("app:Rocket", "countdown", 3).
func ExampleStreamFunc() {
	mux := server.NewMux()
	mux.Handle("app:Rocket", "countdown", server.StreamFunc(countdown))
	s := &server.Server{Handler: mux}
	c, stop := clientOf(s)
	defer stop()

	for n, err := range client.StreamOf[int](context.Background(), c, "app:Rocket", "countdown", 3) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(n)
	}
	// Output:
	// 3
	// 2
	// 1
	// dirty: stream app:Rocket.countdown: DirtyAppError: lift-off
}
