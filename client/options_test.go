package client_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDefaults: what is in force without an option.
func TestDefaults(t *testing.T) {
	assert.Equal(t, client.Config{
		Timeout:       30 * time.Second,
		StreamTimeout: 30 * time.Second,
		DialTimeout:   5 * time.Second,
		MaxConns:      64,
		MaxDials:      16,
		MaxIdle:       8,
		IdleTime:      2 * time.Second,
		PeerCheck:     true,
	}, newClient(t).Config())
}

// TestOptions: what each changes, 0 included, and nothing else.
func TestOptions(t *testing.T) {
	limits := dirty.Limits{MaxPayload: 1000, MaxDepth: 3}
	for name, tt := range map[string]struct {
		opt  client.Option
		want func(c *client.Config)
	}{
		"WithTimeout":           {client.WithTimeout(time.Minute), func(c *client.Config) { c.Timeout = time.Minute }},
		"WithTimeout off":       {client.WithTimeout(0), func(c *client.Config) { c.Timeout = 0 }},
		"WithStreamTimeout":     {client.WithStreamTimeout(1), func(c *client.Config) { c.StreamTimeout = 1 }},
		"WithStreamTimeout off": {client.WithStreamTimeout(0), func(c *client.Config) { c.StreamTimeout = 0 }},
		"WithDialTimeout":       {client.WithDialTimeout(1), func(c *client.Config) { c.DialTimeout = 1 }},
		"WithWaitForServer":     {client.WithWaitForServer(time.Hour), func(c *client.Config) { c.WaitForServer = time.Hour }},
		"WithMaxConns":          {client.WithMaxConns(1), func(c *client.Config) { c.MaxConns = 1 }},
		"WithMaxDials":          {client.WithMaxDials(1), func(c *client.Config) { c.MaxDials = 1 }},
		"WithMaxIdle":           {client.WithMaxIdle(100, time.Minute), func(c *client.Config) { c.MaxIdle, c.IdleTime = 100, time.Minute }},
		"WithMaxIdle off":       {client.WithMaxIdle(0, 0), func(c *client.Config) { c.MaxIdle, c.IdleTime = 0, 0 }},
		"WithReadAhead":         {client.WithReadAhead(1 << 20), func(c *client.Config) { c.ReadAhead = 1 << 20 }},
		"WithPeerCheck":         {client.WithPeerCheck(false), func(c *client.Config) { c.PeerCheck = false }},
		"WithDict":              {client.WithDict(), func(c *client.Config) { c.UseDict = true }},
		"WithLimits":            {client.WithLimits(limits), func(c *client.Config) { c.Limits = limits }},
		"WithSocket":            {client.WithSocket("x"), func(*client.Config) {}},
		"WithRetry": {client.WithRetry(client.Retry{}), func(c *client.Config) {
			c.Retry = client.Retry{Attempts: 3, Pause: 100 * time.Millisecond, MaxPause: 2 * time.Second}
		}},
		"WithTracer": {client.WithTracer(client.Tracer{}), func(*client.Config) {}},
	} {
		t.Run(name, func(t *testing.T) {
			want := newClient(t).Config()
			tt.want(&want)
			assert.Equal(t, want, newClient(t, tt.opt).Config())
		})
	}
	assert.Equal(t, time.Second, newClient(t, client.WithTimeout(time.Hour), client.WithTimeout(time.Second)).Config().Timeout, "the last one counts")
}

