package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLogOfUnsentCalls checks that calls which cannot be sent, by a front or by an agent,
// cause one log line a second at most, and that the lines tell how many others there were.
func TestLogOfUnsentCalls(t *testing.T) {
	const callers = 30
	for name, test := range map[string]struct {
		line           string
		hosts, seconds int
		side           func(s *simulation) *func(net.Conn) net.Conn
	}{
		// A front tries a host again each second, an agent whenever a front does.
		"front": {"dirty: a call could not be sent", 20, 6, func(s *simulation) *func(net.Conn) net.Conn { return &s.toAgent }},
		"agent": {"dirty: a request could not be passed on", 1, 3, func(s *simulation) *func(net.Conn) net.Conn { return &s.toArbiter }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				var unsent atomic.Int64
				s := &simulation{t: t, logger: slog.New(slog.NewTextHandler(&log, nil))}
				*test.side(s) = func(nc net.Conn) net.Conn {
					return &usercodetest.OddConn{Conn: nc, OnWrite: func(p []byte) (int, error) {
						if bytes.Contains(p, []byte("unsent")) {
							unsent.Add(1)
							return 0, errBoom
						}
						return nc.Write(p)
					}}
				}
				for i := range test.hosts {
					s.add(fmt.Sprintf("gpu%d", i), 1, newMux("gpu"))
				}
				c := s.front()
				awaitUp(t, s.fronts[0], test.hosts)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(test.seconds)*time.Second)
				defer cancel()
				var calls sync.WaitGroup
				for range callers {
					calls.Go(func() {
						_, err := c.Execute(ctx, app, "unsent")
						assert.ErrorIs(t, err, context.DeadlineExceeded)
					})
				}
				calls.Wait()
				s.end()
				lines, told := 0, 0
				for _, line := range strings.Split(log.String(), "\n") {
					if !strings.Contains(line, test.line) {
						continue
					}
					lines++
					if strings.Contains(line, "error=") { // else it only tells of others
						told++
					}
					if _, dropped, found := strings.Cut(line, "dropped="); found {
						n, err := strconv.Atoi(dropped)
						require.NoError(t, err)
						told += n
					}
				}
				assert.Greater(t, unsent.Load(), int64(100))
				assert.LessOrEqual(t, lines, test.seconds+2, "one at once, one a second, and one at the end")
				assert.InDelta(t, unsent.Load(), told, callers, "all but those whose callers left at that moment")
			})
		})
	}
}

// stuckLog is the handler of a logger that blocks until release is closed. It tells of each
// line.
type stuckLog struct {
	slog.Handler
	lines   chan string
	release chan struct{}
}

func (h stuckLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (h stuckLog) Handle(_ context.Context, r slog.Record) error {
	h.lines <- r.Message
	<-h.release
	return nil
}

// TestLoggerBlocks checks that a logger which blocks keeps neither an agent nor a front
// from ending.
func TestLoggerBlocks(t *testing.T) {
	nobody := filepath.Join(folder(t), "nobody")
	for name, start := range map[string]func(log *slog.Logger) (io.Closer, error){
		"dirty: the arbiter does not answer": func(log *slog.Logger) (io.Closer, error) {
			return cluster.NewAgent(cluster.AgentConfig{Plain: true, Logger: log, Arbiter: []client.Option{client.WithSocket(nobody)}})
		},
		"dirty: an agent is not connected": func(log *slog.Logger) (io.Closer, error) {
			dial := func(context.Context, string) (net.Conn, error) { return nil, errBoom }
			return cluster.NewFront(cluster.FrontConfig{Plain: true, Logger: log, Dial: dial, Members: cluster.Static(cluster.Member{Addr: "a"})})
		},
		"dirty: the list of agents cannot be watched, it stays as it is": func(log *slog.Logger) (io.Closer, error) {
			return cluster.NewFront(cluster.FrontConfig{Plain: true, Logger: log,
				Members: watcher(func(context.Context, func([]cluster.Member)) error { return errBoom })})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := stuckLog{lines: make(chan string, 10), release: make(chan struct{})}
			defer close(h.release)
			it, err := start(slog.New(h))
			require.NoError(t, err)
			assert.Equal(t, name, receive(t, "a line", h.lines))
			closed := make(chan error, 1)
			go func() { closed <- it.Close() }()
			assert.NoError(t, receive(t, "the end of Close", closed))
		})
	}
}
