package dirtytest_test

import (
	"context"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// Label is the code under test. It tries a second time where that is safe.
func Label(ctx context.Context, c *client.Client, image []byte) (string, error) {
	label, err := client.Call[string](ctx, c, "app:Model", "predict", image)
	if client.SafeToRetry(err) {
		label, err = client.Call[string](ctx, c, "app:Model", "predict", image)
	}
	return label, err
}

// testLabel would be named TestLabel in a file of tests.
func testLabel(t *testing.T) {
	mux := server.NewMux()
	mux.Handle("app:Model", "predict", server.Func(func(context.Context, []byte) (string, error) {
		return "cat", nil
	}))
	s := dirtytest.NewServer(t, mux)
	// The first call finds no worker.
	s.Fault(dirtytest.MatchCall("app:Model", "predict"), dirtytest.Reply(dirty.ErrNoWorkers)).Times(1)

	label, err := Label(t.Context(), s.Client(), []byte("an image"))
	if err != nil || label != "cat" {
		t.Errorf("got %q, %v", label, err)
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests came, want 2", n)
	}
}

// The test of a function that makes a call, and makes it again if no worker was
// there.
func ExampleNewServer() {
	_ = testLabel // go test runs it
}
