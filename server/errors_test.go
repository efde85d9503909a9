package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestErrorTexts checks that every error of the package begins with the prefix,
// which stands there once, also where an error of package dirty is inside.
func TestErrorTexts(t *testing.T) {
	errs := map[string]error{}
	for _, err := range []error{server.ErrServerClosed, server.ErrClientGone, server.ErrReplied, server.ErrStreaming,
		server.ErrTooManyConns, server.ErrAbortHandler} {
		errs[err.Error()] = err
	}
	_, theirs := net.Pipe()
	errs["wrong limits"] = (&server.Server{Limits: dirty.Limits{MaxDepth: -1}}).ServeConn(ctx, theirs)

	_, theirs = net.Pipe()
	errs["refused"] = (&server.Server{ConnContext: func(context.Context, net.Conn) context.Context { return nil }}).ServeConn(ctx, theirs)

	_, errs["no path"] = server.Listen("", 0)

	for name, cause := range map[string]error{"our cause": server.ErrClientGone, "no cause": nil, "another cause": errBoom} {
		h, running, _ := patient()
		s := &server.Server{Handler: h}
		send(t, connect(t, s), "wait")
		wait(t, "the handler", running)
		ended, cancel := context.WithCancelCause(ctx)
		cancel(cause)
		err := s.Shutdown(ended)
		assert.ErrorIs(t, err, context.Canceled)
		errs["Shutdown, "+name] = err
	}

	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	writes := make(chan error, 1)
	closing := make(chan struct{})
	go func() {
		served <- (&server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
			<-closing
			writes <- w.Respond(1)
			return nil
		})}).ServeConn(ctx, theirs)
	}()
	require.NoError(t, dirty.WriteMessage(ours, dirty.NewRequest(1, app, "do", nil, nil)))
	require.NoError(t, ours.Close())
	close(closing)
	errs["a write to nobody"] = <-writes
	assert.NoError(t, <-served)

	_, theirs = net.Pipe()
	errs["a connection that panics"] = new(server.Server).ServeConn(ctx, &usercodetest.OddConn{Conn: theirs, OnRead: func([]byte) (int, error) { panic(1) }})

	for name, err := range errs {
		require.Error(t, err, name)
		assert.True(t, strings.HasPrefix(err.Error(), "dirty: "), "%s: %v", name, err)
		assert.Equal(t, 1, strings.Count(err.Error(), "dirty: "), "%s: %v", name, err)
	}
}

// TestErrorTextsForClients checks the same of what clients are told.
func TestErrorTextsForClients(t *testing.T) {
	store := badStore{nil, func() (dirty.RawValue, error) { return nil, os.ErrInvalid }}
	for name, test := range map[string]struct {
		s *server.Server
		m dirty.Message
	}{
		"an error of the package": {handle(func(*server.ResponseWriter) error { return server.ErrStreaming }), dirty.NewRequest(1, app, "do", nil, nil)},
		"a wrong result":          {handle(func(w *server.ResponseWriter) error { return w.Respond(func() {}) }), dirty.NewRequest(1, app, "do", nil, nil)},
		"an error too large": {handle(func(*server.ResponseWriter) error { return errors.New(strings.Repeat("x", 70<<20)) }),
			dirty.NewRequest(1, app, "do", nil, nil)},
		"a wrong argument": {&server.Server{Handler: back[int]()}, dirty.NewRequest(1, app, "do", []any{"x"}, nil)},
		"a Store":          {&server.Server{Stash: store}, dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")},
		"no stash":         {&server.Server{Stash: server.NoStash}, dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")},
		"a miss":           {new(server.Server), dirty.NewStashRequest(1, dirty.StashGet, "t", "k", nil, "")},
		"no app":           {new(server.Server), dirty.NewRequest(1, app, "do", nil, nil)},
		"Manage":           {new(server.Server), dirty.NewManageRequest(1, dirty.ManageAdd, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			err := failed(t, ask(t, connect(t, test.s), test.m))
			assert.NotContains(t, err.Error(), "dirty: dirty: ")
			assert.NotContains(t, err.Message, ": dirty: ")
		})
	}
}
