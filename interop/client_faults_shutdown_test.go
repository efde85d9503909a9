//go:build unix

package interop

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// TestClientFaultShutdown stops gunicorn while a client has idle connections. On
// Python 3.12 and later the arbiter waits until these are closed, and is killed after
// graceful_timeout; then it leaves its pid file behind. The client closes them in time.
//
// For comparison, other servers are stopped without a client, with a connection that
// stays open, and while callers call.
func TestClientFaultShutdown(t *testing.T) {
	onLinux(t)
	t.Parallel()
	const grace = 12 // seconds, much longer than it takes with a client
	eachPython(t, func(t *testing.T, p python) {
		var without, with, kept, busy time.Duration
		var group sync.WaitGroup
		stop := func(took *time.Duration, connect func(g *gunicorn)) *gunicorn {
			g := fresh(t, p, options{Grace: grace})
			until(t, "gunicorn serves HTTP", g.servesHTTP)
			connect(g)
			group.Go(func() { *took = g.stopGracefully(t) })
			return g
		}
		stop(&without, func(*gunicorn) {})
		keeping := stop(&kept, func(g *gunicorn) {
			g.dial(t)             // it has asked nothing, so the arbiter does not look whether it is to stop
			g.dial(t).call("pid") // and has accepted both
		})
		var c *client.Client
		pooling := stop(&with, func(g *gunicorn) {
			c = g.client(t)
			streams := make([]*client.Stream, 4)
			for i := range streams {
				s, err := c.OpenStream(t.Context(), app, "count", 1)
				require.NoError(t, err)
				streams[i] = s
			}
			for _, s := range streams {
				_, err := collect(s.All())
				require.NoError(t, err)
			}
			require.Equal(t, 4, c.Stats().Idle)
		})
		stop(&busy, func(g *gunicorn) {
			c := g.client(t, client.WithTimeout(lostByArbiterAfter))
			requireServes(t, c)
			for range 2 {
				group.Go(func() {
					for {
						select {
						case <-g.exited:
							return
						default:
							_, _ = c.Execute(t.Context(), app, "sleep", 0.01) // anything may happen
						}
					}
				})
			}
		})
		group.Wait()
		assert.NoFileExists(t, pooling.pidFile(), "the arbiter has ended by itself")
		if p.drains() {
			assert.FileExists(t, keeping.pidFile(), "it was killed: the client spares gunicorn that")
		}
		_, err := c.Execute(t.Context(), app, "pid")
		requireUnavailable(t, err)
		for how, took := range map[string]time.Duration{
			"without a client": without, "while the client has idle connections": with, "while somebody keeps an idle connection": kept,
			"while two callers call": busy,
		} {
			report(t, "full stop of gunicorn "+how+" (back: its end)", describeOutcome(err), took)
		}
	})
}

// stopGracefully stops the master and returns how long that takes. gunicorn must
// serve HTTP already: a worker that has just been forked misses the signal, and
// gunicorn would wait for it.
func (g *gunicorn) stopGracefully(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	assert.NoError(t, g.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-g.exited:
	case <-time.After(maxWait):
		assert.Fail(t, "gunicorn does not stop")
	}
	return time.Since(begin)
}

func (g *gunicorn) servesHTTP() bool {
	c, err := net.Dial("unix", filepath.Join(g.folder, "http.sock"))
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	answer, err := io.ReadAll(c)
	return err == nil && strings.Contains(string(answer), "204 No Content")
}
