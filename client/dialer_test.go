package client_test

import (
	"context"
	"net"
	"sync"

	"github.com/gunicorn-go/dirty/client"
)

// countingDialer counts what is open and what is being dialled, and the most of
// each at one time.
type countingDialer struct {
	dial client.Dialer

	mu                sync.Mutex
	open, mostOpen    int
	dialling, mostNow int
}

func (d *countingDialer) Dial(ctx context.Context, path string) (net.Conn, error) {
	d.count(1, 1)
	nc, err := d.dial(ctx, path)
	if err != nil {
		d.count(-1, -1)
		return nil, err
	}
	d.count(0, -1)
	return &countedConn{Conn: nc, closed: sync.OnceFunc(func() { d.count(-1, 0) })}, nil
}

func (d *countingDialer) count(open, dialling int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += open
	d.dialling += dialling
	d.mostOpen, d.mostNow = max(d.mostOpen, d.open), max(d.mostNow, d.dialling)
}

func (d *countingDialer) most() (open, dialling int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mostOpen, d.mostNow
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	defer c.closed() // it is open until it is closed
	return c.Conn.Close()
}

// gate is a dialer whose dials wait for the test to decide.
type gate struct {
	dial    client.Dialer
	waiting chan chan<- error // a dial that waits; nil lets it go on
}

func newGate(dial client.Dialer) *gate { return &gate{dial, make(chan chan<- error, 100)} }

func (g *gate) Dial(ctx context.Context, path string) (net.Conn, error) {
	decision := make(chan error, 1)
	g.waiting <- decision
	select {
	case err := <-decision:
		if err != nil {
			return nil, err
		}
		return g.dial(ctx, path)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
