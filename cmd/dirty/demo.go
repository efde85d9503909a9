package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// demoTime bounds the whole demonstration.
const demoTime = 30 * time.Second

func (c *cli) demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See a server and a client at work",
		Long:    helpDemo,
		Example: "  dirty demo",
		Args:    needArgs(0, 0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), c.stdout) },
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

func runDemo(ctx context.Context, stdout io.Writer) error {
	folder, err := os.MkdirTemp("", "dirty")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "dirty.sock")
	begun, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	s := &server.Server{Handler: newDemoMux(func() { begun <- struct{}{} }, func() { cancelled <- struct{}{} })}
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe(path) }()
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	if err := awaitServer(ctx, path, ended); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "A Go server answers on %s.\n", path)
	d := &demo{ctx: ctx, out: stdout, begun: begun, cancelled: cancelled}
	if d.client, err = client.New(client.WithSocket(path), client.WithDialer(d.dial)); err != nil {
		return err
	}
	defer d.client.Close()
	if err := d.run(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := s.Shutdown(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	_, err = fmt.Fprintln(stdout, "\nAll went as it should.")
	return err
}

// demo is a client that prints each step and the frames on the wire.
type demo struct {
	ctx       context.Context
	client    *client.Client
	begun     <-chan struct{} // gets a value when the slow action begins
	cancelled <-chan struct{} // gets a value when the slow action was cancelled

	mu    sync.Mutex // guards what follows: both directions print
	out   io.Writer
	conns uint32 // how many were dialed
}

// run takes each step, and stops at the first one that goes wrong.
func (d *demo) run() error {
	for _, step := range []struct {
		title string
		take  func() error
	}{
		{"A call", d.call},
		{"Keyword arguments", d.kwargs},
		{"A stream", d.stream},
		{"The stash", d.stash},
		{"The status", d.status},
		{"An action that fails", d.failure},
		{"A call that is cancelled", d.cancel},
	} {
		d.say("\n%s\n", step.title)
		if err := step.take(); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title), err)
		}
	}
	return nil
}

func (d *demo) call() error {
	sum, err := client.Call[float64](d.ctx, d.client, demoApp, "add", 1, 2.5)
	return d.expect(`client.Call[float64](ctx, c, "demo:App", "add", 1, 2.5)`, sum, err, 3.5)
}

func (d *demo) kwargs() error {
	got, err := d.client.Execute(d.ctx, demoApp, "echo", []byte{0, 255}, client.Kwargs{"lang": "en"})
	return d.expect(`c.Execute(ctx, "demo:App", "echo", []byte{0, 255}, client.Kwargs{"lang": "en"})`, got, err,
		map[string]any{"args": []any{[]byte{0, 255}}, "kwargs": map[string]any{"lang": "en"}})
}

func (d *demo) stream() error {
	var tokens []string
	for token, err := range client.StreamOf[string](d.ctx, d.client, demoApp, "tokens", "to be or not") {
		if err != nil {
			return err
		}
		tokens = append(tokens, token)
	}
	return d.expect(`client.StreamOf[string](ctx, c, "demo:App", "tokens", "to be or not")`, tokens, nil, []string{"to", "be", "or", "not"})
}

func (d *demo) stash() error {
	s := d.client.Stash("users")
	if err := d.expect(`s.Put(ctx, "ada", map[string]any{"visits": 1})`, nil, s.Put(d.ctx, "ada", map[string]any{"visits": 1}), nil); err != nil {
		return err
	}
	value, err := s.Get(d.ctx, "ada")
	if err := d.expect(`s.Get(ctx, "ada")`, value, err, map[string]any{"visits": int64(1)}); err != nil {
		return err
	}
	keys, err := s.Keys(d.ctx, "a*")
	if err := d.expect(`s.Keys(ctx, "a*")`, keys, err, []any{"ada"}); err != nil {
		return err
	}
	_, err = s.Get(d.ctx, "bob")
	return d.expectError(`s.Get(ctx, "bob")`, err, dirty.ErrKeyNotFound)
}

func (d *demo) status() error {
	status, err := d.client.Status(d.ctx)
	if err != nil {
		return err
	}
	return d.expect("c.Status(ctx) tells the apps", status.Apps, nil, []string{demoApp})
}

func (d *demo) failure() error {
	_, err := d.client.Execute(d.ctx, demoApp, "fail", "out of ink")
	return d.expectError(`c.Execute(ctx, "demo:App", "fail", "out of ink")`, err, dirty.ErrApp)
}

func (d *demo) cancel() error {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	go func() {
		select {
		case <-d.begun:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := d.client.Execute(ctx, demoApp, "slow", 60)
	if err := d.expectError(`c.Execute(ctx, "demo:App", "slow", 60), cancelled while it runs`, err, context.Canceled); err != nil {
		return err
	}
	if !errors.Is(err, client.ErrOutcomeUnknown) {
		return fmt.Errorf("the outcome should be unknown: %w", err)
	}
	select {
	case <-d.cancelled:
		d.say("    the server's handler was cancelled too\n")
		return nil
	case <-d.ctx.Done():
		return errors.New("the server's handler was not cancelled")
	}
}

// expect checks the result of a step and prints it.
func (d *demo) expect(what string, got any, err error, want any) error {
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s gave %#v, not %#v", what, got, want)
	}
	d.say("    %s = %v\n", what, got)
	return nil
}

// expectError checks the error of a step that must fail, and prints it.
func (d *demo) expectError(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s gave %v, not %v", what, err, want)
	}
	d.say("    %s = %v\n", what, err)
	return nil
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format, args...)
}

// dial dials as the client would. The connection shows its frames.
func (d *demo) dial(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns++
	t := &tap{Conn: nc, demo: d}
	t.out.conn, t.out.dir = d.conns, '>'
	t.in.conn, t.in.dir = d.conns, '<'
	return t, nil
}

// tap is a connection that shows its frames.
type tap struct {
	net.Conn
	demo    *demo
	out, in stream
}

func (t *tap) Write(b []byte) (int, error) {
	t.show(&t.out, b) // before it is sent: the answer is shown after it
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.show(&t.in, b[:n])
	return n, err
}

func (t *tap) show(s *stream, b []byte) {
	t.demo.mu.Lock()
	defer t.demo.mu.Unlock()
	out := bufio.NewWriter(t.demo.out)
	// The step would fail too if something were wrong here.
	_ = s.feed(b, 0, func(f *frame) error { return printText(out, f) })
	_ = out.Flush()
}
