package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dialTLS connects to an agent as anybody can, and asks for its status. It returns the
// agent's certificate.
func dialTLS(tb testing.TB, addr string, cfg *tls.Config) (*x509.Certificate, error) {
	tb.Helper()
	cfg.InsecureSkipVerify = true
	d := net.Dialer{Timeout: patience}
	nc, err := tls.DialWithDialer(&d, "tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	require.NoError(tb, nc.SetDeadline(time.Now().Add(patience)))
	c := dirty.NewConn(nc)
	if err := c.WriteMessage(dirty.NewStatusRequest(1)); err != nil {
		return nil, err
	}
	if _, err := c.ReadMessage(); err != nil {
		return nil, err
	}
	return nc.ConnectionState().PeerCertificates[0], nil
}

// pair loads the certificate of files.
func pair(tb testing.TB, files *cluster.TLS) []tls.Certificate {
	tb.Helper()
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	require.NoError(tb, err)
	return []tls.Certificate{cert}
}

// TestAgentRefusesCertificates checks that nobody without a front's certificate gets
// an answer from an agent.
func TestAgentRefusesCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	for name, test := range map[string]struct {
		cfg  *tls.Config
		fine bool
	}{
		"a front's":               {&tls.Config{Certificates: pair(t, ca.front("web1"))}, true},
		"none":                    {&tls.Config{}, false},
		"of another authority":    {&tls.Config{Certificates: pair(t, other.front("web1"))}, false},
		"an agent's":              {&tls.Config{Certificates: pair(t, ca.agent("gpu2"))}, false},
		"an agent's for clients":  {&tls.Config{Certificates: pair(t, ca.issue("x", "x.agent.dirty", x509.ExtKeyUsageClientAuth))}, false},
		"a front's for servers":   {&tls.Config{Certificates: pair(t, ca.issue("y", "y.front.dirty", x509.ExtKeyUsageServerAuth))}, false},
		"without a role":          {&tls.Config{Certificates: pair(t, ca.issue("z", "z.example.com", x509.ExtKeyUsageClientAuth))}, false},
		"for all fronts":          {&tls.Config{Certificates: pair(t, ca.issue("s", "*.front.dirty", x509.ExtKeyUsageClientAuth))}, false},
		"a front's, over TLS 1.2": {&tls.Config{Certificates: pair(t, ca.front("web2")), MaxVersion: tls.VersionTLS12}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dialTLS(t, h.member.Addr, test.cfg)
			if test.fine {
				assert.NoError(t, err)
			} else {
				assert.Error(t, err)
			}
		})
	}
}

// TestFrontRefusesCertificates checks that a front does not call what is no agent, or
// not the one that it should be.
func TestFrontRefusesCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		server *cluster.TLS
		host   string
		want   string
	}{
		"of another authority":   {other.agent("gpu1"), "", "unknown authority"},
		"of another host":        {ca.agent("gpu2"), "gpu1", `is that of "gpu2", not of "gpu1"`},
		"a front's":              {ca.front("web2"), "", "incompatible key usage"},
		"an agent's for clients": {ca.issue("x", "x.agent.dirty", x509.ExtKeyUsageClientAuth), "", "incompatible key usage"},
		"a front's for servers":  {ca.issue("y", "y.front.dirty", x509.ExtKeyUsageServerAuth), "", "names no *.agent.dirty"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := pair(t, test.server)
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert})
			require.NoError(t, err)
			acceptFrom(t, l, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)) }) // which makes the handshake
			f, _ := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"),
				Members: cluster.Static(cluster.Member{Addr: l.Addr().String(), Host: test.host})})
			awaitStatus(t, f, func(s cluster.Status) bool { // on a busy machine it may be too late for a handshake at first
				return len(s.Hosts) == 1 && s.Hosts[0].State == "down" && strings.Contains(s.Hosts[0].Error, test.want)
			})
		})
	}
}

