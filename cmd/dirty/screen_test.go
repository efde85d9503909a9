//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"github.com/charmbracelet/x/ansi"
)

// screen is a terminal on which a command runs.
type screen struct {
	t    *testing.T
	tty  *os.File
	emu  *vt.SafeEmulator
	cmd  *exec.Cmd
	was  *term.State
	gate sync.Mutex // held while nobody reads
}

// startScreen starts the command on a terminal of a size.
func startScreen(t *testing.T, columns, lines int, args ...string) *screen {
	t.Helper()
	path, err := exec.LookPath("dirty") // testscript puts it there
	require.NoError(t, err)
	return startOnScreen(t, columns, lines, exec.CommandContext(t.Context(), path, args...))
}

// startOnScreen starts any program on a terminal. Variables may be added to those of
// the test.
func startOnScreen(t *testing.T, columns, lines int, cmd *exec.Cmd, env ...string) *screen {
	t.Helper()
	cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "NO_COLOR="), env...)
	master, slave, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(master, size(columns, lines)))
	s := &screen{t: t, tty: master, emu: vt.NewSafeEmulator(columns, lines), cmd: cmd}
	s.was, err = term.GetState(int(slave.Fd()))
	require.NoError(t, err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = master.Close()
		_ = slave.Close()
	})
	go func() { // a terminal answers questions
		_, _ = io.Copy(master, s.emu)
	}()
	go func() {
		for buf := make([]byte, 4<<10); ; {
			n, err := master.Read(buf)
			s.gate.Lock()
			_, _ = s.emu.Write(buf[:n])
			s.gate.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// stopReading leaves unread what the command writes, until goOnReading.
func (s *screen) stopReading() { s.gate.Lock() }

func (s *screen) goOnReading() { s.gate.Unlock() }

func size(columns, lines int) *pty.Winsize {
	return &pty.Winsize{Cols: uint16(columns), Rows: uint16(lines)}
}

// text returns what is shown.
func (s *screen) text() string {
	lines := strings.Split(ansi.Strip(s.emu.Render()), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \r")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// await waits until what is shown matches a regular expression.
func (s *screen) await(pattern string) {
	s.t.Helper()
	s.awaitThat(pattern, func(text string) bool { return assert.Regexp(silent{}, pattern, text) })
}

// awaitThat waits until what is shown is what a function wants.
func (s *screen) awaitThat(what string, f func(text string) bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !f(s.text()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			require.Fail(s.t, "not shown: "+what, s.text())
		}
	}
}

// silent is a test that nobody hears of.
type silent struct{}

func (silent) Errorf(string, ...any) {}

// press types keys.
func (s *screen) press(keys string) {
	s.t.Helper()
	_, err := io.WriteString(s.tty, keys)
	require.NoError(s.t, err)
}

func (s *screen) resize(columns, lines int) {
	s.t.Helper()
	s.emu.Resize(columns, lines)
	require.NoError(s.t, pty.Setsize(s.tty, size(columns, lines)))
}

// end waits until the command has ended, checks that it has left the terminal as it
// was, and returns its exit status.
func (s *screen) end() int {
	s.t.Helper()
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		require.Fail(s.t, "the command does not end", s.text())
	}
	now, err := term.GetState(int(s.tty.Fd()))
	require.NoError(s.t, err)
	assert.Equal(s.t, s.was, now, "the terminal is in another mode")
	s.awaitThat("the screen from before, with a cursor", func(string) bool { return !s.emu.IsAltScreen() && !s.emu.CursorHidden() })
	return s.cmd.ProcessState.ExitCode()
}
