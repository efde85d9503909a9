package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
)

// oddContext is a context of which the n-th call of a method does not return.
type oddContext struct {
	context.Context
	method string
	left   *int
	exit   func()
}

func (c oddContext) do(method string) {
	if c.method == method {
		if *c.left--; *c.left == 0 {
			c.exit()
		}
	}
}
func (c oddContext) Done() <-chan struct{}       { c.do("Done"); return c.Context.Done() }
func (c oddContext) Err() error                  { c.do("Err"); return c.Context.Err() }
func (c oddContext) Deadline() (time.Time, bool) { c.do("Deadline"); return c.Context.Deadline() }
func (c oddContext) Value(key any) any           { c.do("Value"); return c.Context.Value(key) }

// TestOddContexts: a context whose methods do not return in the caller's goroutine takes
// no place of the pool with it. In other goroutines the process ends, in package
// context itself.
func TestOddContexts(t *testing.T) {
	for _, method := range []string{"Done", "Err", "Deadline", "Value"} {
		for n := 1; n <= 6; n++ {
			for how, exit := range exits {
				for _, op := range operations {
					t.Run(fmt.Sprintf("%s %d/%s/%s", method, n, how, op.name), func(t *testing.T) {
						p := newPeer(t, answering(arbiter))
						c := p.client(t, client.WithMaxIdle(0, 0))
						left := n
						ctx, cancel := context.WithCancel(context.Background())
						_, _ = callAside(func() error {
							defer func() { _ = recover() }()
							return op.call(oddContext{ctx, method, &left, exit}, c)
						})
						requireQuiet(t, c)
						assert.NoError(t, c.Ping(context.Background()))
						cancel()
					})
				}
			}
		}
	}
}
