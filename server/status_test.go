package server_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatus(t *testing.T) {
	mux := server.NewMux()
	mux.HandleApp("b:B", named("b"))
	mux.HandleApp("a:A", named("a"))
	path := start(t, &server.Server{Handler: mux})
	apps := []any{"b:B", "a:A"}
	got := ask(t, dial(t, path), dirty.NewStatusRequest(1))
	assert.Equal(t, dirty.NewResponse(1, kw{
		"arbiter_pid":  int64(os.Getpid()),
		"workers":      []any{kw{"pid": int64(os.Getpid()), "age": int64(1), "apps": apps, "booted": true, "last_heartbeat": 0.0}},
		"worker_count": int64(1),
		"apps":         apps,
	}), got)

	c := newClient(t, path)
	status, err := c.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, status.Serving("a:A"))
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	assert.NoError(t, c.WaitReady(ready, "a:A", "b:B"))
}

// The payload of a status query may be anything, as with gunicorn.
func TestStatusPayload(t *testing.T) {
	c := connect(t, new(server.Server))
	for _, payload := range [][]byte{nil, encoded(kw{"x": 1}), encoded(5)} {
		_, err := c.NetConn().Write(frame(dirty.TypeStatus, 3, payload))
		require.NoError(t, err)
		result := receive(t, c).(*dirty.Response).Result.(map[string]any)
		assert.Equal(t, []any{}, result["apps"])
	}
}

func TestManage(t *testing.T) {
	c := connect(t, new(server.Server))
	for m, want := range map[*dirty.ManageRequest]string{
		dirty.NewManageRequest(1, dirty.ManageAdd, 1):    "this server has no workers to add",
		dirty.NewManageRequest(1, dirty.ManageRemove, 1): "this server has no workers to remove",
		dirty.NewManageRequest(1, 3, 1):                  "Unknown manage operation: 3",
		dirty.NewManageRequest(1, 0, 1):                  "Unknown manage operation: 0",
	} {
		assert.Equal(t, "dirty: DirtyError: "+want, failed(t, ask(t, c, m)).Error())
	}
	usable(t, c)
}

func TestStatusAndManageOfOthers(t *testing.T) {
	type operation struct {
		op    dirty.ManageOp
		count int
	}
	got := make(chan operation, 1)
	c := connect(t, &server.Server{
		Status: func(context.Context) (any, error) { return kw{"mine": true}, nil },
		Manage: func(_ context.Context, op dirty.ManageOp, count int) (any, error) {
			got <- operation{op, count}
			if op == dirty.ManageRemove {
				return nil, errBoom
			}
			return "ok", nil
		},
	})
	assert.Equal(t, dirty.NewResponse(1, kw{"mine": true}), ask(t, c, dirty.NewStatusRequest(1)))
	for given, want := range map[int]int{-5: 1, 0: 1, 1: 1, 7: 7} {
		assert.Equal(t, dirty.NewResponse(1, "ok"), ask(t, c, dirty.NewManageRequest(1, dirty.ManageAdd, given)))
		assert.Equal(t, operation{dirty.ManageAdd, want}, <-got)
	}
	assert.Equal(t, "boom", failed(t, ask(t, c, dirty.NewManageRequest(1, dirty.ManageRemove, 2))).Message)
	assert.Equal(t, operation{dirty.ManageRemove, 2}, <-got)
}
