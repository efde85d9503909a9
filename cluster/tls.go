package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty/internal/rarelog"
)

// TLS names the files of a process's certificate. Agents and fronts speak TLS 1.3,
// and each shows a certificate of the same authority.
//
// What a certificate is for stands in its DNS names and its extended key usage, so
// that a front cannot pose as an agent:
//
//	an agent  NAME.agent.dirty, such as gpu1.agent.dirty  serverAuth
//	a front   NAME.front.dirty, such as web1.front.dirty  clientAuth
//
// The files are read again when one of them has changed. That holds for connections
// that are made from then on. If they cannot be read, or do not fit together, the last
// ones stay. Whoever renews them should replace each file at once, by renaming.
//
// A TLS may be used by several agents and fronts. It must not be copied.
type TLS struct {
	CertFile string // the certificate, then those that lead to the authority, in PEM
	KeyFile  string // its private key, in PEM
	CAFile   string // the authority's certificates, in PEM

	// Logger gets a line, once a second at most, when a connection is made and the files
	// cannot be read again. Watch for it: the certificate from before serves on, but only
	// until it expires. By default there is none.
	Logger *slog.Logger

	mu     sync.Mutex
	log    *rarelog.Logger
	loaded *identity
	stamps []stamp // of the files, as they were loaded
}

// The ends of the DNS names.
const (
	agentSuffix = ".agent.dirty"
	frontSuffix = ".front.dirty"
)

// handshakeTimeout bounds the TLS handshake at an agent.
const handshakeTimeout = 5 * time.Second

// identity is what a TLS has loaded.
type identity struct {
	cert tls.Certificate
	ca   *x509.CertPool
}

// stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified time.Time
	mode     fs.FileMode
}

// load returns the identity, from the files if they have changed. If that fails, it
// returns the one from before.
func (t *TLS) load() (*identity, error) {
	id, err := t.loadFiles()
	if id != nil && err != nil {
		t.logger().WriteRarely(slog.LevelError, 1, "dirty: the files of the certificate cannot be read again, the last ones stay", slog.Any("error", err))
		err = nil
	}
	return id, err
}

// logger returns what writes to Logger.
func (t *TLS) logger() *rarelog.Logger {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log == nil {
		t.log = rarelog.New(t.Logger, nil)
	}
	return t.log
}

// writeRest says how many lines were dropped since the last one. t may be nil.
func (t *TLS) writeRest() {
	if t != nil {
		t.logger().WriteRest()
	}
}

// loadFiles is load without its log line: it returns the identity from before together
// with the error.
func (t *TLS) loadFiles() (*identity, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stamps, err := t.stat()
	if err == nil && (t.loaded == nil || !slices.Equal(stamps, t.stamps)) {
		var id *identity
		if id, err = t.read(); err == nil {
			t.loaded, t.stamps = id, stamps
		}
	}
	return t.loaded, err
}

// stat looks at the files.
func (t *TLS) stat() ([]stamp, error) {
	var stamps []stamp
	for _, path := range []string{t.CertFile, t.KeyFile, t.CAFile} {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp{info.Size(), info.ModTime(), info.Mode()})
	}
	return stamps, nil
}

// read reads the files.
func (t *TLS) read() (*identity, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, err
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
	}
	return &identity{cert, ca}, nil
}

// name returns the NAME of the own certificate for a role.
func (t *TLS) name(suffix string) (string, error) {
	id, err := t.load()
	if err != nil {
		return "", err
	}
	name, ok := nameOf(id.cert.Leaf, suffix)
	if !ok {
		return "", fmt.Errorf("the certificate %s names no *%s: it has %q", t.CertFile, suffix, id.cert.Leaf.DNSNames)
	}
	return name, nil
}

// nameOf returns the NAME in a certificate's DNS names.
func nameOf(cert *x509.Certificate, suffix string) (name string, ok bool) {
	for _, dns := range cert.DNSNames {
		name, ok := strings.CutSuffix(dns, suffix)
		if ok && name != "" && !strings.Contains(name, "*") {
			return name, true
		}
	}
	return "", false
}

// server returns the configuration of an agent.
func (t *TLS) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return t.config(frontSuffix, "", x509.ExtKeyUsageClientAuth)
		},
	}
}

// client returns the configuration of a front that connects to an agent. host is the
// name that the agent must have; "" accepts all.
func (t *TLS) client(host string) (*tls.Config, error) {
	return t.config(agentSuffix, host, x509.ExtKeyUsageServerAuth)
}

// config returns the configuration for one connection. What the peer must be is
// checked in one place for both ends.
func (t *TLS) config(suffix, host string, usage x509.ExtKeyUsage) (*tls.Config, error) {
	id, err := t.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.cert},
		ClientAuth:   tls.RequireAnyClientCert, // VerifyConnection does the rest
		// A resumed session would be one of the certificates from before.
		SessionTicketsDisabled: true,
		// The names are roles, not addresses. VerifyConnection checks them, and all
		// that would be checked otherwise.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyPeer(state.PeerCertificates, id.ca, suffix, host, usage)
		},
	}, nil
}

// verifyPeer checks the certificate of the other end: the authority, what it is for,
// and the name.
func verifyPeer(chain []*x509.Certificate, ca *x509.CertPool, suffix, host string, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("the peer has shown no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return err
	}
	name, ok := nameOf(leaf, suffix)
	switch {
	case !ok:
		return fmt.Errorf("the certificate of the peer names no *%s: it has %q", suffix, leaf.DNSNames)
	case host != "" && name != host:
		return fmt.Errorf("the certificate of the peer is that of %q, not of %q", name, host)
	}
	return nil
}
