package dirtytest_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/server"
)

// eachKind runs a test on a socket and in memory. In memory its time is not real.
func eachKind(t *testing.T, test func(t *testing.T, opts ...dirtytest.Option)) {
	t.Run("socket", func(t *testing.T) { test(t) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, dirtytest.WithInMemory()) })
	})
}

// TestServer: calls, streams, the stash and the status work, and the requests are
// recorded.
func TestServer(t *testing.T) {
	eachKind(t, func(t *testing.T, opts ...dirtytest.Option) {
		s := dirtytest.NewServer(t, newMux(), opts...)
		c := s.Client(client.WithMaxIdle(1, time.Hour)) // all is to come on one connection
		got, err := c.Execute(t.Context(), app, "echo", []byte{1})
		require.NoError(t, err)
		assert.Equal(t, []byte{1}, got)
		for i, err := range client.StreamOf[int](t.Context(), c, app, "count", 2) {
			require.NoError(t, err)
			assert.Less(t, i, 2)
		}
		require.NoError(t, c.Stash("t").Put(t.Context(), "k", 1))
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{app}, status.Apps)
		assert.Equal(t, os.Getpid(), status.ArbiterPID)
		assert.Equal(t, 1, status.Serving(app))

		requests := s.Requests()
		require.Len(t, requests, 4)
		m, ok := requests[0].Message.(*dirty.Request)
		require.True(t, ok)
		assert.Equal(t, []any{[]byte{1}}, m.Args)
		assert.Equal(t, requests[0].RequestID+1, requests[1].RequestID)
		assert.Equal(t, 1, requests[3].Conn)
		open, total := s.Conns()
		assert.Equal(t, []int{1, 1}, []int{open, total})
	})
}

// TestUnexpectedCall: a call without a handler fails the test, unless that is
// allowed. The client gets the error that gunicorn would send.
func TestUnexpectedCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    server.Handler
		opts []dirtytest.Option
		want []string
	}{
		{"no handler", nil, nil, []string{"dirtytest: unexpected call of app:App.dance"}},
		{"mux", newMux(), nil, []string{"dirtytest: unexpected call of app:App.dance"}},
		{"allowed", newMux(), []dirtytest.Option{dirtytest.WithUnknownCalls()}, []string{}},
		{"handler that takes all", server.HandlerFunc(func(context.Context, *server.ResponseWriter, *dirty.Request) error {
			return dirty.ErrApp
		}), nil, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := &failingTB{TB: t}
			s := dirtytest.NewServer(tb, tt.h, tt.opts...)
			_, err := s.Client().Execute(t.Context(), app, "dance")
			require.Error(t, err)
			var remote *dirty.RemoteError
			require.ErrorAs(t, err, &remote)
			assert.Equal(t, tt.want, tb.all())
		})
	}
}

// TestSetenv: code that reads the environment finds the server.
func TestSetenv(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	s.Setenv()
	c, err := client.New()
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Ping(t.Context()))
	assert.Less(t, len(s.Socket()), 100)
}

// TestRestart: the connections end, and the stash is empty. The client finds the new
// server, on the same path or on another one.
func TestRestart(t *testing.T) {
	eachKind(t, func(t *testing.T, opts ...dirtytest.Option) {
		s := dirtytest.NewServer(t, newMux(), opts...)
		c := s.Client()
		table := c.Stash("t")
		for _, restart := range []func(){s.Restart, s.Respawn, s.Restart} {
			require.NoError(t, table.Put(t.Context(), "k", 1))
			restart()
			open, _ := s.Conns()
			assert.Zero(t, open)
			_, found, err := table.Lookup(t.Context(), "k")
			require.NoError(t, err)
			assert.False(t, found)
		}
		_, total := s.Conns()
		assert.Equal(t, 4, total)
	})
}

// TestPaths: Restart keeps the path, Respawn changes it.
func TestPaths(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	first := s.Socket()
	s.Restart()
	assert.Equal(t, first, s.Socket())
	s.Respawn()
	assert.NotEqual(t, first, s.Socket())
	assert.NoFileExists(t, first)
	assert.FileExists(t, s.Socket())
}

