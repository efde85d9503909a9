package cluster_test

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var kubernetesFlag = flag.String("cluster.kubernetes", "", "the `folder` with the programs of Kubernetes that TestCoreDNS and TestKubernetes run")

// envNetwork says that this program runs in a network of its own.
const envNetwork = "DIRTY_CLUSTER_TEST_NETWORK"

// inOwnNetwork reports whether this process has a network of its own, in which each
// address that begins with 10 is its own, and each port is free. It has mounts of its own
// too. If not, it runs the test in a process that has.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envNetwork) != "" {
		for _, words := range [][]string{
			{"ip", "link", "set", "lo", "up"},
			{"ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"},
		} {
			out, err := runTool(words...)
			require.NoError(t, err, out)
		}
		return true
	}
	if *kubernetesFlag == "" {
		t.Skip("needs programs of Kubernetes: docs/CLUSTER.md says how to run it")
	}
	folder, err := filepath.Abs(*kubernetesFlag)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$", "-cluster.kubernetes", folder)
	cmd.Env = append(os.Environ(), envNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, // only root may do so
		Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	return false
}

// program is a program of Kubernetes that can be killed and started again.
type program struct {
	t    *testing.T
	name string
	args []string
	cmd  *exec.Cmd // nil if it does not run
	log  logBuffer
}

// startProgram starts a program. It ends with the test.
func startProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, args: args}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			log := p.log.String()
			const most = 4000 // bytes
			t.Logf("the log of %s ends with:\n%s", name, log[max(0, len(log)-most):])
		}
	})
	return p
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(*kubernetesFlag, p.name), p.args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if this test crashes
	require.NoError(p.t, p.cmd.Start())
}

// kill kills the program, unless it does not run.
func (p *program) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed
		p.cmd = nil
	}
}

// dnsAddr is where CoreDNS listens.
const dnsAddr = "10.96.0.10"

// startCoreDNS starts CoreDNS with directives for the domain of the cluster.
func startCoreDNS(t *testing.T, directives string) *program {
	t.Helper()
	config := filepath.Join(folder(t), "Corefile")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "cluster.local {\nbind %s\nerrors\nloadbalance\n%s\n}\n", dnsAddr, directives), 0o600))
	return startProgram(t, "coredns", "-conf", config)
}

// coreDNS is a CoreDNS that reads the pods from a file.
type coreDNS struct {
	*program
	file   string
	zone   bool // the file is a zone, not a list of hosts
	serial int  // of the zone
}

// write replaces the file by one with pods that are ready, or with none.
func (c *coreDNS) write(pods ...string) {
	c.t.Helper()
	c.serial++
	var text bytes.Buffer
	if c.zone {
		fmt.Fprintf(&text, "cluster.local. 1 IN SOA ns admin %d 60 60 60 1\ncluster.local. 1 IN NS ns\n", c.serial)
	}
	for _, pod := range pods {
		switch {
		case !c.zone:
			fmt.Fprintln(&text, pod, serviceName)
		case netip.MustParseAddr(pod).Is4():
			fmt.Fprintln(&text, serviceName, "1 IN A", pod)
		default:
			fmt.Fprintln(&text, serviceName, "1 IN AAAA", pod)
		}
	}
	require.NoError(c.t, os.WriteFile(c.file+".new", text.Bytes(), 0o600))
	require.NoError(c.t, os.Rename(c.file+".new", c.file))
}

func (c *coreDNS) set(pods ...string) {
	c.t.Helper()
	c.write(pods...)
	if c.cmd == nil {
		c.start()
	}
}

func (c *coreDNS) failures() map[string]func() {
	return map[string]func(){
		"no records": func() { c.set() }, // to a zone there is no such name then; else it is a failure of the server
		"no server":  c.kill,
	}
}

func (c *coreDNS) resolver() *resolver {
	addr := net.JoinHostPort(dnsAddr, "53")
	return newResolver(addr, addr)
}

// TestCoreDNS does with a real CoreDNS what TestHeadlessService does.
func TestCoreDNS(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, test := range []struct {
		name, directives string
		zone             bool
	}{
		{"hosts", "hosts %s {\nttl 1\nreload 10ms\n}", false},
		{"hosts, cached", "cache 1\nhosts %s {\nttl 1\nreload 10ms\n}", false},
		{"zone", "file %s {\nreload 10ms\n}", true},
		{"zone, cached", "cache 1\nfile %s {\nreload 10ms\n}", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &coreDNS{program: &program{t: t}, file: filepath.Join(folder(t), "pods"), zone: test.zone}
			c.write()
			c.program = startCoreDNS(t, fmt.Sprintf(test.directives, c.file))
			testHeadlessService(t, c)
		})
	}
}
