package dirtytest_test

import (
	"context"
	"testing"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// LabelAlone is code under test that makes its own client. It finds the socket by the
// variable that gunicorn sets.
func LabelAlone(ctx context.Context) (string, error) {
	c, err := client.New()
	if err != nil {
		return "", err
	}
	defer c.Close()
	return client.Call[string](ctx, c, "app:Model", "label")
}

// testLabelAlone would be named TestLabelAlone.
func testLabelAlone(t *testing.T) {
	mux := server.NewMux()
	mux.Handle("app:Model", "label", server.Func(func(context.Context, struct{}) (string, error) { return "cat", nil }))
	dirtytest.NewServer(t, mux).Setenv() // until the test ends
	if label, err := LabelAlone(t.Context()); err != nil || label != "cat" {
		t.Errorf("got %q, %v", label, err)
	}
}

// Code that finds the socket by itself, a Python program that the test starts included.
func ExampleServer_Setenv() {
	_ = testLabelAlone // go test runs it
}
