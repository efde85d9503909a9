package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Client calls one arbiter over a pool of connections. It may be used
// concurrently; make one with [New] and share it.
type Client struct {
	cfg  *config
	pool *pool

	// id is the last request id. The ids must differ from those of all other
	// clients of the arbiter, because their late replies may come here.
	id atomic.Uint64
}

// New returns a client. It dials nothing, so the arbiter need not be there
// yet: see [Client.WaitReady]. The error says which option is wrong, and
// matches [ErrInvalidArgument].
func New(opts ...Option) (*Client, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, pool: newPool(cfg)}
	c.id.Store(rand.Uint64())
	return c, nil
}

// Config returns the settings that are in force, with all defaults filled in.
func (c *Client) Config() Config { return c.cfg.Config }

// Stats returns a snapshot: how many connections there are, and what became of
// those that there were.
func (c *Client) Stats() Stats { return c.pool.snapshot() }

// Close ends the client at once: calls and streams that go on fail with
// [ErrClosed], and all connections are closed. When it returns nothing of the
// client is left: all counts of [Client.Stats] are 0 and no goroutine runs.
//
// Only code of yours that it calls and that blocks (a [Dialer], for example, or
// the Close of its connection) can outlast it: Close waits a second for that.
// Called from inside such code it does not wait at all. It may be called more
// than once and concurrently. The error is always nil.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}

// Shutdown refuses new calls, waits for calls and streams that go on, and
// closes the client. If the context ends before that, it closes the client at
// once and returns the context's error and cause.
//
// From inside an [Interceptor], a [Tracer], a [Dialer], a [Resolver] or a
// method of an argument or a result it is refused with [ErrInvalidArgument],
// because it would wait for itself. That holds for those of another client too.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	if insideHook() {
		return errorf("client shutdown: %w: it was called from inside a call, for which it would wait", ErrInvalidArgument)
	}
	drained := c.pool.drain()
	defer c.pool.close()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return errorf("client shutdown: %w", contextError(ctx))
	}
}

// decodeOptions are for all that is decoded.
func (c *Client) decodeOptions() dirty.DecodeOptions {
	return dirty.DecodeOptions{Limits: c.cfg.Limits, UseDict: c.cfg.UseDict}
}

// findDeadline returns when a call must be over by the client's own timeout. A
// context's deadline takes its place.
func findDeadline(ctx context.Context, timeout time.Duration) time.Time {
	if _, ok := ctx.Deadline(); ok || timeout == 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}
