package client

import (
	"context"
	"fmt"
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

	// id is the last request id. They must differ from those of every other
	// client of the arbiter, whose late replies may come here.
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

// Config returns what is in force, with all defaults filled in.
func (c *Client) Config() Config { return c.cfg.Config }

// Stats returns a snapshot of the connections and what became of them.
func (c *Client) Stats() Stats { return c.pool.snapshot() }

// Close ends the client at once: calls and streams that go on fail with
// [ErrClosed], all connections are closed, and when it returns no goroutine of
// the client is left. It may be called more than once. The error is always nil.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}

// Shutdown refuses new calls, waits for calls and streams that go on, and
// closes the client. If the context ends before that, it closes the client at
// once and returns the context's error and cause.
func (c *Client) Shutdown(ctx context.Context) error {
	drained := c.pool.drain()
	defer c.pool.close()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("dirty: client shutdown: %w", contextError(ctx))
	}
}

// decodeOptions are for a reply with that payload.
func (c *Client) decodeOptions(payload []byte) dirty.DecodeOptions {
	return dirty.DecodeOptions{Limits: c.cfg.Limits, UseDict: c.cfg.UseDict, AliasBytes: lasting(payload)}
}

// deadline returns when a call must be over by the client's own timeout. A
// context's deadline takes its place.
func deadline(ctx context.Context, timeout time.Duration) time.Time {
	if _, ok := ctx.Deadline(); ok || timeout == 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// intercepted makes a call inside all interceptors.
func (c *Client) intercepted(ctx context.Context, op Operation, call func(context.Context) error) error {
	for i := len(c.cfg.interceptors) - 1; i >= 0; i-- {
		next := call
		call = func(ctx context.Context) error { return c.cfg.interceptors[i](ctx, op, next) }
	}
	return call(ctx)
}