// TestRefusedAndFull: dials fail as with a real socket, and open connections go on.
// Afterwards dials work again.
func TestRefusedAndFull(t *testing.T) {
	eachKind(t, func(t *testing.T, opts ...dirtytest.Option) {
		s := dirtytest.NewServer(t, newMux(), opts...)
		kept := s.Client()
		require.NoError(t, kept.Ping(t.Context()))

		accept := s.RefuseDials()
		err := s.Client().Ping(t.Context())
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.NoError(t, kept.Ping(t.Context()))
		accept()
		accept()
		require.NoError(t, s.Client().Ping(t.Context()))

		drain := s.FullBacklog()
		for timeout := 50 * time.Millisecond; ; timeout *= 2 { // a busy machine needs more, to dial at all
			err = s.Client(client.WithDialTimeout(timeout)).Ping(t.Context())
			if errors.Is(err, syscall.EAGAIN) || timeout > time.Minute {
				break
			}
		}
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.ErrorIs(t, err, syscall.EAGAIN)
		require.NoError(t, kept.Ping(t.Context()))
		c := s.Client()
		go func() {
			for c.Stats().BacklogFull == 0 {
				time.Sleep(time.Millisecond)
			}
			drain()
			drain()
		}()
		require.NoError(t, c.Ping(t.Context()))
	})
}

// TestRestartEndsFaults: Restart ends a full backlog and a refusal.
func TestRestartEndsFaults(t *testing.T) {
	eachKind(t, func(t *testing.T, opts ...dirtytest.Option) {
		s := dirtytest.NewServer(t, newMux(), opts...)
		for _, fault := range []func() func(){s.FullBacklog, s.RefuseDials} {
			end := fault()
			s.Restart()
			require.NoError(t, s.Client().Ping(t.Context()))
			end() // it is over already
			require.NoError(t, s.Client().Ping(t.Context()))
		}
	})
}

// TestStash: a test can read and change it without a client.
func TestStash(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	s.Stash().Put("users", "ada", map[string]any{"visits": 1})
	s.Stash().Put("users", 5, nil)
	c := s.Client()
	got, err := c.Stash("users").Get(t.Context(), "ada")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"visits": int64(1)}, got)
	require.NoError(t, c.Stash("users").Put(t.Context(), []byte{1}, "bytes"))
	assert.Equal(t, map[any]any{"ada": map[string]any{"visits": int64(1)}, int64(5): nil, "\x01": "bytes"}, s.Stash().Dump("users"))
	assert.Empty(t, s.Stash().Dump("missing"))
}

// TestWorkers: the status tells what SetWorkers, AddWorkers and RemoveWorkers have
// set.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dirtytest.NewServer(t, newMux(), dirtytest.WithInMemory())
		c := s.Client()
		scaled, err := c.AddWorkers(t.Context(), 2)
		require.NoError(t, err)
		assert.Equal(t, &client.ScaleResult{Requested: 2, Changed: 2, Total: 3, Target: 3}, scaled)
		scaled, err = c.RemoveWorkers(t.Context(), 9)
		require.NoError(t, err)
		assert.Equal(t, &client.ScaleResult{Requested: 9, Changed: 2, Total: 1, Target: 1}, scaled)
		assert.Len(t, s.Workers(), 1)

		want := []client.Worker{
			{PID: 7, Age: 1, Apps: []string{app}, Booted: true, HeartbeatAge: 1500 * time.Millisecond},
			{PID: 8, Age: 2, Apps: []string{}},
		}
		s.SetWorkers(want...)
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, status.Workers)
		assert.Equal(t, 1, status.Serving(app))

		s.SetWorkers()
		err = s.Client(client.WithTimeout(time.Second)).WaitReady(t.Context())
		require.ErrorContains(t, err, "no worker has booted")
		_, err = c.RemoveWorkers(t.Context(), 1)
		require.NoError(t, err)
	})
}

// TestWithServer: the fields of the real server can be set.
func TestWithServer(t *testing.T) {
	s := dirtytest.NewServer(t, newMux(), dirtytest.WithServer(func(s *server.Server) {
		s.Limits = dirty.Limits{MaxPayload: 1000}
		s.Stash = server.NoStash
	}))
	c := s.Client()
	_, err := c.Stash("t").Get(t.Context(), "k")
	require.Error(t, err)
	require.NotErrorIs(t, err, dirty.ErrKeyNotFound)
	_, err = c.Execute(t.Context(), app, "echo", make([]byte, 2000))
	require.Error(t, err)
}