// TestWrongOptions: New says which option is wrong.
func TestWrongOptions(t *testing.T) {
	for name, opts := range map[string][]client.Option{
		"WithTimeout":       {client.WithTimeout(-1)},
		"WithStreamTimeout": {client.WithStreamTimeout(-time.Hour)},
		"WithDialTimeout":   {client.WithDialTimeout(0), client.WithDialTimeout(-1)},
		"WithWaitForServer": {client.WithWaitForServer(-1)},
		"WithMaxConns":      {client.WithMaxConns(0), client.WithMaxConns(-1)},
		"WithMaxDials":      {client.WithMaxDials(0), client.WithMaxDials(-1)},
		"WithMaxIdle":       {client.WithMaxIdle(-1, time.Second), client.WithMaxIdle(1, -time.Second)},
		"WithReadAhead":     {client.WithReadAhead(-1)},
		"WithLimits":        {client.WithLimits(dirty.Limits{MaxPayload: -1}), client.WithLimits(dirty.Limits{MaxPayload: dirty.MaxPayloadSize + 1}), client.WithLimits(dirty.Limits{MaxDepth: math.MaxInt})},
		"WithResolver":      {client.WithResolver(nil)},
		"WithDialer":        {client.WithDialer(nil)},
		"WithLogger":        {client.WithLogger(nil)},
		"WithInterceptor":   {client.WithInterceptor(nil)},
	} {
		for _, opt := range opts {
			c, err := client.New(opt)
			require.ErrorIs(t, err, client.ErrInvalidArgument, name)
			assert.Contains(t, err.Error(), "client."+name)
			assert.Nil(t, c)
		}
	}
}

// TestNewDoesNothing: nobody need be there.
func TestNewDoesNothing(t *testing.T) {
	c := newClient(t, client.WithResolver(func(context.Context) (string, error) {
		assert.Fail(t, "called")
		return "", nil
	}))
	assert.Equal(t, client.Stats{}, c.Stats())
}

// TestNumbers: each duration and count of each option at its limits. What is not
// refused works, and does not keep a processor busy: time that is synthetic would
// stand still.
func TestNumbers(t *testing.T) {
	durations := []time.Duration{0, 1, -1, math.MinInt64, math.MaxInt64}
	counts := []int{0, 1, -1, math.MinInt, math.MaxInt}
	type row struct {
		opt     client.Option
		refused bool
		fails   bool // 1 ns is too short
	}
	rows := map[string]row{}
	for _, d := range durations {
		rows[fmt.Sprint("WithTimeout ", d)] = row{client.WithTimeout(d), d < 0, d == 1}
		rows[fmt.Sprint("WithStreamTimeout ", d)] = row{client.WithStreamTimeout(d), d < 0, d == 1}
		rows[fmt.Sprint("WithDialTimeout ", d)] = row{client.WithDialTimeout(d), d <= 0, d == 1}
		rows[fmt.Sprint("WithWaitForServer ", d)] = row{client.WithWaitForServer(d), d < 0, false}
		rows[fmt.Sprint("WithRetry ", d)] = row{client.WithRetry(client.Retry{Pause: d, MaxPause: d}), d < 0, false}
		for _, n := range counts {
			rows[fmt.Sprint("WithMaxIdle ", n, d)] = row{client.WithMaxIdle(n, d), n < 0 || d < 0, false}
		}
	}
	for _, n := range counts {
		rows[fmt.Sprint("WithMaxConns ", n)] = row{client.WithMaxConns(n), n < 1, false}
		rows[fmt.Sprint("WithMaxDials ", n)] = row{client.WithMaxDials(n), n < 1, false}
		rows[fmt.Sprint("WithRetry ", n)] = row{client.WithRetry(client.Retry{Attempts: n}), n < 0 || n > client.MaxAttempts, false}
		rows[fmt.Sprint("WithReadAhead ", n)] = row{client.WithReadAhead(n), n < 0, false}
	}
	for name, tt := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipePeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
					time.Sleep(time.Minute)
					return arbiter(c, m)
				}))
				_, err := client.New(tt.opt)
				if tt.refused {
					require.ErrorIs(t, err, client.ErrInvalidArgument)
					return
				}
				require.NoError(t, err)
				c := p.client(t, client.WithTimeout(time.Hour), client.WithStreamTimeout(time.Hour), tt.opt)
				for _, op := range operations {
					for range 2 {
						if err := op.call(context.Background(), c); !tt.fails {
							require.NoError(t, err, op.name)
						} else if err != nil { // each is tried; not all have that bound
							require.ErrorIs(t, err, client.ErrTimeout, op.name)
						}
					}
				}
				time.Sleep(24 * time.Hour)
			})
		})
	}
}
