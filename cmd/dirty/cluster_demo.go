package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
)

const helpClusterDemo = `Starts three hosts in this process, each a Go server with an agent before it, and a
front, over TCP with certificates that it makes. Calls spread over the hosts, one host
is killed under load and comes back, and one leaves. It says what happened. The exit
status is 0 only if all went as it should.`

// clusterApp is the app of the demonstration.
const clusterApp = "demo:Cluster"

func (c *cli) clusterDemoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See three hosts and a front at work",
		Long:    helpClusterDemo,
		Example: "  dirty cluster demo",
		Args:    needArgs(0, 0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runClusterDemo(cmd.Context(), c.stdout) },
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

func runClusterDemo(ctx context.Context, stdout io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	folder, err := os.MkdirTemp("", "dirty")
	if err != nil {
		return err
	}
	d := &clusterDemo{ctx: ctx, out: stdout, folder: folder, runs: map[int]int{}}
	defer d.end()
	if err := d.run(); err != nil {
		return fmt.Errorf("cluster demo: %w", err)
	}
	_, err = fmt.Fprintln(stdout, "\nAll went as it should.")
	return err
}

// clusterDemo is three hosts and a front.
type clusterDemo struct {
	ctx    context.Context
	out    io.Writer
	folder string
	ends   []func()

	hosts  []*demoHost
	front  *cluster.Front
	client *client.Client

	last atomic.Int64 // the number of the last call
	mu   sync.Mutex
	runs map[int]int // how often each call has run, on any host
}

// demoHost is a host: a Go server, and the agent before it.
type demoHost struct {
	name, addr string
	agent      *cluster.Agent
	served     chan error
}

// The load of the demonstration.
const (
	demoSlots   = 2 // of each host
	demoCallers = 12
	demoWork    = 10 * time.Millisecond
)

func (d *clusterDemo) end() {
	for _, end := range slices.Backward(d.ends) {
		end()
	}
	_ = os.RemoveAll(d.folder)
}

func (d *clusterDemo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// run takes each step.
func (d *clusterDemo) run() error {
	if err := d.start(); err != nil {
		return err
	}
	for _, step := range []struct {
		title string
		take  func() error
	}{
		{"Calls go to the hosts with free workers", d.spread},
		{"A host is killed under load", d.kill},
		{"It comes back", d.revive},
		{"A host leaves under load", d.leave},
	} {
		d.say("\n%s", step.title)
		if err := step.take(); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title), err)
		}
	}
	return nil
}

func (d *clusterDemo) start() error {
	a, err := openAuthority(d.folder)
	if err != nil {
		return err
	}
	var members []cluster.Member
	for _, name := range []string{"gpu1", "gpu2", "gpu3"} {
		if err := a.issue(role{name, "agent", x509.ExtKeyUsageServerAuth}, 1); err != nil {
			return err
		}
		h := &demoHost{name: name, addr: "127.0.0.1:0"}
		if err := d.serve(h); err != nil {
			return err
		}
		d.hosts = append(d.hosts, h)
		members = append(members, cluster.Member{Host: name, Addr: h.addr})
		d.say("The agent of %s listens on %s, with %d slots.", name, h.addr, demoSlots)
	}
	if err := a.issue(role{"web1", "front", x509.ExtKeyUsageClientAuth}, 1); err != nil {
		return err
	}
	d.front, err = cluster.NewFront(cluster.FrontConfig{Members: cluster.Static(members...), TLS: d.tls("web1")})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = d.front.Close() })
	if d.client, err = d.front.Client(); err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = d.client.Close() })
	return d.awaitUp(len(d.hosts))
}

func (d *clusterDemo) tls(name string) *cluster.TLS {
	path := filepath.Join(d.folder, name)
	return &cluster.TLS{CertFile: path + ".pem", KeyFile: path + ".key", CAFile: filepath.Join(d.folder, "ca.pem")}
}

// serve starts the server and the agent of a host.
func (d *clusterDemo) serve(h *demoHost) error {
	mux := server.NewMux()
	mux.Handle(clusterApp, "work", server.Func(func(_ context.Context, n int) (string, error) {
		d.mu.Lock()
		d.runs[n]++
		d.mu.Unlock()
		time.Sleep(demoWork)
		return h.name, nil
	}))
	socket := filepath.Join(d.folder, h.name)
	l, err := server.Listen(socket, 0)
	if err != nil {
		return err
	}
	s := &server.Server{Handler: mux}
	go func() { _ = s.Serve(l) }() // until the end
	d.ends = append(d.ends, func() { _ = s.Close() })
	return d.serveAgent(h)
}

// serveAgent starts the agent of a host.
func (d *clusterDemo) serveAgent(h *demoHost) error {
	a, err := cluster.NewAgent(cluster.AgentConfig{TLS: d.tls(h.name), Slots: demoSlots,
		Arbiter: []client.Option{client.WithSocket(filepath.Join(d.folder, h.name))}})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = a.Close() })
	l, err := cluster.Listen(h.addr)
	if err != nil {
		return err
	}
	h.agent, h.addr, h.served = a, l.Addr().String(), make(chan error, 1)
	go func() { h.served <- a.Serve(l) }()
	return nil
}

