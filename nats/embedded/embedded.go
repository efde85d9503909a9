// Package embedded runs NATS servers inside this process: for tests, for demos, and
// for programs that want nothing else installed. It is the only package of the module
// that needs the NATS server.
package embedded

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxNodes bounds Options.Nodes.
const MaxNodes = 5

// startTimeout bounds how long servers may take to be ready.
const startTimeout = time.Minute

// pollInterval is the time between two looks whether a server is ready.
const pollInterval = 5 * time.Millisecond

// Options say what Start starts. The zero value is one server that keeps its data in a
// temporary folder.
type Options struct {
	// Nodes is the number of servers, 1 to MaxNodes. 0 is 1. More than one are a
	// cluster. Use an odd number: three go on when one is lost.
	Nodes int

	// Dir is the folder of the data, which outlives the servers. The empty one stands
	// for a temporary folder that Close removes.
	Dir string

	// MaxPayload is the size of the largest message in bytes. 0 is 1 MiB, as always
	// in NATS.
	MaxPayload int32
}

// Servers are the running servers. They listen on 127.0.0.1 only, on ports that the
// system chooses. Clients need their token, which is random and part of URL.
// The methods may be used concurrently.
type Servers struct {
	dir       string
	temporary bool
	token     string

	mu    sync.Mutex
	nodes []*node
}

// node is one server. The server is nil while the node is stopped.
type node struct {
	options server.Options
	server  *server.Server
}

// Start starts servers, and returns when they can be used.
func Start(options Options) (*Servers, error) {
	count := cmp.Or(options.Nodes, 1)
	if count < 1 || count > MaxNodes {
		return nil, fmt.Errorf("embedded: Nodes is %d, not between 1 and %d", options.Nodes, MaxNodes)
	}
	if options.MaxPayload < 0 {
		return nil, fmt.Errorf("embedded: MaxPayload is %d, less than 0", options.MaxPayload)
	}
	s := &Servers{dir: options.Dir, temporary: options.Dir == "", token: rand.Text()}
	if s.temporary {
		var err error
		if s.dir, err = os.MkdirTemp("", "dirtynats"); err != nil {
			return nil, err
		}
	}
	err := s.configure(count, cmp.Or(options.MaxPayload, server.MAX_PAYLOAD_SIZE))
	if err == nil {
		err = s.startAll()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// configure makes the options of all nodes.
func (s *Servers) configure(count int, maxPayload int32) error {
	for i := range count {
		name := "node" + strconv.Itoa(i+1)
		s.nodes = append(s.nodes, &node{options: server.Options{
			ServerName:    name,
			Host:          "127.0.0.1",
			Port:          server.RANDOM_PORT,
			Authorization: s.token,
			MaxPayload:    maxPayload,
			JetStream:     true,
			StoreDir:      filepath.Join(s.dir, name),
			NoLog:         true,
			NoSigs:        true,
		}})
	}
	if count == 1 {
		return nil
	}
	ports, err := freePorts(count)
	if err != nil {
		return err
	}
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{
			Scheme: "nats-route",
			User:   url.UserPassword("route", s.token),
			Host:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		})
	}
	for i, n := range s.nodes {
		n.options.Cluster = server.ClusterOpts{
			Name: "embedded", Host: "127.0.0.1", Port: ports[i], Username: "route", Password: s.token,
		}
		n.options.Routes = routes
	}
	return nil
}

// freePorts returns ports on which nobody listens. Each server of a cluster must know
// those of the others before it starts.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (s *Servers) startAll() error {
	errs := make(chan error)
	for i := range s.nodes {
		go func() { errs <- s.StartNode(i) }()
	}
	var all error
	for range s.nodes {
		all = errors.Join(all, <-errs)
	}
	return all
}

// node returns a node by its number, which begins at 0.
func (s *Servers) node(i int) (*node, error) {
	if i < 0 || i >= len(s.nodes) {
		return nil, fmt.Errorf("embedded: there is no node %d, only 0 to %d", i, len(s.nodes)-1)
	}
	return s.nodes[i], nil
}