// TestCertificatesAreReloaded checks that new files are used for new connections, and
// that broken ones change nothing.
func TestCertificatesAreReloaded(t *testing.T) {
	ca := newAuthority(t)
	files := ca.agent("gpu1")
	var log logBuffer
	files.Logger = slog.New(slog.NewTextHandler(&log, nil))
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: files})
	cfg := &tls.Config{Certificates: pair(t, ca.front("web1"))}
	serial := func() string {
		cert, err := dialTLS(t, h.member.Addr, cfg)
		require.NoError(t, err)
		return cert.SerialNumber.String()
	}
	first := serial()
	assert.Equal(t, first, serial())
	ca.agent("gpu1") // the same files
	second := serial()
	assert.NotEqual(t, first, second)
	assert.Empty(t, log.String())
	ca.write("gpu1.key", "PRIVATE KEY", []byte("broken"))
	assert.Equal(t, second, serial())
	assert.Contains(t, log.String(), "cannot be read again")
	require.NoError(t, os.Remove(filepath.Join(ca.dir, "gpu1.pem")))
	assert.Equal(t, second, serial())
	ca.agent("gpu1")
	assert.NotEqual(t, second, serial())

	// A new authority, and a front that was there before it.
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	_, err := client.Call[string](testContext(t), c, app, "host")
	require.NoError(t, err)
	other := newAuthority(t)
	other.dir = ca.dir
	other.write("ca.pem", "CERTIFICATE", other.cert.Raw)
	_, err = dialTLS(t, h.member.Addr, cfg)
	assert.Error(t, err, "the old authority counts no more")
	other.agent("gpu1")
	cfg.Certificates = pair(t, other.front("web1"))
	serial()
	_, err = client.Call[string](testContext(t), c, app, "host")
	require.NoError(t, err)
}

// TestNewRefuses checks what is refused before anything is started.
func TestNewRefuses(t *testing.T) {
	ca := newAuthority(t)
	members := cluster.Static()
	for name, test := range map[string]struct {
		do   func() error
		want string
	}{
		"agent without TLS":     {func() error { _, err := cluster.NewAgent(cluster.AgentConfig{}); return err }, "TLS is not set"},
		"agent with a front's":  {func() error { _, err := cluster.NewAgent(cluster.AgentConfig{TLS: ca.front("w")}); return err }, "names no *.agent.dirty"},
		"agent without files":   {func() error { _, err := cluster.NewAgent(cluster.AgentConfig{TLS: &cluster.TLS{}}); return err }, "no such file"},
		"agent with Slots -1":   {func() error { _, err := cluster.NewAgent(cluster.AgentConfig{Plain: true, Slots: -1}); return err }, "Slots -1"},
		"front without Members": {func() error { _, err := cluster.NewFront(cluster.FrontConfig{Plain: true}); return err }, "Members is not set"},
		"front without TLS":     {func() error { _, err := cluster.NewFront(cluster.FrontConfig{Members: members}); return err }, "TLS is not set"},
		"front with an agent's": {func() error {
			_, err := cluster.NewFront(cluster.FrontConfig{Members: members, TLS: ca.agent("g")})
			return err
		}, "names no *.front.dirty"},
		"front with MaxWait -1": {func() error {
			_, err := cluster.NewFront(cluster.FrontConfig{Members: members, Plain: true, MaxWait: -1})
			return err
		}, "MaxWait -1ns"},
		"front with wrong Limits": {func() error {
			_, err := cluster.NewFront(cluster.FrontConfig{Members: members, Plain: true, Limits: dirty.Limits{MaxDepth: -1}})
			return err
		}, "MaxDepth"},
	} {
		t.Run(name, func(t *testing.T) { assert.ErrorContains(t, test.do(), test.want) })
	}
}

// TestConnectionsWithoutHandshake checks that connections that say nothing take no
// place of those that do.
func TestConnectionsWithoutHandshake(t *testing.T) {
	ca := newAuthority(t)
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1"), MaxConns: 8})
	for range 50 {
		nc, err := net.Dial("tcp", h.member.Addr)
		require.NoError(t, err)
		defer nc.Close()
	}
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	_, err := client.Call[string](testContext(t), c, app, "host")
	assert.NoError(t, err)
}

