package client_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStatus: typed, with what gunicorn's own field of that name should have
// said of "booted".
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name      string
		heartbeat any
		booted    bool
		want      client.Worker
	}{
		{"in health", 0.25, false, client.Worker{Booted: true, HeartbeatAge: 250 * time.Millisecond}},
		{"just now", 0.0, false, client.Worker{Booted: true}},
		{"not yet", unborn, false, client.Worker{}},
		{"a little negative", -0.001, false, client.Worker{}},
		{"none", nil, false, client.Worker{}},
		{"an int", 3, false, client.Worker{Booted: true, HeartbeatAge: 3 * time.Second}},
		{"a negative int", -3, false, client.Worker{}},
		{"long ago", 1e300, false, client.Worker{Booted: true, HeartbeatAge: 1 << 33 * time.Second}},
		{"infinite", math.Inf(1), false, client.Worker{Booted: true, HeartbeatAge: 1 << 33 * time.Second}},
		{"NaN", math.NaN(), false, client.Worker{}},
		{"a later gunicorn", nil, true, client.Worker{Booted: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := asking(t, func(dirty.Message) any {
				return map[string]any{
					"arbiter_pid": 42, "worker_count": 1, "apps": []any{"a:A", "b:B"}, "more": []any{},
					"workers": []any{map[string]any{"pid": 43, "age": 7, "apps": []any{"a:A"}, "booted": tt.booted, "last_heartbeat": tt.heartbeat}},
				}
			})
			s, err := c.Status(context.Background())
			require.NoError(t, err)
			requireAsked(t, &dirty.StatusRequest{}, asked)
			tt.want.PID, tt.want.Age, tt.want.Apps = 43, 7, []string{"a:A"}
			assert.Equal(t, &client.Status{ArbiterPID: 42, Apps: []string{"a:A", "b:B"}, Workers: []client.Worker{tt.want}}, s)
			require.NoError(t, c.Ping(context.Background()))
		})
	}
}

// TestStatusOfNothing: what is left out.
func TestStatusOfNothing(t *testing.T) {
	c, _ := asking(t, func(dirty.Message) any { return map[string]any{} })
	s, err := c.Status(context.Background())
	require.NoError(t, err)
	assert.Zero(t, s.ArbiterPID)
	assert.Empty(t, s.Workers)
	assert.Zero(t, s.Serving(""))
}

// TestStatusOfAnotherShape: what is no status is an error of decoding.
func TestStatusOfAnotherShape(t *testing.T) {
	for _, reply := range []any{1, "x", []any{}, map[string]any{"workers": 1}, map[string]any{"workers": []any{1}}, map[string]any{"arbiter_pid": "x"}} {
		c, _ := asking(t, func(dirty.Message) any { return reply })
		s, err := c.Status(context.Background())
		requireOp(t, err, client.StageDecode, true)
		assert.Nil(t, s)
		assert.Error(t, c.Ping(context.Background()))
	}
}

// TestServing counts the workers of an app that have booted.
func TestServing(t *testing.T) {
	s := client.Status{Workers: []client.Worker{
		{Booted: true, Apps: []string{"a:A"}},
		{Booted: true, Apps: []string{"a:A", "b:B"}},
		{Apps: []string{"a:A", "c:C"}},
	}}
	for app, want := range map[string]int{"a:A": 2, "b:B": 1, "c:C": 0, "d:D": 0, "": 2} {
		assert.Equal(t, want, s.Serving(app), app)
	}
}

// TestScale: what adding and removing workers sends and says.
func TestScale(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name  string
		call  func(c *client.Client) (*client.ScaleResult, error)
		sends dirty.ManageRequest
		reply map[string]any
		want  client.ScaleResult
	}{
		{"add", func(c *client.Client) (*client.ScaleResult, error) { return c.AddWorkers(ctx, 3) }, dirty.ManageRequest{Op: dirty.ManageAdd, Count: 3},
			map[string]any{"success": true, "operation": "add", "requested": 3, "spawned": 3, "total_workers": 5, "target_workers": 5},
			client.ScaleResult{Requested: 3, Changed: 3, Total: 5, Target: 5}},
		{"add in vain", func(c *client.Client) (*client.ScaleResult, error) { return c.AddWorkers(ctx, 1) }, dirty.ManageRequest{Op: dirty.ManageAdd, Count: 1},
			map[string]any{"success": true, "requested": 1, "spawned": 0, "total_workers": 2, "target_workers": 2, "reason": "All apps have reached their worker limits"},
			client.ScaleResult{Requested: 1, Total: 2, Target: 2, Reason: "All apps have reached their worker limits"}},
		{"remove", func(c *client.Client) (*client.ScaleResult, error) { return c.RemoveWorkers(ctx, client.MaxScale) }, dirty.ManageRequest{Op: dirty.ManageRemove, Count: client.MaxScale},
			map[string]any{"success": true, "requested": 256, "removed": 4, "total_workers": 1, "target_workers": 1},
			client.ScaleResult{Requested: 256, Changed: 4, Total: 1, Target: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := asking(t, func(dirty.Message) any { return tt.reply })
			got, err := tt.call(c)
			require.NoError(t, err)
			assert.Equal(t, &tt.want, got)
			requireAsked(t, &tt.sends, asked)
		})
	}
}

// TestScaleRefuses: gunicorn would take 0 as 1, and any number.
func TestScaleRefuses(t *testing.T) {
	c, asked := asking(t, func(dirty.Message) any { return nil })
	for _, n := range []int{0, -1, math.MinInt, client.MaxScale + 1, math.MaxInt} {
		for _, call := range []func(*client.Client, context.Context, int) (*client.ScaleResult, error){
			(*client.Client).AddWorkers, (*client.Client).RemoveWorkers,
		} {
			got, err := call(c, context.Background(), n)
			require.ErrorIs(t, err, client.ErrInvalidArgument)
			requireOp(t, err, client.StagePrepare, false)
			assert.Nil(t, got)
		}
	}
	assert.Empty(t, asked)
	assert.Zero(t, c.Stats().Dials)
}

// TestScaleError: nothing is returned beside an error.
func TestScaleError(t *testing.T) {
	c, _ := asking(t, func(dirty.Message) any { return &dirty.RemoteError{Type: "DirtyError", Message: "no"} })
	got, err := c.AddWorkers(context.Background(), 1)
	require.Error(t, err)
	assert.Nil(t, got)
}
