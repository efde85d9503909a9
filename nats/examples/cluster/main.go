// Command cluster shows several hosts in one process: three Go servers with agents, a
// front, and NATS, over which they find each other, share a stash and run jobs. It makes
// calls, kills a host, and says what happened.
//
//	go run ./examples/cluster
//
// In production each host is a process of its own, with certificates in place of Plain
// and your NATS servers in place of package embedded.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/gunicorn-go/dirty/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// timeout bounds the whole demo.
const timeout = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	d := &demo{out: out, runs: map[int]int{}}
	defer d.close()
	if err := d.start(ctx); err != nil {
		return err
	}
	return errors.Join(d.spread(ctx), d.share(ctx), d.runJob(ctx), d.loseHost(ctx))
}

// demo is all that runs. What it starts is ended by close, the last one first.
type demo struct {
	out    io.Writer
	ends   []func()
	nc     *nats.Conn
	js     jetstream.JetStream
	hosts  []*host
	front  *cluster.Front
	client *client.Client

	mu   sync.Mutex
	last int         // the number of the last call
	runs map[int]int // how often a call of that number has run, on whichever host
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demo) onClose(f func()) { d.ends = append(d.ends, f) }

func (d *demo) close() {
	for _, end := range slices.Backward(d.ends) {
		end()
	}
}

// start starts NATS, three hosts and a front, and waits until the front knows the hosts.
func (d *demo) start(ctx context.Context) error {
	servers, err := embedded.Start(embedded.Options{})
	if err != nil {
		return err
	}
	d.onClose(servers.Close)
	if d.nc, err = nats.Connect(servers.URL(), dirtynats.ConnectOptions()...); err != nil {
		return err
	}
	d.onClose(d.nc.Close)
	if d.js, err = jetstream.New(d.nc); err != nil {
		return err
	}
	members := &dirtynats.Members{Conn: d.nc}
	for i := range 3 {
		if err := d.startHost(ctx, members, fmt.Sprint("gpu", i+1)); err != nil {
			return err
		}
	}
	if d.front, err = cluster.NewFront(cluster.FrontConfig{Members: members, Plain: true}); err != nil {
		return err
	}
	d.onClose(func() { _ = d.front.Close() })
	if d.client, err = d.front.Client(); err != nil {
		return err
	}
	d.onClose(func() { _ = d.client.Close() })
	for !d.allUp() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the front does not find the hosts: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	d.say("three hosts are up, the front has found them over NATS")
	return nil
}

func (d *demo) allUp() bool {
	up := 0
	for _, h := range d.front.Status().Hosts {
		if h.State == "up" && h.Free > 0 {
			up++
		}
	}
	return up == len(d.hosts)
}

// host is one of the hosts: a Go server, and an agent before it.
type host struct {
	name  string
	agent *cluster.Agent
}

func (d *demo) startHost(ctx context.Context, members *dirtynats.Members, name string) error {
	mux := server.NewMux()
	mux.Handle("demo:Model", "where", server.Func(func(ctx context.Context, call int) (string, error) {
		d.mu.Lock()
		d.runs[call]++
		d.mu.Unlock()
		select {
		case <-time.After(10 * time.Millisecond): // the work
		case <-ctx.Done():
		}
		return name, ctx.Err()
	}))
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return err
	}
	d.onClose(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "dirty.sock")
	local, err := server.Listen(socket, 0o600)
	if err != nil {
		return err
	}
	arbiter := &server.Server{Handler: mux}
	d.onClose(func() { _ = arbiter.Close() })
	go func() { _ = arbiter.Serve(local) }() // ends with Close

	agent, err := cluster.NewAgent(cluster.AgentConfig{
		Arbiter: []client.Option{client.WithSocket(socket)}, Slots: 2, Plain: true, Host: name,
	})
	if err != nil {
		return err
	}
	d.onClose(func() { _ = agent.Close() })
	listener, err := cluster.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = agent.Serve(listener) }()        // ends with Close
	go func() { _ = members.Announce(ctx, agent) }() // ends when the agent leaves
	d.hosts = append(d.hosts, &host{name, agent})
	return nil
}

// nextCall returns the number of the next call.
func (d *demo) nextCall() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	return d.last
}

// runTwice returns how many calls have run more than once.
func (d *demo) runTwice() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, runs := range d.runs {
		if runs > 1 {
			n++
		}
	}
	return n
}

// calls makes calls from several goroutines, and counts the answers by host.
func (d *demo) calls(ctx context.Context, n int, each func()) (byHost map[string]int, unknown int, err error) {
	byHost = map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	for range 6 {
		wg.Go(func() {
			for range left {
				name, callErr := client.Call[string](ctx, d.client, "demo:Model", "where", d.nextCall())
				mu.Lock()
				switch {
				case callErr == nil:
					byHost[name]++
				case errors.Is(callErr, client.ErrOutcomeUnknown):
					unknown++
				default:
					err = callErr
				}
				each()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return byHost, unknown, err
}

// spread shows that all hosts get their share.
func (d *demo) spread(ctx context.Context) error {
	byHost, _, err := d.calls(ctx, 120, func() {})
	d.say("120 calls: %s", list(byHost))
	return err
}

// list returns counts by host, sorted.
func list(byHost map[string]int) string {
	var parts []string
	for name, n := range byHost {
		parts = append(parts, fmt.Sprintf("%s answered %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// share shows a stash that two hosts share.
func (d *demo) share(ctx context.Context) error {
	var stashes []*dirtynats.Stash
	for range 2 {
		s, err := dirtynats.OpenStash(ctx, d.js, dirtynats.StashConfig{})
		if err != nil {
			return err
		}
		stashes = append(stashes, s)
	}
	value, err := dirty.Marshal("warm")
	if err != nil {
		return err
	}
	if err := stashes[0].Put(ctx, "models", "llama", value); err != nil {
		return err
	}
	got, err := stashes[1].Get(ctx, "models", "llama")
	d.say("one host puts llama into the stash, another one gets %s", dirty.Diagnose(got))
	return err
}

// runJob submits a job twice. It runs once, through the front.
func (d *demo) runJob(ctx context.Context) error {
	jobs, err := dirtynats.OpenJobs(ctx, d.js, dirtynats.JobsConfig{})
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- jobs.Work(working, dirtynats.WorkConfig{Client: d.client, Slots: 2}) }()
	call := d.nextCall()
	for range 2 {
		created, err := jobs.Submit(ctx, dirtynats.Job{ID: "job 1", App: "demo:Model", Action: "where", Args: []any{call}})
		if err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
		d.say("job 1 is submitted, new: %v", created)
	}
	_, err = jobs.Wait(ctx, "job 1")
	d.say("job 1 has run")
	stop()
	return errors.Join(err, <-ended)
}

// loseHost kills a host in the middle of calls.
func (d *demo) loseHost(ctx context.Context) error {
	victim := d.hosts[0]
	done := 0
	byHost, unknown, err := d.calls(ctx, 120, func() {
		if done++; done == 40 {
			_ = victim.agent.Close()
		}
	})
	if err != nil {
		return err
	}
	answered := 0
	for _, n := range byHost {
		answered += n
	}
	d.say("%s is killed during 120 calls: %d answered, %d with an unknown outcome", victim.name, answered, unknown)
	byHost, _, err = d.calls(ctx, 60, func() {})
	d.say("60 calls after that: %s", list(byHost))
	d.say("%d calls in all, the job too; %d have run twice", d.last, d.runTwice())
	return err
}