// TestHostileFront checks that a front with a right certificate can do anything and
// disturbs no other.
func TestHostileFront(t *testing.T) {
	ctx, ca := testContext(t), newAuthority(t)
	h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
	_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(h.member)})
	cfg := &tls.Config{Certificates: pair(t, ca.front("web2")), InsecureSkipVerify: true}
	const agent = "dirty-cluster:Agent"
	hello := func(id string, version int) []any { return []any{map[string]any{"front": id, "version": version}} }
	for name, requests := range map[string][]*dirty.Request{
		"hello without arguments":    {dirty.NewRequest(1, agent, "hello", nil, nil)},
		"hello of another version":   {dirty.NewRequest(1, agent, "hello", hello("x", 99), nil)},
		"hello without an id":        {dirty.NewRequest(1, agent, "hello", hello("", 1), nil)},
		"hello with a long id":       {dirty.NewRequest(1, agent, "hello", hello(string(make([]byte, 65)), 1), nil)},
		"hello twice":                {dirty.NewRequest(1, agent, "hello", hello("x", 1), nil), dirty.NewRequest(2, agent, "hello", hello("y", 1), nil)},
		"wait without arguments":     {dirty.NewRequest(1, agent, "wait", nil, nil)},
		"wait for what is not there": {dirty.NewRequest(1, agent, "hello", hello("x", 1), nil), dirty.NewRequest(2, agent, "wait", []any{"no:App", 5}, nil), dirty.NewRequest(3, agent, "nothing", nil, nil)},
		"wait for less than nothing": {dirty.NewRequest(1, agent, "hello", hello("x", 1), nil), dirty.NewRequest(2, agent, "wait", []any{app, int64(-1 << 62)}, nil), dirty.NewRequest(3, agent, "nothing", nil, nil)},
		"an unknown action":          {dirty.NewRequest(1, agent, "boom", nil, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := tls.Dial("tcp", h.member.Addr, cfg)
			require.NoError(t, err)
			defer nc.Close()
			require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
			conn := dirty.NewConn(nc)
			for i, r := range requests {
				require.NoError(t, conn.WriteMessage(r))
				m, err := conn.ReadMessage()
				require.NoError(t, err)
				if i == len(requests)-1 {
					assert.Equal(t, dirty.TypeError, m.Type(), "%+v", m)
				}
			}
			_, err = client.Call[string](ctx, c, app, "host")
			assert.NoError(t, err)
		})
	}
	t.Run("waits for all slots and takes none", func(t *testing.T) {
		nc, err := tls.Dial("tcp", h.member.Addr, cfg)
		require.NoError(t, err)
		defer nc.Close()
		conn := dirty.NewConn(nc)
		for _, r := range []*dirty.Request{dirty.NewRequest(1, agent, "hello", hello("x", 1), nil), dirty.NewRequest(2, agent, "wait", []any{app, int64(1 << 40)}, nil)} {
			require.NoError(t, conn.WriteMessage(r))
			_, err := conn.ReadMessage()
			require.NoError(t, err)
		}
		for range 20 {
			_, err := client.Call[string](ctx, c, app, "host")
			require.NoError(t, err)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		nc, err := tls.Dial("tcp", h.member.Addr, cfg)
		require.NoError(t, err)
		defer nc.Close()
		_, err = nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		_, err = nc.Read(make([]byte, 1))
		assert.Error(t, err)
		_, err = client.Call[string](ctx, c, app, "host")
		assert.NoError(t, err)
	})
}

// oddListener is a listener whose first Accept does something odd.
type oddListener struct {
	net.Listener
	accept func() (net.Conn, error)
	once   sync.Once
}

func (l *oddListener) Accept() (nc net.Conn, err error) {
	odd := false
	l.once.Do(func() { odd = true })
	if odd {
		return l.accept()
	}
	return l.Listener.Accept()
}

// TestOddListeners checks that a listener may do anything: Serve ends with an error, or
// goes on.
func TestOddListeners(t *testing.T) {
	ca := newAuthority(t)
	for name, test := range map[string]struct {
		accept func() (net.Conn, error)
		want   string // what Serve returns; "": it goes on
	}{
		"panics":                 {func() (net.Conn, error) { panic(errBoom) }, "the listener panicked: boom"},
		"ends its goroutine":     {func() (net.Conn, error) { runtime.Goexit(); return nil, nil }, "runtime.Goexit"},
		"fails":                  {func() (net.Conn, error) { return nil, errBoom }, "boom"},
		"lacks file descriptors": {func() (net.Conn, error) { return nil, syscall.EMFILE }, ""},
		"returns nothing":        {func() (net.Conn, error) { return nil, nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, "gpu1", newMux("gpu1"), cluster.AgentConfig{TLS: ca.agent("gpu1")})
			a, err := cluster.NewAgent(cluster.AgentConfig{TLS: ca.agent("gpu1"), Arbiter: []client.Option{client.WithSocket(h.path)}})
			require.NoError(t, err)
			l, err := cluster.Listen("127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- a.Serve(&oddListener{Listener: l, accept: test.accept}) }()
			if test.want == "" {
				_, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(cluster.Member{Addr: l.Addr().String()})})
				_, err := client.Call[string](testContext(t), c, app, "host")
				require.NoError(t, err)
				require.NoError(t, a.Close())
				assert.ErrorIs(t, receive(t, "the end", served), server.ErrServerClosed)
				return
			}
			assert.ErrorContains(t, receive(t, "the end", served), test.want)
			require.NoError(t, a.Close())
		})
	}
}
