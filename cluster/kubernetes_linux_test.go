package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// apiAddr is where the API server of Kubernetes listens.
const apiAddr = "10.0.0.1:6443"

// kubernetes is the control plane of Kubernetes, with CoreDNS. The test plays the only
// node: for each pod it runs an agent and a Go server in the place of gunicorn.
type kubernetes struct {
	t        *testing.T
	api, dns *program
	client   *http.Client

	certs   *cluster.TLS     // those of all pods
	pods    map[string]*host // those on the node, by name
	started int              // how many pods were started so far
}

// kubeConfig is how the other programs call the API server.
const kubeConfig = `
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %s, tls-server-name: api.agent.dirty}}]
users: [{name: test, user: {token: secret}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`

// podResolv is the file /etc/resolv.conf that the kubelet gives to a pod.
const podResolv = "nameserver " + dnsAddr + "\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"

// startKubernetes starts the control plane and CoreDNS. This process looks names up there
// from now on, as a pod does.
func startKubernetes(t *testing.T, ca *authority) *kubernetes {
	t.Helper()
	k := &kubernetes{t: t, certs: ca.agent("pods"), pods: map[string]*host{}}
	dir := folder(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	cert := ca.issue("api", "api.agent.dirty", x509.ExtKeyUsageServerAuth)
	config := write("config", fmt.Sprintf(kubeConfig, apiAddr, cert.CAFile))
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	k.client = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "api.agent.dirty"}}}

	startProgram(t, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://10.0.0.1:2379", "--advertise-client-urls", "http://10.0.0.1:2379")
	ip, port, err := net.SplitHostPort(apiAddr)
	require.NoError(t, err)
	k.api = startProgram(t, "kube-apiserver", "--etcd-servers", "http://10.0.0.1:2379", "--bind-address", ip, "--secure-port", port,
		"--cert-dir", dir, "--tls-cert-file", cert.CertFile, "--tls-private-key-file", cert.KeyFile,
		"--token-auth-file", write("tokens", "secret,test,test,system:masters\n"), "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://"+apiAddr, "--service-account-key-file", cert.CertFile,
		"--service-account-signing-key-file", cert.KeyFile, "--disable-admission-plugins", "ServiceAccount")
	require.Eventually(t, func() bool { return k.ask(http.MethodGet, "/readyz", "", "", nil) == nil }, 3*patience, 100*time.Millisecond)
	startProgram(t, "kube-controller-manager", "--kubeconfig", config, "--leader-elect=false", "--secure-port", "0",
		"--controllers", "deployment-controller,replicaset-controller,endpointslice-controller")
	// Without a ttl of its own an answer may be 5 s old.
	k.dns = startCoreDNS(t, "kubernetes cluster.local {\nkubeconfig "+config+"\n}\ncache 30")

	require.NoError(t, syscall.Mount(write("resolv.conf", podResolv), "/etc/resolv.conf", "", syscall.MS_BIND, ""))

	k.must(http.MethodPost, "/api/v1/nodes", "application/json", `{"metadata": {"name": "node"}}`, nil)
	return k
}

// ask sends a request to the API server, and decodes the answer.
func (k *kubernetes) ask(method, path, contentType, body string, answer any) error {
	r, err := http.NewRequest(method, "https://"+apiAddr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Content-Type", contentType)
	got, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, got.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// must sends a request that must succeed.
func (k *kubernetes) must(method, path, contentType, body string, answer any) {
	k.t.Helper()
	require.NoError(k.t, k.ask(method, path, contentType, body, answer))
}

// patch changes an object.
func (k *kubernetes) patch(path, body string) {
	k.t.Helper()
	k.must(http.MethodPatch, path, "application/merge-patch+json", body, nil)
}

// Where objects are in the API.
const (
	podsPath       = "/api/v1/namespaces/default/pods/"
	servicePath    = "/api/v1/namespaces/default/services/agents"
	deploymentPath = "/apis/apps/v1/namespaces/default/deployments/model"
)

// await does what the node has to do until something is so.
func (k *kubernetes) await(what string, isSo func() bool) {
	k.t.Helper()
	k.t.Log(what)
	for end := time.Now().Add(3 * patience); !isSo(); time.Sleep(50 * time.Millisecond) {
		require.True(k.t, time.Now().Before(end), what)
		k.runPods()
	}
}

// runPods does what a kubelet does: it starts the pods that are new, and ends those that
// are to end. While the API server is away it does nothing.
func (k *kubernetes) runPods() {
	k.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name, DeletionTimestamp string }
			Spec     struct{ NodeName string }
		}
	}
	if k.ask(http.MethodGet, podsPath, "", "", &list) != nil {
		return
	}
	for _, item := range list.Items {
		name := item.Metadata.Name
		pod := k.pods[name]
		switch {
		case item.Spec.NodeName == "":
			k.must(http.MethodPost, podsPath+name+"/binding", "application/json",
				fmt.Sprintf(`{"metadata": {"name": %q}, "target": {"kind": "Node", "name": "node"}}`, name), nil)
		case pod == nil:
			k.startPod(name)
		case item.Metadata.DeletionTimestamp != "":
			delete(k.pods, name)
			require.NoError(k.t, pod.agent.Shutdown(testContext(k.t)))
			pod.stop()
			k.must(http.MethodDelete, podsPath+name+"?gracePeriodSeconds=0", "", "", nil)
		}
	}
}

