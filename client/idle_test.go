package client_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIdleTime: a connection is closed when it was idle for that long, without
// a call that would do it. On Python 3.12 and later gunicorn waits for it when it
// stops.
func TestIdleTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []client.Option
		uses []time.Duration // after how long the connection is used again
		end  time.Duration   // when the peer sees its end
	}{
		{"by default", nil, nil, 2 * time.Second},
		{"used again", nil, []time.Duration{1500 * time.Millisecond, 1999 * time.Millisecond}, 5499 * time.Millisecond},
		{"the option", []client.Option{client.WithMaxIdle(1, 10*time.Second)}, []time.Duration{9 * time.Second}, 19 * time.Second},
		{"short", []client.Option{client.WithMaxIdle(1, 300*time.Millisecond)}, []time.Duration{200 * time.Millisecond}, 500 * time.Millisecond},
		{"not at all", []client.Option{client.WithMaxIdle(1, 0)}, nil, 0},
		{"none", []client.Option{client.WithMaxIdle(0, time.Hour)}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Time
				p := newPipePeer(t, func(nc net.Conn) {
					answering(arbiter)(nc)
					ended = time.Now()
				})
				c := p.client(t, tt.opts...)
				begin := time.Now()
				require.NoError(t, c.Ping(context.Background()))
				for _, pause := range tt.uses {
					time.Sleep(pause)
					require.NoError(t, c.Ping(context.Background()))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Equal(t, tt.end, ended.Sub(begin))
				s := c.Stats()
				assert.Zero(t, s.Idle)
				assert.EqualValues(t, 1, s.Closed.Idle+s.Closed.Surplus)
				assert.Equal(t, 1, p.connections())

				require.NoError(t, c.Ping(context.Background()))
				assert.Equal(t, 2, p.connections())
			})
		})
	}
}

// TestIdleOnes: of several connections each has its own time, and no more are
// kept than MaxIdle.
func TestIdleOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
			time.Sleep(time.Duration(m.(*dirty.Request).Args[0].(int64)) * time.Millisecond)
			return arbiter(c, m)
		}))
		c := p.client(t, client.WithMaxIdle(3, 2*time.Second))
		for i := range 5 {
			go func() {
				_, err := c.Execute(context.Background(), app, "echo", 1000+100*i)
				assert.NoError(t, err)
			}()
		}
		for _, tt := range []struct {
			at      time.Duration
			idle    int
			surplus uint64
			reaped  uint64
		}{
			{1050 * time.Millisecond, 1, 0, 0},
			{1250 * time.Millisecond, 3, 0, 0},
			{1350 * time.Millisecond, 3, 1, 0},
			{1450 * time.Millisecond, 3, 2, 0},
			{2999 * time.Millisecond, 3, 2, 0},
			{3050 * time.Millisecond, 2, 2, 1},
			{3150 * time.Millisecond, 1, 2, 2},
			{3199 * time.Millisecond, 1, 2, 2},
			{3201 * time.Millisecond, 0, 2, 3},
		} {
			time.Sleep(time.Until(bubbleStart.Add(tt.at)))
			synctest.Wait()
			s := c.Stats()
			assert.Equal(t, tt.idle, s.Idle, tt.at)
			assert.Equal(t, tt.surplus, s.Closed.Surplus, tt.at)
			assert.Equal(t, tt.reaped, s.Closed.Idle, tt.at)
		}
	})
}

// bubbleStart is when the clock of a bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
