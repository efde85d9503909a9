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

// envHost makes this program an agent, or a server, in place of tests: see runHost.
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

// runHost runs "server SOCKET" or "agent SOCKET FOLDER", where the certificate is, until
// standard input ends. It prints a line when it is ready, the agent its address.
func runHost(what string) error {
	words := strings.Fields(what)
	ended := make(chan error, 1)
	switch words[0] {
	case "server":
		mux := newMux("process")
		mux.Handle(app, "hold", server.Func(func(ctx context.Context, _ struct{}) (any, error) {
			fmt.Println("begun")
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		l, err := server.Listen(words[1], 0)
		if err != nil {
			return err
		}
		go func() { ended <- (&server.Server{Handler: mux}).Serve(l) }()
		fmt.Println("ready")
	case "agent":
		a, err := cluster.NewAgent(cluster.AgentConfig{Slots: 4, Arbiter: []client.Option{client.WithSocket(words[1])},
			TLS: &cluster.TLS{CertFile: words[2] + "/gpu1.pem", KeyFile: words[2] + "/gpu1.key", CAFile: words[2] + "/ca.pem"}})
		if err != nil {
			return err
		}
		l, err := cluster.Listen("127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { ended <- a.Serve(l) }()
		fmt.Println(l.Addr())
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		ended <- nil
	}()
	return <-ended
}

// process is a process that runs runHost.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner // what it prints
	line  string         // the first of that
}

func startProcess(t *testing.T, what ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
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
			processes := map[string]*process{"server": startProcess(t, "server", socket), "agent": startProcess(t, "agent", socket, ca.dir)}
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
			assert.Less(t, time.Since(begin), 15*time.Second)
			t.Logf("%s %v: %v after %v", test.who, test.signal, got.err, time.Since(begin).Round(time.Millisecond))
		})
	}
}