// startPod starts an agent and its server at an address of their own.
func (k *kubernetes) startPod(name string) {
	k.t.Helper()
	k.started++
	ip := fmt.Sprintf("10.244.0.%d", k.started)
	l, err := net.Listen("tcp", ip+":9500")
	require.NoError(k.t, err)
	pod := &host{arbiter: startArbiter(k.t, filepath.Join(folder(k.t), "s"), &server.Server{Handler: newMux(name)})}
	pod.startAgentAt(cluster.AgentConfig{TLS: k.certs, Slots: 4}, l)
	k.pods[name] = pod
	k.patch(podsPath+name+"/status", fmt.Sprintf(`{"status": {"phase": "Running", "podIP": %q, "podIPs": [{"ip": %q}]}}`, ip, ip))
	k.setReady(name, true)
}

// setReady sets whether a pod is ready, as the kubelet does by its probe.
func (k *kubernetes) setReady(pod string, ready bool) {
	k.t.Helper()
	status := "False"
	if ready {
		status = "True"
	}
	k.patch(podsPath+pod+"/status", fmt.Sprintf(`{"status": {"conditions": [{"type": "Ready", "status": %q, "lastTransitionTime": %q}]}}`,
		status, time.Now().UTC().Format(time.RFC3339)))
}

// apply creates the objects that docs/CLUSTER.md shows. The API server refuses fields
// that it does not know.
func (k *kubernetes) apply() {
	k.t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "CLUSTER.md"))
	require.NoError(k.t, err)
	_, text, found := strings.Cut(string(page), "```yaml\n")
	require.True(k.t, found, "docs/CLUSTER.md shows no objects of Kubernetes")
	text, _, _ = strings.Cut(text, "```")
	// The page counts with answers that are 30 s old.
	const wait = "minReadySeconds: 40\n"
	require.Contains(k.t, text, wait)
	service, deployment, found := strings.Cut(strings.Replace(text, wait, "minReadySeconds: 12\n", 1), "---\n")
	require.True(k.t, found)
	for path, object := range map[string]string{servicePath: service, deploymentPath: deployment} {
		k.must(http.MethodPatch, path+"?fieldManager=test&fieldValidation=Strict", "application/apply-patch+yaml", object, nil)
	}
}

// awaitRollout waits until all pods of the deployment are of the newest kind and are
// available.
func (k *kubernetes) awaitRollout(what string) {
	k.t.Helper()
	k.await(what, func() bool {
		var d struct {
			Metadata struct{ Generation int }
			Spec     struct{ Replicas int }
			Status   struct{ ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas int }
		}
		return k.ask(http.MethodGet, deploymentPath, "", "", &d) == nil && d.Status.ObservedGeneration == d.Metadata.Generation &&
			d.Status.Replicas == d.Spec.Replicas && d.Status.UpdatedReplicas == d.Spec.Replicas && d.Status.AvailableReplicas == d.Spec.Replicas
	})
}

// TestKubernetes has a front follow the pods of a real Kubernetes through the DNS, under
// load. No call fails: while pods come, are not ready and go, while all are replaced, and
// while parts of Kubernetes are away.
func TestKubernetes(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	ca := newAuthority(t)
	k := startKubernetes(t, ca)
	k.apply()
	r := &resolver{} // the default one
	members := r.members("9500", cluster.DefaultDNSInterval)
	members.Name = "agents.default.svc:9500" // as the page says
	f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: members})
	follow := func(what string, hosts int) {
		t.Helper()
		k.await(what, func() bool {
			s := f.Status()
			return len(s.Hosts) == hosts && countUp(s) == hosts
		})
	}
	follow("three pods", 3)

	end := startLoad(t, c)
	scale := func(n int) { k.patch(deploymentPath, fmt.Sprintf(`{"spec": {"replicas": %d}}`, n)) }
	setAllReady := func(ready bool) {
		for name := range k.pods {
			k.setReady(name, ready)
		}
	}
	for name := range k.pods {
		k.setReady(name, false)
		follow("one is not ready", 2)
		k.setReady(name, true)
		follow("it is ready", 3)
		break
	}
	scale(4)
	follow("a fourth pod", 4)
	scale(3)
	follow("it is gone", 3)

	k.awaitRollout("all are available")
	before := maps.Clone(k.pods)
	k.patch(deploymentPath, `{"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}`)
	k.awaitRollout("all are replaced")
	follow("the new ones are there", 3)
	for name := range k.pods {
		assert.NotContains(t, before, name)
	}

	setAllReady(false)
	barren := r.barren.Load()
	k.await("none is ready", func() bool { return r.barren.Load() > barren+1 })
	follow("the last list stays", 3)
	setAllReady(true)
	k.await("all are ready", func() bool {
		_, err := r.LookupHost(t.Context(), "agents.default.svc")
		return err == nil
	})

	k.api.kill()
	lookups := r.lookups.Load()
	k.await("the API server is away", func() bool { return r.lookups.Load() > lookups+1 })
	follow("nothing has changed", 3)
	k.api.start()
	k.await("it is back", func() bool { return k.ask(http.MethodGet, "/readyz", "", "", nil) == nil })
	scale(2)
	follow("pods go again", 2)

	k.dns.kill()
	barren = r.barren.Load()
	k.await("CoreDNS is away", func() bool { return r.barren.Load() > barren+1 })
	follow("nothing has changed", 2)
	k.dns.start()
	scale(3)
	follow("pods come again", 3)
	end()
}
