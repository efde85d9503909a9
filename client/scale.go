package client

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/gunicorn-go/dirty"
)

const (
	// MaxScale is how many workers one call can add or remove at most. The
	// arbiter has no limit of its own, and a number with two zeros too many
	// would take the machine down.
	MaxScale = 256

	// scaleTime is what the arbiter takes for each worker, with a margin.
	scaleTime = 200 * time.Millisecond
)

// ScaleResult is what the arbiter says of adding or removing workers. The numbers
// are a snapshot: a worker that is ending may still count.
type ScaleResult struct {
	Requested int
	Changed   int    // workers that were started or told to end; may be fewer
	Total     int    // workers now
	Target    int    // workers that the arbiter keeps up
	Reason    string // why fewer were started, if it says so
}

// AddWorkers starts n dirty workers, 1 to [MaxScale]. It takes about 0.1
// seconds each, for which the client's own timeout is extended; cancelling does
// not stop it. Fewer are started if all apps have reached their limits: look at
// Changed.
func (c *Client) AddWorkers(ctx context.Context, n int) (*ScaleResult, error) {
	return c.scale(ctx, dirty.ManageAdd, n)
}

// RemoveWorkers ends n dirty workers, 1 to [MaxScale], the oldest first; see
// [Client.AddWorkers]. The arbiter keeps one, or as many as an app's limit asks
// for, so fewer may end. Up to Python 3.11 a worker's calls are cut off.
func (c *Client) RemoveWorkers(ctx context.Context, n int) (*ScaleResult, error) {
	return c.scale(ctx, dirty.ManageRemove, n)
}

func (c *Client) scale(ctx context.Context, op dirty.ManageOp, n int) (*ScaleResult, error) {
	operation := Operation{Name: "manage " + op.String()}
	if n < 1 || n > MaxScale {
		err := fmt.Errorf("%w: %d workers, want 1 to %d", ErrInvalidArgument, n, MaxScale)
		return nil, &OpError{Operation: operation, Stage: StagePrepare, Err: err}
	}
	timeout := c.cfg.Timeout
	if timeout > 0 {
		timeout += min(time.Duration(n)*scaleTime, math.MaxInt64-timeout)
	}
	r, err := doFor[dirty.ManageResult](ctx, c, CallInfo{Operation: operation}, timeout, func(_ *conn, id uint64, _ CallInfo) dirty.Message {
		return dirty.NewManageRequest(id, op, n)
	})
	if err != nil {
		return nil, err
	}
	result := &ScaleResult{Requested: r.Requested, Total: r.TotalWorkers, Target: r.TargetWorkers, Reason: r.Reason}
	for _, changed := range []*int{r.Spawned, r.Removed} {
		if changed != nil {
			result.Changed += *changed
		}
	}
	return result, nil
}
