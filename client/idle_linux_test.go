package client_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/require"
)

// TestWaitingIsIdle: a call that only waits for its answer takes no time of a
// processor, whatever the idle time is. The janitor looks after such calls.
func TestWaitingIsIdle(t *testing.T) {
	for _, idle := range []struct {
		n    int
		time time.Duration
	}{{8, client.DefaultIdleTime}, {8, 0}, {0, 0}, {0, time.Nanosecond}, {8, time.Nanosecond}, {8, time.Microsecond}} {
		t.Run(fmt.Sprint(idle), func(t *testing.T) {
			reached, answer := make(chan bool, 2), make(chan bool)
			p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
				reached <- true
				<-answer
				return arbiter(c, m)
			}))
			c := p.client(t, client.WithMaxIdle(idle.n, idle.time))
			done := async(func() error { return c.Ping(context.Background()) })
			receive(t, "the call", reached)
			await(t, "a time in which the process is idle", func() bool { // the garbage collector may run in others
				before, begin := processorTime(t), time.Now()
				time.Sleep(300 * time.Millisecond) // it is what is measured
				return processorTime(t)-before < time.Since(begin)/4
			})
			close(answer)
			require.NoError(t, receive(t, "the answer", done))
		})
	}
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
