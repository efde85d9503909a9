package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// haproxyConfig returns the configuration in docs/CLUSTER.md, with other addresses,
// files and socket.
func haproxyConfig(t *testing.T, socket, certs string, addrs ...string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "CLUSTER.md"))
	require.NoError(t, err)
	_, config, found := strings.Cut(string(page), "```haproxy\n")
	require.True(t, found, "docs/CLUSTER.md shows no configuration of HAProxy")
	config, _, _ = strings.Cut(config, "```")
	replace := []string{"/run/app/front.sock", socket, "/etc/dirty/web1", filepath.Join(certs, "web1"), "/etc/dirty/ca.pem", filepath.Join(certs, "ca.pem")}
	for i, addr := range addrs {
		replace = append(replace, fmt.Sprintf("10.0.0.%d:9500", i+1), addr)
	}
	for i := 0; i < len(replace); i += 2 {
		require.Contains(t, config, replace[i])
	}
	return strings.NewReplacer(replace...).Replace(config)
}

// startHAProxy starts HAProxy at a socket, before agents. A machine without it skips the
// test, and says so loudly.
func startHAProxy(t *testing.T, ca *authority, socket string, addrs ...string) {
	t.Helper()
	path := needTool(t, "haproxy")
	ca.front("web1")
	cert, err := os.ReadFile(filepath.Join(ca.dir, "web1.pem"))
	require.NoError(t, err)
	key, err := os.ReadFile(filepath.Join(ca.dir, "web1.key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(ca.dir, "web1.both.pem"), append(cert, key...), 0o600))
	config := filepath.Join(folder(t), "cfg")
	require.NoError(t, os.WriteFile(config, []byte(haproxyConfig(t, socket, ca.dir, addrs...)), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(path, "-db", "-f", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

// TestHAProxy checks that HAProxy can stand in place of a front: agents are dirty
// servers on TCP. Each connection carries one call.
func TestHAProxy(t *testing.T) {
	ctx, ca, g := testContext(t), newAuthority(t), newGate()
	var addrs []string
	for i := range 3 {
		name := fmt.Sprintf("gpu%d", i+1)
		addrs = append(addrs, startHost(t, name, g.mux(name), cluster.AgentConfig{TLS: ca.agent(name)}).member.Addr)
	}
	t.Cleanup(g.release)
	socket := filepath.Join(folder(t), "s")
	startHAProxy(t, ca, socket, addrs...)
	c, err := client.New(client.WithSocket(socket), client.WithMaxIdle(0, 0), client.WithWaitForServer(patience))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	awaitHAProxy(t, c)

	held := call(ctx, c, "hold")
	busy := receive(t, "the call", g.begun)
	var mu sync.Mutex
	hosts := map[string]int{}
	var calls sync.WaitGroup
	for range 60 {
		calls.Go(func() {
			v, err := client.Call[string](ctx, c, app, "host")
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			hosts[v]++
		})
	}
	calls.Wait()
	assert.Zero(t, hosts[busy], "its worker is busy")
	assert.Len(t, hosts, 2)
	g.release()
	require.NoError(t, receive(t, "the held call", held).err)
	_, err = c.Execute(ctx, app, "echo", make([]byte, 60<<20))
	require.NoError(t, err)
	require.NoError(t, receive(t, "the stream", stream(ctx, c, "drip")).err)
}

// awaitHAProxy waits until HAProxy answers.
func awaitHAProxy(t *testing.T, c *client.Client) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Ping(testContext(t)) == nil }, patience, 10*time.Millisecond)
}
