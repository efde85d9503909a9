package dirtytest_test

import (
	"context"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// label is the code under test: it tries again where that is safe.
func label(ctx context.Context, c *client.Client, image []byte) (string, error) {
	got, err := client.Call[string](ctx, c, "app:Model", "predict", image)
	if client.SafeToRetry(err) {
		got, err = client.Call[string](ctx, c, "app:Model", "predict", image)
	}
	return got, err
}

// testLabel is the test in the example, for TestExample.
var testLabel func(t *testing.T)

func TestExample(t *testing.T) {
	ExampleNewServer()
	testLabel(t)
}

// A test of code that tries again where that is safe.
func ExampleNewServer() {
	testLabel = func(t *testing.T) { // func TestLabel(t *testing.T) {
		mux := server.NewMux()
		mux.Handle("app:Model", "predict", server.Func(func(context.Context, []byte) (string, error) {
			return "cat", nil
		}))
		s := dirtytest.NewServer(t, mux)
		s.Fault(dirtytest.MatchCall("app:Model", "predict"), dirtytest.Reply(dirty.ErrNoWorkers)).Times(1)

		got, err := label(t.Context(), s.Client(), []byte("image"))
		if err != nil || got != "cat" {
			t.Errorf("got %q, %v", got, err)
		}
		if n := len(s.Requests()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}
