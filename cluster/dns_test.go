package cluster_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serviceName is the name of a headless service. The dot at its end keeps the resolver
// from the search list of this machine.
const serviceName = "agents.default.svc.cluster.local."

// Numbers of the DNS, see RFC 1035.
const (
	dnsTypeA     = 1
	dnsTypeAAAA  = 28
	dnsAnswer    = 0x8000
	dnsAuthority = 0x0400
	dnsTruncated = 0x0200
	dnsServFail  = 2
	dnsNXDomain  = 3
)

// serviceDNS is a DNS server that answers for a headless service as CoreDNS does in a
// Kubernetes cluster: an address for each pod that is ready, a short time to live, and
// over UDP no more than fits. What does not must be asked for over TCP.
type serviceDNS struct {
	udp net.PacketConn
	tcp net.Listener

	mu    sync.Mutex
	pods  []netip.Addr
	rcode uint16 // in place of the addresses, unless it is 0
}

// startServiceDNS starts a server on loopback.
func startServiceDNS(t *testing.T) *serviceDNS {
	t.Helper()
	d := &serviceDNS{}
	var err error
	d.tcp, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.udp, err = net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(d.serveUDP)
	running.Go(d.serveTCP)
	t.Cleanup(func() {
		_ = d.udp.Close()
		_ = d.tcp.Close()
		running.Wait()
	})
	return d
}

// set sets the pods that are ready.
func (d *serviceDNS) set(pods ...string) { d.setAnswer(0, pods...) }

// setAnswer sets the pods that are ready, or the code of a failure.
func (d *serviceDNS) setAnswer(rcode uint16, pods ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rcode, d.pods = rcode, nil
	for _, pod := range pods {
		d.pods = append(d.pods, netip.MustParseAddr(pod))
	}
}

func (d *serviceDNS) failures() map[string]func() {
	return map[string]func(){
		"no address":   func() { d.setAnswer(0) },
		"no such name": func() { d.setAnswer(dnsNXDomain) },
		"a failure":    func() { d.setAnswer(dnsServFail) },
	}
}

// resolver returns a resolver that asks the server.
func (d *serviceDNS) resolver() *resolver {
	return newResolver(d.udp.LocalAddr().String(), d.tcp.Addr().String())
}

// resolver looks names up at one DNS server.
type resolver struct {
	net.Resolver
	lookups, barren, overTCP atomic.Int64 // of members: look-ups, those that found no address, connections
}

// newResolver returns a resolver that asks at an address of UDP and one of TCP.
func newResolver(udp, tcp string) *resolver {
	r := &resolver{}
	r.PreferGo = true
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		addr := udp
		if strings.HasPrefix(network, "tcp") {
			addr = tcp
			r.overTCP.Add(1)
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	return r
}

// members returns Members of the service, each at a port.
func (r *resolver) members(port string, interval time.Duration) *cluster.DNS {
	return &cluster.DNS{Name: net.JoinHostPort(serviceName, port), Interval: interval,
		Lookup: func(ctx context.Context, name string) ([]string, error) {
			addrs, err := r.LookupHost(ctx, name)
			r.lookups.Add(1)
			if err != nil {
				r.barren.Add(1)
			}
			return addrs, err
		}}
}

func (d *serviceDNS) serveUDP() {
	for b := make([]byte, 1500); ; {
		n, from, err := d.udp.ReadFrom(b)
		if err != nil {
			return
		}
		const most = 1232 // bytes, of which Go and CoreDNS hold that they pass every network
		_, _ = d.udp.WriteTo(d.answer(b[:n], most), from)
	}
}

func (d *serviceDNS) serveTCP() {
	for {
		nc, err := d.tcp.Accept()
		if err != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(nc, size[:]); err == nil {
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(nc, question); err == nil {
				a := d.answer(question, 1<<16-1)
				_, _ = nc.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
			}
		}
		_ = nc.Close()
	}
}

// answer returns the answer to a question, in at most so many bytes.
func (d *serviceDNS) answer(question []byte, most int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	const header = 12
	end := header
	for question[end] != 0 { // the labels of the name
		end += 1 + int(question[end])
	}
	kind := binary.BigEndian.Uint16(question[end+1:])
	end += 5
	flags := dnsAnswer | dnsAuthority | d.rcode
	answers := 0
	b := slices.Clone(question[:end])
	for _, pod := range d.pods {
		if d.rcode != 0 || pod.Is4() != (kind == dnsTypeA) || kind != dnsTypeA && kind != dnsTypeAAAA {
			continue
		}
		address := pod.AsSlice()
		record := []byte{0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 5 /* seconds to live */, 0, byte(len(address))}
		if len(b)+len(record)+len(address) > most {
			flags |= dnsTruncated
			break
		}
		b = append(append(b, record...), address...)
		answers++
	}
	binary.BigEndian.PutUint16(b[2:], flags)
	for i, n := range []int{1, answers, 0, 0} {
		binary.BigEndian.PutUint16(b[4+2*i:], uint16(n))
	}
	return b
}

// nameServer is a DNS server that knows the pods of the service.
type nameServer interface {
	set(pods ...string)          // these pods are ready
	failures() map[string]func() // what takes their addresses away, until the next set
	resolver() *resolver         // one that asks the server
}

// TestHeadlessService finds agents by the name of a headless service of Kubernetes, and
// through failures of the DNS keeps those that it has found. TestCoreDNS does so with a
// real CoreDNS.
func TestHeadlessService(t *testing.T) { testHeadlessService(t, startServiceDNS(t)) }

func testHeadlessService(t *testing.T, d nameServer) {
	r := d.resolver()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	lists := make(chan []cluster.Member, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- r.members("9500", 20*time.Millisecond).Watch(ctx, func(m []cluster.Member) { lists <- m })
	}()
	check := func(pods ...string) {
		t.Helper()
		d.set(pods...)
		var want []cluster.Member
		for _, pod := range slices.Sorted(slices.Values(pods)) {
			want = append(want, cluster.Member{Addr: net.JoinHostPort(pod, "9500")})
		}
		require.Equal(t, want, receive(t, "a list", lists))
	}
	check("10.0.0.1")
	check("10.0.0.1", "10.0.0.2") // a pod comes
	check("10.0.0.2")             // one goes
	check("10.0.0.2", "fd00::2")  // both families
	check("10.0.0.2")
	for what, fail := range d.failures() {
		fail()
		before := r.barren.Load()
		require.Eventually(t, func() bool { return r.barren.Load() > before+8 }, patience, time.Millisecond, what)
		assert.Empty(t, lists, "%s: the last list stays", what)
	}
	check("10.0.0.3")
	assert.Zero(t, r.overTCP.Load())
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("10.1.%d.%d", i/250, i%250))
	}
	check(many...)
	assert.Positive(t, r.overTCP.Load(), "all addresses have fitted into an answer over UDP")
	stop()
	require.NoError(t, receive(t, "the end", ended))
	assert.Empty(t, lists, "only changes are told")
}

