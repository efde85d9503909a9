package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/dirtytest"
	"github.com/gunicorn-go/dirty/nats/embedded"
)

// TestNATS runs testdata/nats.txtar as TestScripts does, with a NATS server at $NATS. In
// the script "nats stop" stops it, and "nats start" starts it again.
func TestNATS(t *testing.T) {
	servers, err := embedded.Start(embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(servers.Close)
	control := func(ts *testscript.TestScript, _ bool, args []string) {
		switch args[0] {
		case "start":
			ts.Check(servers.StartNode(0))
		case "stop":
			ts.Check(servers.StopNode(0))
		default:
			ts.Fatalf("usage: nats start|stop")
		}
	}
	s := dirtytest.NewServer(t, scriptApp())
	dir := shortTempDir(t)
	runScript(t, "testdata/nats.txtar", s, map[string]string{
		"NATS": servers.URL(), "SOCKET": s.Socket(), "FRONT": filepath.Join(dir, "front"), "OTHER": filepath.Join(dir, "other"),
	}, scriptCommands{"nats": control})
}

// TestNATSWithTLS: an agent and a front find each other over a NATS that has an authority
// of its own, and wants certificates and a password.
func TestNATSWithTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // it has a certificate for 127.0.0.1
	t.Cleanup(web.Close)
	key, err := x509.MarshalPKCS8PrivateKey(web.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	dir := shortTempDir(t)
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	nats, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true, Username: "user", Password: "secret",
		TLSConfig: &tls.Config{Certificates: web.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert},
	})
	require.NoError(t, err)
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	require.True(t, nats.ReadyForConnections(time.Minute))

	flags := []string{"--plain", "--nats", "tls://user:secret@" + nats.Addr().String(), "--nats-ca", cert, "--nats-cert", cert, "--nats-key", keyFile}
	back, socket := filepath.Join(dir, "back"), filepath.Join(dir, "front")
	startCommand(t, "serve", "-s", back)
	startCommand(t, append([]string{"agent", "127.0.0.1:0", "-s", back}, flags...)...)
	startCommand(t, append([]string{"front", socket, "--max-wait", "5m"}, flags...)...)
	got := dirtyRun("", "exec", "-s", socket, "--timeout", "5m", "demo:App", "add", "1", "2")
	assert.Equal(t, result{exitOK, "3.0\n", ""}, got)
}

// TestNATSCommandLines: what is wrong is told before anything is started, and a password
// is never shown.
func TestNATSCommandLines(t *testing.T) {
	socket := filepath.Join(shortTempDir(t), "s")
	agent := []string{"agent", "127.0.0.1:0", "-s", socket, "--plain"}
	front := []string{"front", socket, "--plain"}
	const away = "nats://user:secret@127.0.0.1:1"
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"agent", ":0", "-s", socket, "--plain", "--nats", away}, exitUsage, "fronts cannot dial :0: want --advertise"},
		{[]string{"agent", "[::]:0", "-s", socket, "--plain", "--nats", away}, exitUsage, "fronts cannot dial [::]:0: want --advertise"},
		{append(agent, "--advertise", "gpu1:9500"), exitUsage, "--advertise without --nats"},
		{append(agent, "--advertise", "gpu1", "--nats", away), exitUsage, "--advertise gpu1: want ADDR:PORT"},
		{append(agent, "--nats-creds", "x"), exitUsage, "agent: NATS is not named: want --nats"},
		{append(agent, "--cluster", "x"), exitUsage, "agent: NATS is not named: want --nats"},
		{append(agent, "--nats", away, "--cluster", "a b"), exitUsage, `agent: --cluster: the name of the cluster is "a b"`},
		{append(agent, "--nats", away, "--nats-key", "x"), exitUsage, "want both --nats-cert and --nats-key"},
		{append(agent, "--nats", "nats://user:secret@host:port"), exitUsage, "agent: --nats: invalid port"},
		{append(agent, "--nats", away, "--nats-creds", socket), exitIO, "no such file"},
		{append(agent, "--nats", away, "--nats-ca", socket), exitIO, "no such file"},
		{append(agent, "--nats", away, "--nats-cert", socket, "--nats-key", socket), exitIO, "no such file"},
		{append(front, "--nats", away, "--member", "a:1"), exitUsage, "name the agents one way"},
		{append(front, "--nats", away, "--dns", "a:1"), exitUsage, "name the agents one way"},
		{append(front, "--stash-bucket", "b", "--member", "a:1"), exitUsage, "front: --stash-bucket: want --nats"},
		{append(front, "--stash-bucket", "b", "--nats", away, "--stash-memory"), exitUsage, "name one stash"},
		{append(front, "--stash-bucket", "a b", "--nats", away), exitUsage, `front: the stash: the name of the bucket is "a b"`},
		{append(front, "--stash-bucket", "b", "--nats", away, "--stash-replicas", "9"), exitUsage, "Replicas is 9"},
		{append(front, "--stash-replicas", "3", "--nats", away), exitUsage, "are for --stash-bucket"},
		{append(front, "--stash-ttl", "t=1h", "--nats", away), exitUsage, "are for --stash-bucket"},
		{append(front, "--stash-bucket", "b", "--nats", away, "--stash-ttl", "t"), exitUsage, "--stash-ttl t: want TABLE=TIME"},
		{append(front, "--stash-bucket", "b", "--nats", away, "--stash-ttl", "t=soon"), exitUsage, "--stash-ttl t=soon: want TABLE=TIME"},
		{append(front, "--stash-bucket", "b", "--nats", away, "--stash-ttl", "t=1ms"), exitUsage, `the TTL of table "t" is 1ms, less than 1s`},
	} {
		got := dirtyRun("", tt.args...)
		assert.Equal(t, tt.code, got.code, "%v: %s", tt.args, got.stderr)
		assert.Contains(t, got.stderr, tt.want, "%v", tt.args)
		assert.NotContains(t, got.stderr, "secret", "%v", tt.args)
	}
}