// StartNode starts a node that StopNode has stopped, with the same data and the same
// port. It returns when the node can be used, or with an error after a minute: a node
// of a cluster needs most of the others. It does nothing to a node that runs.
func (s *Servers) StartNode(i int) error {
	n, err := s.node(i)
	if err != nil {
		return err
	}
	started, err := s.launch(n)
	if err != nil || started == nil {
		return err
	}
	deadline := time.Now().Add(startTimeout)
	for !started.ReadyForConnections(pollInterval) || !started.JetStreamIsCurrent() || !s.isKnown(n) {
		select {
		case err := <-started.failed:
			return fmt.Errorf("embedded: %s: %w", n.options.ServerName, err)
		default:
		}
		if time.Now().After(deadline) || !started.Running() {
			return fmt.Errorf("embedded: %s was not ready within %v: do most nodes run?", n.options.ServerName, startTimeout)
		}
		time.Sleep(pollInterval) // the server has nothing to wait on
	}
	return nil
}

// launch starts a node, and returns its server, or nil if the node runs already.
func (s *Servers) launch(n *node) (*launched, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.server != nil {
		return nil, nil
	}
	options := n.options // the server changes them
	nats, err := server.NewServer(&options)
	if err != nil {
		return nil, fmt.Errorf("embedded: %s: %w", n.options.ServerName, err)
	}
	started := &launched{nats, make(failures, 1)}
	nats.SetLogger(started.failed, false, false)
	n.server = nats
	started.Start()
	if address, ok := started.Addr().(*net.TCPAddr); ok {
		n.options.Port = address.Port // clients come back to it after a restart
	}
	return started, nil
}

// isKnown reports whether the leader of JetStream knows that a node runs. Before that it
// refuses to keep anything there.
func (s *Servers) isKnown(n *node) bool {
	if len(s.nodes) == 1 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.nodes {
		if other.server != nil && other.server.JetStreamIsLeader() {
			return slices.Contains(other.server.JetStreamClusterPeers(), n.options.ServerName)
		}
	}
	return false
}

// launched is a server that may not be ready yet.
type launched struct {
	*server.Server
	failed failures
}

// failures is the log of a server. It keeps the first reason why the server cannot run.
type failures chan error

func (f failures) Fatalf(format string, args ...any) {
	select {
	case f <- fmt.Errorf(format, args...):
	default:
	}
}

func (failures) Noticef(string, ...any) {}
func (failures) Warnf(string, ...any)   {}
func (failures) Errorf(string, ...any)  {}
func (failures) Debugf(string, ...any)  {}
func (failures) Tracef(string, ...any)  {}

// StopNode stops a node, and returns when it has stopped. Its data stays.
func (s *Servers) StopNode(i int) error {
	n, err := s.node(i)
	if err != nil {
		return err
	}
	s.mu.Lock()
	stopped := n.server
	n.server = nil
	s.mu.Unlock()
	if stopped != nil {
		stopped.Shutdown()
		stopped.WaitForShutdown()
	}
	return nil
}

// URL returns the addresses of all nodes with their token, as [nats.Connect] takes
// them. Whoever has it may read and write all.
//
// [nats.Connect]: https://pkg.go.dev/github.com/nats-io/nats.go#Connect
func (s *Servers) URL() string {
	var urls []string
	for i := range s.nodes {
		urls = append(urls, s.NodeURL(i))
	}
	return strings.Join(urls, ",")
}

// NodeURL returns the address of one node, or "" if there is no such node.
func (s *Servers) NodeURL(i int) string {
	n, err := s.node(i)
	if err != nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("nats://%s@127.0.0.1:%d", s.token, n.options.Port)
}

// Close stops all nodes and removes the folder of the data, if it is a temporary one.
// It may be called more than once.
func (s *Servers) Close() {
	var wg sync.WaitGroup
	for i := range s.nodes {
		wg.Go(func() { _ = s.StopNode(i) })
	}
	wg.Wait()
	if s.temporary {
		_ = os.RemoveAll(s.dir) // it is in the folder for temporary files
	}
}
