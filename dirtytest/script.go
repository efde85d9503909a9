package dirtytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gunicorn-go/dirty"
)

// Step is a step of a script for one connection, see [Server.Script]. [Expect],
// [Send], [SendRaw], [Sleep] and [ExpectClose] make steps.
type Step func(s *scripted) error

// scripted is a connection that a script plays on.
type scripted struct {
	ctx     context.Context
	server  *Server
	number  int
	nc      net.Conn
	in      *dirty.Reader
	request Request // the latest one
}

// Script plays the steps on the next connection, in place of the server, and then
// closes it. Several scripts are played on as many connections, in order. A step
// that goes wrong fails the test.
func (s *Server) Script(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts = append(s.scripts, append([]Step{}, steps...))
}

// play plays a script.
func (s *Server) play(ctx context.Context, number int, nc net.Conn, steps []Step) {
	c := &scripted{ctx: ctx, server: s, number: number, nc: nc, in: dirty.NewReader(nc)}
	for i, step := range steps {
		if err := step(c); err != nil {
			if ctx.Err() == nil {
				s.tb.Errorf("dirtytest: step %d of the script of connection %d: %v", i+1, number, err)
			}
			return
		}
	}
}

// Expect waits for a request and checks that it matches. It is recorded for
// [Server.Requests].
func Expect(match Match) Step {
	return func(c *scripted) error {
		f, err := c.in.ReadFrame()
		if err != nil {
			return fmt.Errorf("no request came: %w", err)
		}
		c.request = Request{Frame: f, Conn: c.number}
		c.request.Message, c.request.Err = f.Message()
		c.server.recorder.add(c.request)
		if !match(c.request) {
			return fmt.Errorf("an unexpected request came: %v", c.request)
		}
		return nil
	}
}

// Send sends a message. It calls message with the id of the latest request that
// [Expect] has seen, or 0.
func Send(message func(id uint64) dirty.Message) Step {
	return func(c *scripted) error { return dirty.WriteMessage(c.nc, message(c.request.RequestID)) }
}

// SendRaw sends bytes. They need not be frames.
func SendRaw(b []byte) Step {
	return func(c *scripted) error {
		_, err := c.nc.Write(b)
		return err
	}
}

// Sleep waits for a time, or until the test ends.
func Sleep(d time.Duration) Step {
	return func(c *scripted) error { return sleep(c.ctx, d) }
}

// ExpectClose waits until the client closes the connection. If a request comes
// instead, the step goes wrong.
func ExpectClose() Step {
	return func(c *scripted) error {
		f, err := c.in.ReadFrame()
		switch {
		case err == nil:
			return fmt.Errorf("a %v came, not the end", f.Type)
		case err == io.EOF:
			return nil
		}
		return err
	}
}
