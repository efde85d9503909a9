package server_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
)

// named answers with a name.
func named(name string) server.Handler {
	return server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		return w.Respond(name)
	})
}

func TestMux(t *testing.T) {
	mux := server.NewMux()
	mux.Handle("b:B", "do", named("b do"))
	mux.Handle("a:A", "do", named("a do"))
	mux.HandleApp("a:A", named("a rest"))
	mux.HandleApp("c:C", named("c rest"))
	assert.Equal(t, []string{"b:B", "a:A", "c:C"}, mux.Apps())
	assert.NotNil(t, mux.Handler("b:B", "do"))
	assert.NotNil(t, mux.Handler("a:A", "other"))
	assert.Nil(t, mux.Handler("b:B", "other"))
	assert.Nil(t, mux.Handler("d:D", "do"))
	c := connect(t, &server.Server{Handler: mux})
	for _, test := range []struct{ app, action, want string }{
		{"b:B", "do", "b do"},
		{"a:A", "do", "a do"},
		{"a:A", "other", "a rest"},
		{"c:C", "", "c rest"},
	} {
		got := ask(t, c, dirty.NewRequest(1, test.app, test.action, nil, nil))
		assert.Equal(t, dirty.NewResponse(1, test.want), got, "%+v", test)
	}
	assert.Equal(t, &dirty.RemoteError{
		Type: "DirtyNoWorkersAvailableError", Message: "No workers available for app: d:D",
		Details: map[string]any{"app_path": "d:D"},
	}, failed(t, ask(t, c, dirty.NewRequest(1, "d:D", "do", nil, nil))))
	assert.Equal(t, &dirty.RemoteError{
		Type: "DirtyAppError", Message: "Unknown action: other",
		Details: map[string]any{"app_path": "b:B", "action": "other"},
	}, failed(t, ask(t, c, dirty.NewRequest(1, "b:B", "other", nil, nil))))
	usable(t, c)
}

func TestMuxPanics(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "do", named("x"))
	mux.HandleApp(app, named("x"))
	for want, register := range map[string]func(){
		"the app is empty":              func() { mux.Handle("", "do", named("x")) },
		"the action is empty":           func() { mux.Handle(app, "", named("x")) },
		"the handler of app:App":        func() { mux.Handle(app, "do", nil) },
		"action do of app:App has":      func() { mux.Handle(app, "do", named("x")) },
		"app app:App has a handler":     func() { mux.HandleApp(app, named("x")) },
		"the app is empty ":             func() { mux.HandleApp("", named("x")) },
		"the handler of app:App is nil": func() { mux.HandleApp(app, nil) },
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover())+" ", want) }()
			register()
		}()
	}
	assert.Equal(t, []string{app}, mux.Apps())
}

// A server without a handler has no apps; the zero Mux neither.
func TestNoHandler(t *testing.T) {
	for name, s := range map[string]*server.Server{"none": {}, "empty": {Handler: new(server.Mux)}} {
		t.Run(name, func(t *testing.T) {
			err := failed(t, call(t, connect(t, s), "do"))
			assert.ErrorIs(t, err, dirty.ErrNoWorkers)
		})
	}
}

func TestMuxWhileServing(t *testing.T) {
	mux := server.NewMux()
	c := connect(t, &server.Server{Handler: mux})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			mux.Handle(app, fmt.Sprint(i), named("x"))
		}
	})
	for range 200 {
		call(t, c, "199")
	}
	wg.Wait()
	assert.Equal(t, dirty.NewResponse(1, "x"), call(t, c, "199"))
}
