package redisstore_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// timeout bounds each test.
const timeout = 2 * time.Minute

// startRedis starts a redis-server that keeps nothing on disk, and returns a
// connection to it. Without redis-server the test is skipped loudly, or fails if
// DIRTY_INTEROP=require, which CI sets.
func startRedis(t *testing.T) *redis.Client {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		require.NotEqual(t, "require", os.Getenv("DIRTY_INTEROP"), "DIRTY_INTEROP=require, but there is no redis-server")
		loud.Say("redisstore: NOT RUN: %s: there is no redis-server in PATH", t.Name())
		t.Skip("there is no redis-server in PATH")
	}
	dir := shortDir(t)
	socket := filepath.Join(dir, "redis.sock")
	var log bytes.Buffer
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	client := connect(t, socket)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("redis-server:\n%s", log.String())
		}
	})
	for client.Ping(t.Context()).Err() != nil {
		select {
		case <-ended:
			require.Fail(t, "redis-server has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return client
}

// connect returns a connection with the options that the comment of Store advises.
func connect(t *testing.T, socket string) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Network: "unix", Addr: socket, MaxRetries: -1, ContextTimeoutEnabled: true,
		ReadTimeout: timeout, WriteTimeout: timeout, // machines are loaded
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// shortDir returns a folder for sockets, whose paths must be short.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "redis")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return ctx
}
