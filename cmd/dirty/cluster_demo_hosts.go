package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	dirtynats "github.com/gunicorn-go/dirty/nats"
	"github.com/gunicorn-go/dirty/nats/embedded"
	"github.com/gunicorn-go/dirty/server"
)

// clusterApp is the app of the demonstration.
const clusterApp = "demo:Cluster"

// clusterDemo is three hosts, a front, and NATS.
type clusterDemo struct {
	ctx    context.Context
	out    io.Writer
	folder string
	ends   []func()

	url    string              // of NATS
	js     jetstream.JetStream // of the front
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
	nats       *nats.Conn
	agent      *cluster.Agent
	served     chan error
}

const (
	demoSlots = 2 // of each host
	demoWork  = 10 * time.Millisecond
)

// end ends what was started, the last one first.
func (d *clusterDemo) end() {
	for _, end := range slices.Backward(d.ends) {
		end()
	}
	_ = os.RemoveAll(d.folder)
}

func (d *clusterDemo) start() error {
	servers, err := embedded.Start(embedded.Options{Dir: filepath.Join(d.folder, "nats")})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, servers.Close)
	d.url = servers.URL()
	a, err := openAuthority(d.folder)
	if err != nil {
		return err
	}
	for _, name := range []string{"gpu1", "gpu2", "gpu3"} {
		if err := a.issue(role{name, "agent", x509.ExtKeyUsageServerAuth}, 1); err != nil {
			return err
		}
		h := &demoHost{name: name, addr: "127.0.0.1:0"}
		if err := d.serve(h); err != nil {
			return err
		}
		d.hosts = append(d.hosts, h)
		d.say("The agent of %s listens on %s, with %d slots, and tells of itself over NATS.", name, h.addr, demoSlots)
	}
	if err := a.issue(role{"web1", "front", x509.ExtKeyUsageClientAuth}, 1); err != nil {
		return err
	}
	if err := d.startFront(); err != nil {
		return err
	}
	if err := d.awaitUp(len(d.hosts)); err != nil {
		return err
	}
	d.say("The front has found %d hosts.", len(d.hosts))
	return nil
}

func (d *clusterDemo) startFront() error {
	nc, js, err := d.connect()
	if err != nil {
		return err
	}
	d.js = js
	stash, err := d.openStash(js)
	if err != nil {
		return err
	}
	d.front, err = cluster.NewFront(cluster.FrontConfig{Members: &dirtynats.Members{Conn: nc}, Stash: stash, TLS: d.tls("web1")})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = d.front.Close() })
	if d.client, err = d.front.Client(); err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = d.client.Close() })
	return nil
}

// connect connects to NATS.
func (d *clusterDemo) connect() (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(d.url, append(dirtynats.ConnectOptions(), nats.Timeout(clusterDemoTime))...)
	if err != nil {
		return nil, nil, err
	}
	d.ends = append(d.ends, nc.Close)
	js, err := jetstream.New(nc)
	return nc, js, err
}

// openStash opens the stash that all share.
func (d *clusterDemo) openStash(js jetstream.JetStream) (*dirtynats.Stash, error) {
	return dirtynats.OpenStash(d.ctx, js, dirtynats.StashConfig{Bucket: dirtynats.Bucket{Timeout: clusterDemoTime}})
}

func (d *clusterDemo) tls(name string) *cluster.TLS {
	path := filepath.Join(d.folder, name)
	return &cluster.TLS{CertFile: path + ".pem", KeyFile: path + ".key", CAFile: filepath.Join(d.folder, "ca.pem")}
}

// socket is the path of the socket of a host's server.
func (d *clusterDemo) socket(h *demoHost) string { return filepath.Join(d.folder, h.name) }

// serve starts the server and the agent of a host.
func (d *clusterDemo) serve(h *demoHost) error {
	_, js, err := d.connect()
	if err != nil {
		return err
	}
	stash, err := d.openStash(js)
	if err != nil {
		return err
	}
	mux := server.NewMux()
	mux.Handle(clusterApp, "work", server.Func(func(_ context.Context, n int) (string, error) {
		d.mu.Lock()
		d.runs[n]++
		d.mu.Unlock()
		time.Sleep(demoWork)
		return h.name, nil
	}))
	l, err := server.Listen(d.socket(h), 0)
	if err != nil {
		return err
	}
	s := &server.Server{Handler: mux, Stash: stash}
	go func() { _ = s.Serve(l) }() // until the end
	d.ends = append(d.ends, func() { _ = s.Close() })
	return d.serveAgent(h)
}

// serveAgent starts the agent of a host.
func (d *clusterDemo) serveAgent(h *demoHost) error {
	nc, _, err := d.connect()
	if err != nil {
		return err
	}
	a, err := cluster.NewAgent(cluster.AgentConfig{TLS: d.tls(h.name), Slots: demoSlots,
		Arbiter: []client.Option{client.WithSocket(d.socket(h))}})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, func() { _ = a.Close() })
	l, err := cluster.Listen(h.addr)
	if err != nil {
		return err
	}
	h.nats, h.agent, h.addr, h.served = nc, a, l.Addr().String(), make(chan error, 1)
	go func() { h.served <- a.Serve(l) }()
	members := &dirtynats.Members{Conn: nc}
	go func() { _ = members.Announce(d.ctx, a) }() // until the agent leaves
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
