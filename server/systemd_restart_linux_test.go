package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/internal/pages"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSystemdNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	assert.NoError(t, server.SystemdNotify("READY=1"))
	for _, address := range []string{filepath.Join(folder(t), "n"), "@" + filepath.Base(folder(t))} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		require.NoError(t, err)
		t.Setenv("NOTIFY_SOCKET", address)
		require.NoError(t, server.SystemdNotify("READY=1", "MAINPID=42"))
		b := make([]byte, 100)
		n, err := l.Read(b)
		require.NoError(t, err)
		assert.Equal(t, "READY=1\nMAINPID=42", string(b[:n]))
		assert.Equal(t, address, os.Getenv("NOTIFY_SOCKET"))
		for _, bad := range []string{"", "READY", "=1", "STATUS=a\nREADY=1"} {
			assert.ErrorContains(t, server.SystemdNotify("READY=1", bad), "is not one assignment")
		}
		require.NoError(t, l.Close())
		assert.ErrorContains(t, server.SystemdNotify("READY=1"), "dirty: systemd: NOTIFY_SOCKET=")
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1")
	assert.ErrorContains(t, server.SystemdNotify("READY=1"), "not the address of a Unix socket")
}

// systemd is a service manager in a pid namespace and a mount namespace of its own.
type systemd struct {
	commands io.Writer
	output   *bufio.Scanner
}

// startSystemd starts it. Where that is not possible it says so and skips the test.
// dir is its folder for units.
func startSystemd(t *testing.T, dir string) *systemd {
	t.Helper()
	const program = "/usr/lib/systemd/systemd"
	_, err := os.Stat(program)
	if os.Getenv("CI") == "true" {
		require.NoError(t, err)
	}
	if err != nil || os.Geteuid() != 0 {
		loud.Say("server: NOT RUN: %s, which needs root and %s: the recipes of docs/RESTART.md", t.Name(), program)
		t.Skip("needs root and systemd")
	}
	// The folder /run is hidden: it may be that of another systemd.
	script := `mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user &&
export XDG_RUNTIME_DIR=/run/user && chmod 700 /run/user || exit
` + program + ` --user --log-target=console >"$XDG_CONFIG_HOME/log" 2>&1 </dev/null &
until [ -S /run/user/systemd/private ]; do kill -0 $! || exit; sleep 0.02; done
echo ready
while read -r line; do eval "$line" 2>&1; echo "status $?"; done`
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir, "SYSTEMCTL_SKIP_SYSV=1")
	cmd.Stderr = os.Stderr
	commands, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("the log of systemd and of the program: %s", log)
		}
	})
	s := &systemd{commands, bufio.NewScanner(out)}
	if !s.output.Scan() || s.output.Text() != "ready" {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		loud.Say("server: NOT RUN: %s: systemd does not start here: %s", t.Name(), log)
		t.Skip("systemd does not start")
	}
	return s
}

// do runs a command beside systemd, and returns what it prints.
func (s *systemd) do(t *testing.T, command string) string {
	t.Helper()
	_, err := fmt.Fprintln(s.commands, command)
	require.NoError(t, err)
	var lines []string
	for s.output.Scan() {
		if status, ok := strings.CutPrefix(s.output.Text(), "status "); ok {
			require.Equal(t, "0", status, "%s: %q", command, lines)
			return strings.Join(lines, "\n")
		}
		lines = append(lines, s.output.Text())
	}
	require.Fail(t, "systemd has ended")
	return ""
}

