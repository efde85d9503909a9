//go:build unix

package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gunicorn-go/dirty/client"
)

// TestClientFaultAbandonedStreams: a client leaves 300 streams at random points and
// in every way, while others call. They lose no answer, and get no wrong one.
func TestClientFaultAbandonedStreams(t *testing.T) {
	onLinux(t)
	t.Parallel()
	const streams, leavers = 300, 6
	actions := []string{"ticks", "ticks_async", "numbered", "blocks"}
	for _, ahead := range []int{0, 1 << 16} {
		t.Run(fmt.Sprintf("read ahead %d", ahead), func(t *testing.T) {
			// There is one worker. A second one would inherit the arbiter's connection to
			// the first, whose generators would then never be closed.
			eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
				c := g.client(t, client.WithReadAhead(ahead), client.WithTimeout(within))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var n tally
				var neighbours, group sync.WaitGroup
				for i := range 2 {
					neighbours.Go(func() {
						for j := 0; ctx.Err() == nil; j++ {
							own := fmt.Sprintf("neighbour %d/%d", i, j)
							got, err := client.Call[string](t.Context(), c, app, "identity", own)
							n.add(own, got, err)
						}
					})
				}
				var next atomic.Int64
				for range leavers {
					group.Go(func() {
						for i := next.Add(1); i <= streams; i = next.Add(1) {
							action := actions[i%4]
							abandon(t, c, action, fmt.Sprintf("%s %d", action, i))
						}
					})
				}
				group.Wait()
				left := time.Now()
				cancel()
				neighbours.Wait()
				awaitCalm(t, c)
				recovered := awaitService(t, c, left)

				assert.Empty(t, n.wrong)
				assert.Equal(t, n.calls.Load(), n.right.Load(), "all calls of others are answered")
				s := c.Stats()
				assert.Zero(t, s.Mismatches)
				assert.LessOrEqual(t, s.Idle, client.DefaultMaxIdle)
				assert.NotZero(t, s.Closed.Cancel)
				requireServes(t, c)
				for _, action := range actions[:2] {
					g.events.awaitCount(t, "over "+action, g.events.count("begin "+action))
				}
				report(t, "300 streams abandoned at random", "no effect on others", recovered)
			})
		})
	}
}

// abandon reads some chunks of a stream, checks that they are its own, and leaves it
// in a way that is chosen at random.
func abandon(t *testing.T, c *client.Client, action, token string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	args := map[string][]any{
		"ticks": {token, 0.001}, "ticks_async": {token, 0.001}, "numbered": {token, 50}, "blocks": {token, 20, 1 << 14},
	}
	read, way := rand.IntN(12), rand.IntN(3)
	s, err := c.OpenStream(ctx, app, action, args[action]...)
	if !assert.NoError(t, err) {
		return
	}
	for i := range read {
		chunk, err := s.Recv()
		if !assert.NoError(t, err) {
			return
		}
		switch action {
		case "numbered":
			assert.True(t, slices.Equal([]any{token, int64(i)}, chunk.([]any)), "%v", chunk)
		case "blocks":
			assert.Len(t, chunk, 1<<14)
		default:
			assert.Equal(t, int64(i), chunk)
		}
	}
	switch way {
	case 0:
		assert.NoError(t, s.Close())
	case 1:
		cancel()
	case 2:
		for range s.All() {
			break
		}
	}
	_ = s.Close()
}
