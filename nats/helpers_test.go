package dirtynats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/gunicorn-go/dirty/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// timeout bounds each test. Machines are loaded.
const timeout = 2 * time.Minute

// shared are servers that tests use which do not stop them. There are one and three.
var shared struct {
	sync.Mutex
	byNodes map[int]*embedded.Servers
}

func TestMain(m *testing.M) {
	shared.byNodes = map[int]*embedded.Servers{}
	code := m.Run()
	for _, servers := range shared.byNodes {
		servers.Close()
	}
	if left := findLeaks(); left != "" {
		fmt.Fprintf(os.Stderr, "goroutines of this package are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// findLeaks returns the stacks of goroutines that this package or the NATS client
// started, once they had time to end.
func findLeaks() (left string) {
	for range 200 {
		var found []string
		buf := make([]byte, 8<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "dirty/nats.") || strings.Contains(stack, "nats-io/nats.go") {
				found = append(found, stack)
			}
		}
		if left = strings.Join(found, "\n\n"); left == "" {
			return ""
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left
}

func newContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// sharedNATS returns servers that no test may stop.
func sharedNATS(t testing.TB, nodes int) *embedded.Servers {
	shared.Lock()
	defer shared.Unlock()
	if shared.byNodes[nodes] == nil {
		servers, err := embedded.Start(embedded.Options{Nodes: nodes})
		require.NoError(t, err)
		shared.byNodes[nodes] = servers
	}
	return shared.byNodes[nodes]
}

// startNATS starts servers for one test, which may stop them.
func startNATS(t *testing.T, nodes int) *embedded.Servers {
	servers, err := embedded.Start(embedded.Options{Nodes: nodes})
	require.NoError(t, err)
	t.Cleanup(servers.Close)
	return servers
}

// connect returns a connection to NATS.
func connect(t testing.TB, url string) *nats.Conn {
	nc, err := nats.Connect(url, append(dirtynats.ConnectOptions(), nats.Timeout(timeout))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func newJetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// newBucket returns a bucket of a new name.
func newBucket(nodes int) dirtynats.Bucket {
	return dirtynats.Bucket{Name: "b" + nuid.Next(), Replicas: nodes, Timeout: timeout}
}

func openStash(t testing.TB, js jetstream.JetStream, config dirtynats.StashConfig) *dirtynats.Stash {
	s, err := dirtynats.OpenStash(newContext(t), js, config)
	require.NoError(t, err)
	return s
}

func encode(t testing.TB, v any) dirty.RawValue {
	b, err := dirty.Marshal(v)
	require.NoError(t, err)
	return b
}

// serve serves on a socket until the test ends, and returns a client of it.
func serve(t testing.TB, s *server.Server) *client.Client {
	path := serveAt(t, s)
	c, err := client.New(client.WithSocket(path), client.WithTimeout(timeout))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// serveAt serves on a socket until the test ends, and returns its path.
func serveAt(t testing.TB, s *server.Server) string {
	dir, err := os.MkdirTemp("", "nats")
	require.NoError(t, err)
	path := filepath.Join(dir, "dirty.sock")
	listener, err := server.Listen(path, 0o600)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, server.ErrServerClosed)
		assert.NoError(t, os.RemoveAll(dir))
	})
	return path
}

// relay forwards connections to a server, and can swallow all that is sent. It stands
// for a network that has gone silent.
type relay struct {
	url    string
	silent atomic.Bool
}

func newRelay(t *testing.T, servers *embedded.Servers) *relay {
	target := servers.NodeURL(0)
	credentials, address, _ := strings.Cut(target, "@")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{url: credentials + "@" + l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", address)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			wg.Go(func() { r.copy(out, in) })
			wg.Go(func() { r.copy(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}

func (r *relay) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !r.silent.Load() {
			if _, err := io.Copy(to, bytes.NewReader(buf[:n])); err != nil {
				return
			}
		}
	}
}

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var errNotYet = errors.New("not yet")

func natsMessage(subject string, header map[string]string) *nats.Msg {
	msg := nats.NewMsg(subject)
	for key, value := range header {
		msg.Header.Set(key, value)
	}
	return msg
}
