package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frames is a function as a FrameHandler.
type frames func(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error

func (h frames) ServeFrame(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
	return h(ctx, w, f)
}

// TestStrangers checks that those who have no certificate cannot fill the log of an agent.
func TestStrangers(t *testing.T) {
	var lines logBuffer
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: newAuthority(t).agent("gpu1"),
		Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	const strangers = 100
	begin := time.Now()
	for range strangers {
		nc, err := net.Dial("tcp", h.member.Addr)
		require.NoError(t, err)
		_, err = nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, nc) // until the agent has closed it
		require.NoError(t, nc.Close())
	}
	most := 1 + int(time.Since(begin)/time.Second)
	require.NoError(t, h.agent.Close())
	n, told := 0, 0
	for line := range strings.Lines(lines.String()) {
		if !strings.Contains(line, "a connection was refused") {
			continue
		}
		if strings.Contains(line, "from=") { // else it tells of the rest
			n++
		}
		if _, dropped, found := strings.Cut(line, "dropped="); found {
			count, err := strconv.Atoi(strings.TrimSpace(dropped))
			require.NoError(t, err)
			told += count
		}
	}
	assert.LessOrEqual(t, n, most)
	assert.Equal(t, strangers, n+told, "none is forgotten")
}

// TestHostileAgent checks that an agent with a right certificate can say anything: a
// front lives, and its calls run on a host that has them.
func TestHostileAgent(t *testing.T) {
	share := func(free any) map[string]any {
		return map[string]any{"slots": free, "free": free, "yours": 0, "wanted": false, "granted": 0}
	}
	load := func(free any, apps map[string]any) map[string]any {
		return map[string]any{"seq": 1, "leaving": false, "all": share(free), "apps": apps}
	}
	welcome := map[string]any{"host": "evil", "boot": "b", "version": 1}
	many := map[string]any{}
	for i := range 2000 {
		many[fmt.Sprint("app:", i)] = share(1)
	}
	for name, test := range map[string]struct {
		welcome, load any
		lures         bool // calls, which are lost: a host that is trusted can do that
	}{
		"no welcome":             {nil, nil, false},
		"a welcome of bytes":     {[]byte("x"), nil, false},
		"no load":                {welcome, nil, false},
		"a load of another kind": {welcome, "free", false},
		"negative slots":         {welcome, load(-5, map[string]any{app: share(int64(math.MinInt64))}), false},
		"many apps":              {welcome, load(4, many), false},
		"too large a load":       {welcome, make([]byte, 2<<20), false},
		"the largest numbers":    {welcome, load(int64(math.MaxInt64), map[string]any{app: share(int64(math.MaxInt64))}), true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, ca := testContext(t), newAuthority(t)
			evil := startEvilAgent(t, ca, func(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
				action, _ := dirty.View(f.Payload).Get("action").Text()
				switch string(action) {
				case "hello":
					return w.Respond(test.welcome)
				case "load":
					if err := w.Chunk(test.load); err != nil {
						return err
					}
					<-ctx.Done()
					return nil
				}
				panic(server.ErrAbortHandler)
			})
			h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), Slots: 4})
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"),
				Members: cluster.Static(evil, h.member)})
			awaitStatus(t, f, func(s cluster.Status) bool {
				for _, h := range s.Hosts {
					if h.Host == "gpu1" {
						return h.State == "up"
					}
				}
				return false
			})
			answered := 0
			for range 20 {
				v, err := client.Call[string](ctx, c, app, "host")
				if err == nil {
					assert.Equal(t, "gpu1", v)
					answered++
				}
			}
			if !test.lures {
				assert.Equal(t, 20, answered)
			}
		})
	}
}

// TestNoAgent checks that a front says why it cannot use what answers at an address.
func TestNoAgent(t *testing.T) {
	ca := newAuthority(t)
	for name, test := range map[string]struct {
		answer func(w *server.ResponseWriter) error
		want   string
	}{
		"an agent of another version": {func(*server.ResponseWriter) error {
			return errors.New("the agent on host evil speaks version 2, the front version 1")
		}, "it refuses this front: the agent on host evil speaks version 2, the front version 1"},
		"a stream": {func(w *server.ResponseWriter) error { return w.Chunk(1) }, "it has answered with chunk, so it is no agent of version 1"},
	} {
		t.Run(name, func(t *testing.T) {
			evil := startEvilAgent(t, ca, func(_ context.Context, w *server.ResponseWriter, _ dirty.Frame) error { return test.answer(w) })
			f, _ := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(evil)})
			awaitStatus(t, f, func(s cluster.Status) bool { // on a busy machine it may be too late for a handshake at first
				return len(s.Hosts) == 1 && s.Hosts[0].State == "down" && strings.Contains(s.Hosts[0].Error, test.want)
			})
		})
	}
}

// startEvilAgent starts what has an agent's certificate, and answers with the handler.
func startEvilAgent(t *testing.T, ca *authority, handler frames) cluster.Member {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: pair(t, ca.agent("evil")), ClientAuth: tls.RequireAnyClientCert})
	require.NoError(t, err)
	s := &server.Server{FrameHandler: handler}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, s.Close())
		assert.ErrorIs(t, <-served, server.ErrServerClosed)
	})
	return cluster.Member{Addr: l.Addr().String()}
}

// TestRefusedAgainAndAgain checks that MaxWait bounds a call also if an agent tells of
// free workers all the time, and refuses all the same.
func TestRefusedAgainAndAgain(t *testing.T) {
	var front atomic.Value // what the front calls its link
	ca := newAuthority(t)
	evil := startEvilAgent(t, ca, func(ctx context.Context, w *server.ResponseWriter, f dirty.Frame) error {
		payload := dirty.View(f.Payload)
		action, _ := payload.Get("action").Text()
		switch string(action) {
		case "hello":
			id, _ := payload.Get("args").Index(0).Get("front").Text()
			front.Store(string(id))
			return w.Respond(map[string]any{"host": "evil", "boot": "b", "version": 1})
		case "load":
			free := map[string]any{"slots": 1, "free": 1, "yours": 0, "wanted": false, "granted": 0}
			for seq := 1; ctx.Err() == nil; seq++ {
				if err := w.Chunk(map[string]any{"seq": seq, "leaving": false, "all": free, "apps": map[string]any{app: free}}); err != nil {
					return err
				}
				time.Sleep(time.Millisecond) // agents tell of themselves so often at most
			}
			return nil
		}
		return &dirty.RemoteError{Type: dirty.ClassNoWorkersAvailable, Message: "busy",
			Details: map[string]any{"refused_for": front.Load(), "seq": 0}}
	})
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(evil), MaxWait: 300 * time.Millisecond})
	_, err := c.Execute(testContext(t), app, "host")
	require.ErrorIs(t, err, dirty.ErrNoWorkers)
	assert.ErrorContains(t, err, "no worker became free within 300ms")
}