// TestSystemd restarts the program of docs/RESTART.md under a real systemd, with the
// units that stand there, with and without a socket of systemd.
func TestSystemd(t *testing.T) {
	for name, hasSocket := range map[string]bool{"with a socket": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			path, units := filepath.Join(dir, "run", "s"), filepath.Join(dir, "systemd", "user")
			require.NoError(t, os.MkdirAll(units, 0o700))
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			edit := strings.NewReplacer(
				"/run/greeter/dirty.sock", path, "/usr/local/bin/greeter", filepath.Join(dir, "greeter"),
				"User=myapp\n", "", "RuntimeDirectory=greeter\n", "", // it is one user's systemd
			)
			program, err := pages.Find("..", "docs/RESTART.md", "main.go")
			require.NoError(t, err)
			source := filepath.Join(dir, "main.go")
			require.NoError(t, os.WriteFile(source, []byte(edit.Replace(program.Code)), 0o600))
			out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "greeter"), source).CombinedOutput()
			require.NoError(t, err, "%s", out)
			blocks, err := pages.Read("..", "docs/RESTART.md")
			require.NoError(t, err)
			written := 0
			for _, b := range blocks {
				if b.Language != "ini" {
					continue
				}
				text := edit.Replace(b.Code)
				if !hasSocket {
					text = strings.Replace(text, "Sockets=greeter.socket\n", "", 1)
				}
				first, _, _ := strings.Cut(text, "\n")
				if unit := filepath.Base(first); hasSocket || unit == "greeter.service" {
					require.NoError(t, os.WriteFile(filepath.Join(units, unit), []byte(text), 0o600))
					written++
				}
			}
			require.Equal(t, map[bool]int{true: 2, false: 1}[hasSocket], written)
			sd := startSystemd(t, dir)

			if hasSocket {
				sd.do(t, "systemctl --user start greeter.socket")
			}
			sd.do(t, "systemctl --user start greeter.service")
			main := func() string { return sd.do(t, "systemctl --user show -P MainPID greeter.service") }
			c := newClient(t, path, client.WithWaitForServer(time.Minute))
			greeting := func() string {
				v, err := c.Execute(ctx, "greeter:App", "greet", "you")
				require.NoError(t, err)
				return v.(string)
			}
			served := func(pid string) bool { return greeting() == fmt.Sprintf("Hello you, this is %s.", pid) }
			require.True(t, served(main()))

			l := &load{stop: make(chan struct{})}
			for range 4 {
				l.runKeptCalls(t, path, func(id uint64) (dirty.Message, func(any) bool) {
					return dirty.NewRequest(id, "greeter:App", "greet", []any{"me"}, nil), func(result any) bool {
						text, _ := result.(string)
						return strings.HasPrefix(text, "Hello me, this is ")
					}
				})
			}
			l.runStash(t, path)
			const reloads = 5
			for range reloads {
				before := main()
				sd.do(t, "systemctl --user reload greeter.service")
				eventually(t, "systemd knows the new process", func() bool { return main() != before })
				eventually(t, "the new process serves", func() bool { return served(main()) })
				eventually(t, "the old process has ended", func() bool { return sd.do(t, "kill -0 "+before+" || echo gone") != "" })
				assert.Equal(t, "active", sd.do(t, "systemctl --user is-active greeter.service"))
			}
			close(l.stop)
			l.callers.Wait()
			t.Logf("%d reloads, %d calls, %d failed, %d wrong", reloads, l.ok.Load(), l.failed.Load(), l.wrong.Load())
			assert.Zero(t, l.failed.Load(), "%q", l.failures)
			assert.Zero(t, l.wrong.Load(), "%q", l.wrongs)
			assert.Greater(t, l.ok.Load(), int64(100))
			assert.Equal(t, "0", sd.do(t, "systemctl --user show -P NRestarts greeter.service"), "systemd saw no crash")

			before := main()
			sd.do(t, "kill -9 "+before)
			eventually(t, "systemd starts it again", func() bool { pid := main(); return pid != before && pid != "0" })
			eventually(t, "it serves", func() bool { return served(main()) })
			sd.do(t, "systemctl --user stop greeter.service")
			_, err = os.Stat(path)
			assert.Equal(t, hasSocket, err == nil, "systemd's socket stays")
			assert.NoFileExists(t, path+".takeover")
			if hasSocket {
				sd.do(t, "systemctl --user stop greeter.socket")
			}
		})
	}
}