// awaitUp waits until the front knows of so many hosts that are up.
func (d *clusterDemo) awaitUp(n int) error {
	for {
		up := 0
		for _, h := range d.front.Status().Hosts {
			if h.State == "up" && h.Slots > 0 {
				up++
			}
		}
		if up == n {
			return nil
		}
		if err := sleep(d.ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%d hosts are up, want %d: %w", up, n, err)
		}
	}
}

// tally is what became of calls.
type tally struct {
	hosts    map[string]int // answers of each
	answered []int          // the numbers of these calls
	neverRan []int          // calls that have not run, by their error
	unknown  int
	slowest  time.Duration
}

// load calls from several callers at once, while it does something else, and a bit
// longer. It checks how often each call has run.
func (d *clusterDemo) load(meanwhile func() error) (*tally, error) {
	t := &tally{hosts: map[string]int{}}
	ctx, stop := context.WithCancel(d.ctx)
	defer stop()
	var mu sync.Mutex
	var failed error
	var callers sync.WaitGroup
	for range demoCallers {
		callers.Go(func() {
			for ctx.Err() == nil {
				n := int(d.last.Add(1))
				begin := time.Now()
				host, err := client.Call[string](d.ctx, d.client, clusterApp, "work", n)
				mu.Lock()
				t.slowest = max(t.slowest, time.Since(begin))
				switch {
				case err == nil:
					t.hosts[host]++
					t.answered = append(t.answered, n)
				case client.SafeToRetry(err):
					t.neverRan = append(t.neverRan, n)
				case errors.Is(err, client.ErrOutcomeUnknown):
					t.unknown++
				default:
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	err := sleep(d.ctx, demoLoad)
	if err == nil {
		err = meanwhile()
	}
	err = errors.Join(err, sleep(d.ctx, demoLoad))
	stop()
	callers.Wait()
	return t, errors.Join(err, failed, d.check(t))
}

// demoLoad is how long calls are made before and after something happens.
const demoLoad = 300 * time.Millisecond

// check compares what the callers were told with how often their calls have run.
func (d *clusterDemo) check(t *tally) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, times := range d.runs {
		if times > 1 {
			return fmt.Errorf("call %d has run %d times", n, times)
		}
	}
	for _, n := range t.answered {
		if d.runs[n] != 1 {
			return fmt.Errorf("call %d was answered and has run %d times", n, d.runs[n])
		}
	}
	for _, n := range t.neverRan {
		if d.runs[n] != 0 {
			return fmt.Errorf("call %d is said not to have run, and has", n)
		}
	}
	return nil
}

// tell says what became of calls.
func (d *clusterDemo) tell(t *tally) {
	d.say("    %d callers made %d calls: %d answered (gpu1 %d, gpu2 %d, gpu3 %d), the slowest in %d ms;", demoCallers,
		len(t.answered)+len(t.neverRan)+t.unknown, len(t.answered), t.hosts["gpu1"], t.hosts["gpu2"], t.hosts["gpu3"], t.slowest.Milliseconds())
	d.say("    the outcome of %d is unknown to their callers, %d did not run, none ran twice", t.unknown, len(t.neverRan))
}

func (d *clusterDemo) spread() error {
	t, err := d.load(func() error { return nil })
	if err != nil {
		return err
	}
	d.tell(t)
	if len(t.hosts) != len(d.hosts) || t.unknown+len(t.neverRan) > 0 {
		return errors.New("each host should have answered, and each call")
	}
	return nil
}

// victim is the host that is killed.
func (d *clusterDemo) victim() *demoHost { return d.hosts[1] }

func (d *clusterDemo) kill() error {
	t, err := d.load(func() error {
		err := d.victim().agent.Close()
		<-d.victim().served
		return err
	})
	if err != nil {
		return err
	}
	d.tell(t)
	return d.awaitUp(len(d.hosts) - 1)
}

func (d *clusterDemo) revive() error {
	if err := d.serveAgent(d.victim()); err != nil {
		return err
	}
	if err := d.awaitUp(len(d.hosts)); err != nil {
		return err
	}
	t, err := d.load(func() error { return nil })
	if err != nil {
		return err
	}
	d.tell(t)
	if t.hosts[d.victim().name] == 0 {
		return errors.New("it should have answered")
	}
	return nil
}

func (d *clusterDemo) leave() error {
	t, err := d.load(func() error {
		err := d.victim().agent.Shutdown(d.ctx)
		<-d.victim().served
		return err
	})
	if err != nil {
		return err
	}
	d.tell(t)
	if t.unknown+len(t.neverRan) > 0 {
		return errors.New("each call should have been answered")
	}
	return nil
}
