package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