// listenAtOnePort returns listeners at several addresses of loopback, all at one port.
func listenAtOnePort(t *testing.T, n int) (listeners []net.Listener) {
	t.Helper()
	if runtime.GOOS != "linux" {
		skipLoudly(t, "loopback has one address only")
	}
	port := "0"
	for tries := 0; len(listeners) < n; {
		l, err := net.Listen("tcp", net.JoinHostPort(fmt.Sprintf("127.0.0.%d", len(listeners)+1), port))
		if err == nil {
			listeners = append(listeners, l)
			_, port, _ = net.SplitHostPort(l.Addr().String())
			continue
		}
		tries++ // the port is taken at that address
		require.Less(t, tries, 100, err)
		for _, l := range listeners {
			_ = l.Close()
		}
		listeners, port = nil, "0"
	}
	return listeners
}

// startLoad makes calls until end is called. None may fail.
func startLoad(t *testing.T, c *client.Client) (end func()) {
	t.Helper()
	stop := make(chan struct{})
	var calls atomic.Int64
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond): // leaves the machine to others
				}
				_, err := client.Call[string](context.Background(), c, app, "host")
				if !assert.NoError(t, err) {
					return
				}
				calls.Add(1)
			}
		})
	}
	end = sync.OnceFunc(func() {
		close(stop)
		load.Wait()
		t.Logf("%d calls", calls.Load())
	})
	t.Cleanup(end)
	return end
}

// TestPodsReplaced replaces the pods of a headless service one by one, as a rolling update
// does, while calls are made. No call fails.
func TestPodsReplaced(t *testing.T) {
	d, ca := startServiceDNS(t), newAuthority(t)
	certs := ca.agent("pods") // all pods have the same
	var pods []*host
	for i, l := range listenAtOnePort(t, 4) {
		h := &host{arbiter: startArbiter(t, filepath.Join(folder(t), "s"), &server.Server{Handler: newMux(fmt.Sprintf("pod%d", i))})}
		h.startAgentAt(cluster.AgentConfig{TLS: certs, Slots: 4}, l)
		pods = append(pods, h)
	}
	_, port, err := net.SplitHostPort(pods[0].member.Addr)
	require.NoError(t, err)
	setReady := func(ready ...*host) {
		var addrs []string
		for _, h := range ready {
			addr, _, err := net.SplitHostPort(h.member.Addr)
			require.NoError(t, err)
			addrs = append(addrs, addr)
		}
		d.set(addrs...)
	}
	setReady(pods[0])
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: d.resolver().members(port, 20*time.Millisecond)})
	awaitUp(t, f, 1)
	ctx, end := testContext(t), startLoad(t, c)
	for i, old := range pods[:3] {
		next := pods[i+1]
		setReady(old, next)
		awaitUp(t, f, 2)
		setReady(next) // when a pod is told to end, it is taken off the service
		require.NoError(t, old.agent.Shutdown(ctx))
		awaitStatus(t, f, func(s cluster.Status) bool {
			return len(s.Hosts) == 1 && s.Hosts[0].Addr == next.member.Addr
		})
		v, err := client.Call[string](ctx, c, app, "host")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("pod%d", i+1), v)
	}
	end()
}
