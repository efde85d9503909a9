package cluster_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// app is the app that the servers of the tests have.
const app = "app:Model"

// patience bounds what is awaited in tests, of which none should take so long.
const patience = time.Minute

// soon bounds how long a caller may not know that its call is lost. It takes some 3 s, on
// a busy machine more; less than it takes if only answerTimeout ends the wait.
const soon = 25 * time.Second

// validity is how long certificates are valid, and how long they have been. Clocks may be
// off by some days.
const validity = 100 * time.Hour

// testContext is the context of a test.
func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	tb.Cleanup(cancel)
	return ctx
}

// folder makes a folder whose path is short enough for a socket.
func folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "cluster")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// logBuffer is a log that several goroutines write and a test reads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// needTool returns the path of a program. A machine without it skips the test, but in CI
// the test fails.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "%s is not installed", name)
		skipLoudly(t, "%s is not installed", name)
	}
	return path
}

// skipLoudly skips a test, and says so loudly.
func skipLoudly(t *testing.T, format string, args ...any) {
	t.Helper()
	reason := strings.TrimSpace(fmt.Sprintf(format, args...))
	loud.Say("cluster: NOT RUN: %s: %s", t.Name(), reason)
	t.Skip(reason)
}

// authority signs the certificates of a test.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	writes int // how many files were written
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: folder(tb)}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	require.NoError(tb, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(tb, err)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// write writes a PEM file as renewal tools do, at once. Each has a time of its own, by
// which its change is seen: a file system may count in steps of several milliseconds.
func (a *authority) write(name, kind string, der []byte) {
	a.tb.Helper()
	path := filepath.Join(a.dir, name)
	require.NoError(a.tb, os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	a.writes++
	at := time.Now().Add(time.Duration(a.writes) * time.Second)
	require.NoError(a.tb, os.Chtimes(path+".new", at, at))
	require.NoError(a.tb, os.Rename(path+".new", path))
}

// issue makes a certificate for a name, such as gpu1.agent.dirty, in files of a label.
func (a *authority) issue(label, name string, usage x509.ExtKeyUsage) *cluster.TLS {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.tb, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	require.NoError(a.tb, err)
	template := &x509.Certificate{SerialNumber: serial, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-validity), NotAfter: time.Now().Add(validity)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.tb, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.tb, err)
	a.write(label+".pem", "CERTIFICATE", der)
	a.write(label+".key", "PRIVATE KEY", private)
	return &cluster.TLS{CertFile: filepath.Join(a.dir, label+".pem"), KeyFile: filepath.Join(a.dir, label+".key"),
		CAFile: filepath.Join(a.dir, "ca.pem")}
}

func (a *authority) agent(name string) *cluster.TLS {
	return a.issue(name, name+".agent.dirty", x509.ExtKeyUsageServerAuth)
}

func (a *authority) front(name string) *cluster.TLS {
	return a.issue(name, name+".front.dirty", x509.ExtKeyUsageClientAuth)
}

// arbiter is a Go server in the place of an arbiter.
type arbiter struct {
	tb     testing.TB
	path   string
	server *server.Server
	served chan error
}

// startArbiter starts a server at a socket.
func startArbiter(tb testing.TB, path string, s *server.Server) *arbiter {
	tb.Helper()
	l, err := server.Listen(path, 0)
	require.NoError(tb, err)
	a := &arbiter{tb: tb, path: path, server: s, served: make(chan error, 1)}
	go func() { a.served <- s.Serve(l) }()
	tb.Cleanup(a.stop)
	return a
}

// stop ends the server as a crash does.
func (a *arbiter) stop() {
	if a.server == nil {
		return
	}
	assert.NoError(a.tb, a.server.Close())
	assert.ErrorIs(a.tb, <-a.served, server.ErrServerClosed)
	a.server = nil
}

// host is an arbiter with its agent.
type host struct {
	*arbiter
	agent  *cluster.Agent
	member cluster.Member
	served chan error
}

// startHost starts a host. By default it has one slot, and a certificate of its name.
func startHost(tb testing.TB, name string, handler server.Handler, cfg cluster.AgentConfig) *host {
	tb.Helper()
	h := &host{arbiter: startArbiter(tb, filepath.Join(folder(tb), name), &server.Server{Handler: handler})}
	h.startAgent(cfg)
	return h
}

// startAgent starts the agent of a host.
func (h *host) startAgent(cfg cluster.AgentConfig) {
	h.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.tb, err)
	h.startAgentAt(cfg, l)
}

// startAgentAt starts the agent of a host at a listener.
func (h *host) startAgentAt(cfg cluster.AgentConfig, l net.Listener) {
	h.tb.Helper()
	cfg.Arbiter = append(cfg.Arbiter, client.WithSocket(h.path))
	if cfg.Slots == 0 {
		cfg.Slots = 1
	}
	var err error
	h.agent, err = cluster.NewAgent(cfg)
	require.NoError(h.tb, err)
	agent, served := h.agent, make(chan error, 1)
	go func() { served <- agent.Serve(l) }()
	h.served = served
	h.tb.Cleanup(func() {
		assert.NoError(h.tb, agent.Close())
		assert.ErrorIs(h.tb, <-served, server.ErrServerClosed)
	})
	h.member = cluster.Member{Addr: l.Addr().String()}
}

// startFront starts a front and a client of it.
func startFront(tb testing.TB, cfg cluster.FrontConfig, opts ...client.Option) (*cluster.Front, *client.Client) {
	tb.Helper()
	f, err := cluster.NewFront(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, f.Close()) })
	c, err := f.Client(opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close() })
	return f, c
}

// errBoom is an error of a handler.
var errBoom = errors.New("boom")
