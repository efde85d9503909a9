//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/cluster"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// envHost makes this program an agent, a front or a server in place of tests: see runHost.
const envHost = "DIRTY_CLUSTER_TEST_HOST"

func TestMain(m *testing.M) {
	if what := os.Getenv(envHost); what != "" {
		if err := runHost(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// otherHosts are what runHost can run on some systems only. They run on in the background
// when they return, and tell of their end.
var otherHosts = map[string]func(words []string, ended chan<- error) error{}

// runHost runs one of these until standard input ends:
//
//	server SOCKET NAME           prints a line when it is ready, and one for each call that begins
//	agent SOCKET NAME ADDR CERTS prints its address
//	front SOCKET CERTS MEMBER... prints a line when it is ready
//	one of otherHosts
//
// CERTS is the folder of the certificates, a MEMBER is NAME=ADDR.
func runHost(what string) error {
	words := strings.Fields(what)
	ended := make(chan error, 1)
	certs := func(folder, name string) *cluster.TLS {
		path := filepath.Join(folder, name)
		return &cluster.TLS{CertFile: path + ".pem", KeyFile: path + ".key", CAFile: filepath.Join(folder, "ca.pem")}
	}
	serve := func(s *server.Server) error {
		l, err := server.Listen(words[1], 0)
		if err != nil {
			return err
		}
		go func() { ended <- s.Serve(l) }()
		fmt.Println("ready")
		return nil
	}
	switch words[0] {
	case "server":
		g := newGate()
		mux := g.mux(words[2])
		mux.Handle(app, "release", server.Func(func(context.Context, struct{}) (any, error) {
			g.release()
			return nil, nil
		}))
		if err := serve(&server.Server{Handler: mux}); err != nil {
			return err
		}
		go func() {
			for range g.begun {
				fmt.Println("begun")
			}
		}()
	case "agent":
		a, err := cluster.NewAgent(cluster.AgentConfig{Slots: processSlots, Arbiter: []client.Option{client.WithSocket(words[1])},
			TLS: certs(words[4], words[2])})
		if err != nil {
			return err
		}
		l, err := cluster.Listen(words[3])
		if err != nil {
			return err
		}
		go func() { ended <- a.Serve(l) }()
		fmt.Println(l.Addr())
	case "front":
		var members []cluster.Member
		for _, word := range words[3:] {
			name, addr, _ := strings.Cut(word, "=")
			members = append(members, cluster.Member{Host: name, Addr: addr})
		}
		f, err := cluster.NewFront(cluster.FrontConfig{Members: cluster.Static(members...), TLS: certs(words[2], "web1")})
		if err != nil {
			return err
		}
		if err := serve(&server.Server{FrameHandler: f}); err != nil {
			return err
		}
	default:
		if err := otherHosts[words[0]](words[1:], ended); err != nil {
			return err
		}
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		ended <- nil
	}()
	return <-ended
}

// processSlots is how many slots the agent of a process has.
const processSlots = 4

// process is a process that runs runHost.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner // what it prints
	line  string         // the first of that
}

// startProcess starts a process, and waits for its first line. It ends with the test.
func startProcess(t *testing.T, what ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(os.Args[0]), what...)
}

// startCommand starts a process by a command that runs this program.
func startCommand(t *testing.T, cmd *exec.Cmd, what ...string) *process {
	t.Helper()
	p := &process{cmd: cmd}
	p.cmd.Env = append(os.Environ(), envHost+"="+strings.Join(what, " "))
	p.cmd.Stderr = os.Stderr
	_, err := p.cmd.StdinPipe() // it ends when we do
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed
	})
	p.lines = bufio.NewScanner(out)
	require.True(t, p.lines.Scan())
	p.line = p.lines.Text()
	return p
}

// TestProcessFails kills and stops the process of an agent and of a server during a
// call. The caller does not know the outcome, and knows that soon.
func TestProcessFails(t *testing.T) {
	for _, test := range []struct {
		who    string
		signal syscall.Signal
	}{
		{"agent", syscall.SIGKILL}, {"agent", syscall.SIGSTOP}, {"server", syscall.SIGKILL},
	} {
		t.Run(fmt.Sprint(test.who, " ", test.signal), func(t *testing.T) {
			t.Parallel()
			ctx, ca := testContext(t), newAuthority(t)
			ca.agent("gpu1")
			socket := filepath.Join(folder(t), "s")
			processes := map[string]*process{"server": startProcess(t, "server", socket, "gpu1"), "agent": startProcess(t, "agent", socket, "gpu1", "127.0.0.1:0", ca.dir)}
			f, c := startFront(t, cluster.FrontConfig{TLS: ca.front("web1"), Members: cluster.Static(cluster.Member{Addr: processes["agent"].line, Host: "gpu1"})})
			awaitUp(t, f, 1)
			_, err := client.Call[string](ctx, c, app, "host")
			require.NoError(t, err)
			done := call(ctx, c, "hold")
			require.True(t, processes["server"].lines.Scan(), "the call has not begun")
			begin := time.Now()
			require.NoError(t, processes[test.who].cmd.Process.Signal(test.signal))
			got := receive(t, "the end of the call", done)
			assert.ErrorIs(t, got.err, client.ErrOutcomeUnknown)
			assert.Less(t, time.Since(begin), soon)
			t.Logf("%s %v: %v after %v", test.who, test.signal, got.err, time.Since(begin).Round(time.Millisecond))
		})
	}
}
