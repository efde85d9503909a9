package cluster_test

import (
	"context"
	"iter"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newMux returns an app whose actions say on which host they ran.
func newMux(host string) *server.Mux {
	mux := server.NewMux()
	mux.Handle(app, "host", server.Func(func(context.Context, struct{}) (string, error) { return host, nil }))
	mux.Handle(app, "echo", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond(r.Args)
	}))
	mux.Handle(app, "fail", server.Func(func(context.Context, struct{}) (any, error) { return nil, errBoom }))
	mux.Handle(app, "count", server.StreamFunc(func(_ context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}))
	return mux
}

// TestCalls checks that what comes through a front and an agent is what the arbiter
// answers.
func TestCalls(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 2})
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})

	v, err := c.Execute(ctx, app, "echo", 1, "two", []byte("three"))
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), "two", []byte("three")}, v)
	v, err = c.Execute(ctx, app, "echo", large)
	require.NoError(t, err)
	assert.Len(t, v.([]any)[0], len(large))
	_, err = c.Execute(ctx, app, "fail")
	require.ErrorIs(t, err, dirty.ErrApp)
	assert.ErrorContains(t, err, "boom")
	n := 0
	for v, err := range client.StreamOf[int](ctx, c, app, "count", 1000) {
		require.NoError(t, err)
		require.Equal(t, n, v)
		n++
	}
	assert.Equal(t, 1000, n)

	_, err = c.Execute(ctx, "no:App", "do")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	assert.True(t, client.SafeToRetry(err))
	assert.ErrorContains(t, err, "no host has it; nothing ran")

	s := f.Status()
	require.Len(t, s.Hosts, 1)
	assert.Equal(t, cluster.HostStatus{Host: "gpu1", Addr: h.member.Addr, State: "up", Slots: 2, Free: 2, Apps: []string{app}}, s.Hosts[0])
	told, err := cluster.ReadStatus(ctx, c)
	require.NoError(t, err)
	assert.Equal(t, s, told)
	status, err := c.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{app}, status.Apps)
	assert.Len(t, status.Workers, 1)
}

// TestStatusNamesHosts checks that the status that a front gives to clients has the workers
// of all hosts, each with its host.
func TestStatusNamesHosts(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	var members []cluster.Member
	for _, name := range []string{"gpu1", "gpu2"} {
		members = append(members, startHost(t, name, newMux(name), cluster.AgentConfig{TLS: ca.agent(name), Host: name}).member)
	}
	f, _ := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(members...)})
	awaitUp(t, f, 2)
	nc, err := f.Dialer()(ctx, "")
	require.NoError(t, err)
	defer nc.Close()
	conn := dirty.NewConn(nc)
	require.NoError(t, conn.WriteMessage(dirty.NewStatusRequest(1)))
	answer, err := conn.ReadMessage()
	require.NoError(t, err)
	var hosts []any
	for _, w := range answer.(*dirty.Response).Result.(map[string]any)["workers"].([]any) {
		hosts = append(hosts, w.(map[string]any)["host"])
	}
	assert.ElementsMatch(t, []any{"gpu1", "gpu2"}, hosts)
}
