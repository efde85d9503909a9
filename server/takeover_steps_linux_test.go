package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// takeOver starts a server that takes over the one at a path, if there is one.
func takeOver(t *testing.T, s *server.Server, path string) (served <-chan error) {
	t.Helper()
	t.Cleanup(func() { noGoroutines(t) })
	return startTakeOver(t, s, path)
}

// startTakeOver is takeOver without the check that nothing is left in the end.
func startTakeOver(t *testing.T, s *server.Server, path string) (served <-chan error) {
	t.Helper()
	if !s.TakeOver { // else it may serve another path already
		s.TakeOver = true
	}
	l, err := s.Listen(path)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return ended
}

// TestTakeOver checks what becomes of each kind of connection.
func TestTakeOver(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	running, next := make(chan struct{}, 1), make(chan struct{})
	old := &server.Server{Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		if r.Action == "wait" {
			running <- struct{}{}
			<-next
		}
		return w.Respond("old")
	})}
	oldServed := takeOver(t, old, path)
	info, err := os.Stat(path + ".takeover")
	require.NoError(t, err)
	assert.Equal(t, os.ModeSocket|0o600, info.Mode())

	idle, busy, partial, ahead := dial(t, path), dial(t, path), dial(t, path), dial(t, path)
	for _, c := range []*dirty.Conn{idle, busy, partial, ahead} {
		answers(t, c, "old")
	}
	piped := make(chan error, 2)
	var pipes []*dirty.Conn
	for range 2 {
		ours, theirs := net.Pipe()
		go func() { piped <- old.ServeConn(ctx, theirs) }()
		require.NoError(t, ours.SetDeadline(time.Now().Add(time.Minute)))
		pipes = append(pipes, dirty.NewConn(ours))
		defer ours.Close()
		answers(t, pipes[len(pipes)-1], "old")
	}
	send(t, pipes[1], "wait")
	wait(t, "the handler", running)
	request, err := dirty.AppendMessage(nil, dirty.NewRequest(1, app, "do", nil, nil))
	require.NoError(t, err)
	_, err = partial.NetConn().Write(request[:20])
	require.NoError(t, err)
	send(t, busy, "wait")
	wait(t, "the handler", running)
	send(t, ahead, "wait")
	wait(t, "the handler", running)
	send(t, ahead, "do")
	awaitWatch(t) // it has read that

	heir := saying("heir")
	heir.MaxConns = 1 // those that are taken over do not count
	heirServed := takeOver(t, heir, path)
	eventually(t, "the idle connection is handed over", func() bool { return heir.Stats().Conns == 1 })
	answers(t, idle, "heir")
	closed(t, pipes[0])
	assert.Equal(t, server.ErrTakenOver, wait(t, "the pipe", piped))
	_, err = partial.NetConn().Write(request[20:])
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(1, "old"), receive(t, partial), "what it has read a part of")
	answers(t, partial, "heir")
	require.Empty(t, oldServed, "three replies are under way")
	close(next)
	assert.Equal(t, dirty.NewResponse(1, "old"), receive(t, pipes[1]))
	closed(t, pipes[1])
	assert.Equal(t, server.ErrTakenOver, wait(t, "the pipe", piped))
	assert.Equal(t, dirty.NewResponse(1, "old"), receive(t, busy))
	answers(t, busy, "heir")
	assert.Equal(t, dirty.NewResponse(1, "old"), receive(t, ahead))
	assert.Equal(t, dirty.NewResponse(1, "old"), receive(t, ahead), "what it has read ahead")
	answers(t, ahead, "heir")
	err = wait(t, "the end", oldServed)
	assert.Equal(t, server.ErrTakenOver, err)
	assert.ErrorIs(t, err, server.ErrServerClosed)
	assert.NotErrorIs(t, server.ErrServerClosed, server.ErrTakenOver)
	late, _ := net.Pipe()
	assert.Equal(t, server.ErrTakenOver, old.ServeConn(ctx, late))
	require.NoError(t, old.Close())
	assert.FileExists(t, path, "they are the heir's")
	assert.FileExists(t, path+".takeover")
	assert.Equal(t, 4, heir.Stats().Conns)

	require.NoError(t, heir.Shutdown(ctx))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end", heirServed))
	assert.NoFileExists(t, path)
	assert.NoFileExists(t, path+".takeover")
	closed(t, idle)
}

// TestTakeOverAgain checks that a server which is taken over passes on what still
// comes from the one before it.
func TestTakeOverAgain(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	running, next := make(chan struct{}), make(chan struct{})
	var log record
	firstServer := handle(func(w *server.ResponseWriter) error {
		running <- struct{}{}
		<-next
		return w.Respond("first")
	})
	firstServer.Logger = log.logger()
	first := takeOver(t, firstServer, path)
	busy := dial(t, path)
	send(t, busy, "do")
	wait(t, "the handler", running)
	secondServer := saying("second")
	secondServer.Logger = log.logger()
	second := takeOver(t, secondServer, path)
	third := takeOver(t, saying("third"), path)
	eventually(t, "both know that they are taken over", func() bool {
		return strings.Count(log.String(), "another process takes the server over") == 2
	})
	answers(t, dial(t, path), "third")
	require.Empty(t, first)
	require.Empty(t, second, "it waits for the first")
	close(next)
	assert.Equal(t, dirty.NewResponse(1, "first"), receive(t, busy))
	answers(t, busy, "third")
	assert.Equal(t, server.ErrTakenOver, wait(t, "the first", first))
	assert.Equal(t, server.ErrTakenOver, wait(t, "the second", second))
	require.Empty(t, third)
}

// TestTakeOverAndShutdown checks that the end of a server that is taken over cuts
// nothing short but what takes longer than its context.
func TestTakeOverAndShutdown(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	h, running, causes := patient()
	old := &server.Server{Handler: h}
	served := takeOver(t, old, path)
	idle, busy := dial(t, path), dial(t, path)
	send(t, busy, "wait")
	wait(t, "the handler", running)
	heir := saying("heir")
	takeOver(t, heir, path)
	eventually(t, "the idle connection is handed over", func() bool { return heir.Stats().Conns == 1 })
	ended, cancel := context.WithCancel(ctx)
	cancel()
	assert.ErrorIs(t, old.Shutdown(ended), context.Canceled)
	assert.Equal(t, server.ErrServerClosed, wait(t, "the cause", causes))
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	closed(t, busy)
	answers(t, idle, "heir")
}

// TestTakeOverRefused checks what cannot be taken over. The running server serves
// on.
func TestTakeOverRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		start func(t *testing.T, path string)
		err   string
	}{
		"a server without TakeOver": {func(t *testing.T, path string) {
			s := saying("old")
			l, err := s.Listen(path)
			require.NoError(t, err)
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
		}, "a server answers there"},
		"another socket took the place": {func(t *testing.T, path string) {
			takeOver(t, saying("old"), path)
			require.NoError(t, os.Remove(path))
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			s := saying("old")
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
		}, "is not that of the running server"},
		"no socket": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+".takeover", nil, 0o600))
			s := saying("old")
			l, err := s.Listen(path)
			require.NoError(t, err)
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
		}, "something else than a socket"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			tt.start(t, path)
			_, err := (&server.Server{TakeOver: true}).Listen(path)
			require.ErrorContains(t, err, tt.err)
			assert.ErrorContains(t, err, "dirty: listen at "+path)
			answers(t, dial(t, path), "old")
		})
	}
	t.Run("a closed server", func(t *testing.T) {
		s := &server.Server{TakeOver: true}
		require.NoError(t, s.Close())
		path := filepath.Join(folder(t), "s")
		takeOver(t, saying("old"), path)
		_, err := s.Listen(path)
		assert.ErrorIs(t, err, server.ErrServerClosed)
		answers(t, dial(t, path), "old")
	})
}

// scriptedHeir connects as an heir does.
func scriptedHeir(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	nc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path + ".takeover", Net: "unixpacket"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	return nc
}

// packet receives a packet and returns its kind. Its files are closed.
func packet(t *testing.T, nc *net.UnixConn) string {
	t.Helper()
	data, rights := make([]byte, 1<<16), make([]byte, 1<<10)
	n, nr, _, _, err := nc.ReadMsgUnix(data, rights)
	require.NoError(t, err)
	messages, err := syscall.ParseSocketControlMessage(rights[:nr])
	require.NoError(t, err)
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		require.NoError(t, err)
		for _, fd := range fds {
			require.NoError(t, syscall.Close(fd))
		}
	}
	return string(data[:min(n, 1)])
}

// takeOffer receives an offer whole.
func takeOffer(t *testing.T, nc *net.UnixConn) {
	t.Helper()
	for _, kind := range []string{"O", "S", "R"} {
		require.Equal(t, kind, packet(t, nc))
	}
}

// TestHeirLeaves checks what becomes of a server whose heir ends at each step. To
// the kernel a process that closes and one that is killed are the same.
func TestHeirLeaves(t *testing.T) {
	for name, steps := range map[string]func(t *testing.T, nc *net.UnixConn){
		"at once":         func(t *testing.T, nc *net.UnixConn) {},
		"after the offer": func(t *testing.T, nc *net.UnixConn) { require.Equal(t, "O", packet(t, nc)) },
		"after the stash": func(t *testing.T, nc *net.UnixConn) {
			require.Equal(t, "O", packet(t, nc))
			require.Equal(t, "S", packet(t, nc))
		},
		"before the commit": takeOffer,
		"after nonsense": func(t *testing.T, nc *net.UnixConn) {
			_, err := nc.Write([]byte("nonsense"))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			served := takeOver(t, saying("old"), path)
			idle := dial(t, path)
			nc := scriptedHeir(t, path)
			steps(t, nc)
			require.NoError(t, nc.Close())
			answers(t, idle, "old")
			takeOver(t, saying("heir"), path)
			assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
			answers(t, idle, "heir")
		})
	}
	t.Run("after the commit", func(t *testing.T) {
		path := filepath.Join(folder(t), "s")
		served := takeOver(t, saying("old"), path)
		idle := dial(t, path)
		answers(t, idle, "old")
		nc := scriptedHeir(t, path)
		takeOffer(t, nc)
		_, err := nc.Write([]byte("C"))
		require.NoError(t, err)
		require.NoError(t, nc.Close())
		closed(t, idle)
		assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
		takeOver(t, saying("next"), path) // takes the place of the stale sockets
		answers(t, dial(t, path), "next")
	})
}

// TestShutdownDuringOffer checks that an heir gets either everything or an abort.
func TestShutdownDuringOffer(t *testing.T) {
	for name, commits := range map[string]bool{"before the commit": false, "after the commit": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			old := saying("old")
			served := takeOver(t, old, path)
			idle := dial(t, path)
			answers(t, idle, "old")
			nc := scriptedHeir(t, path)
			takeOffer(t, nc)
			if commits {
				_, err := nc.Write([]byte("C"))
				require.NoError(t, err)
			}
			require.NoError(t, old.Shutdown(ctx))
			err := wait(t, "the end", served)
			if commits {
				kind := packet(t, nc)
				if kind == "A" { // an heir that has committed knows that this came too late
					kind = packet(t, nc)
				}
				require.Equal(t, "G", kind, "its knowledge of that")
				require.Equal(t, "N", packet(t, nc), "the connection")
				assert.Equal(t, server.ErrTakenOver, err)
				assert.FileExists(t, path)
				return
			}
			_, written := nc.Write([]byte("C"))
			require.Equal(t, "A", packet(t, nc))
			assert.True(t, errors.Is(written, syscall.EPIPE) || errors.Is(written, syscall.ECONNRESET), "%v", written)
			assert.Equal(t, server.ErrServerClosed, err)
			assert.NoFileExists(t, path)
			closed(t, idle)
		})
	}
}

// TestPredecessorLeaves checks that a process which finds one that ends at any step
// serves all the same.
func TestPredecessorLeaves(t *testing.T) {
	for name, sends := range map[string][]string{
		"at once":            nil,
		"after an abort":     {"Abusy"},
		"without an offer":   {"R"},
		"with a wrong offer": {"O{}"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "s")
			heirs, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path + ".takeover", Net: "unixpacket"})
			require.NoError(t, err)
			defer heirs.Close()
			heirs.SetUnlinkOnClose(false)
			go func() {
				nc, err := heirs.AcceptUnix()
				if err != nil {
					return
				}
				defer nc.Close()
				for _, s := range sends {
					_, _ = nc.Write([]byte(s))
				}
				_ = heirs.Close()
			}()
			s := &server.Server{TakeOver: true}
			l, err := s.Listen(path)
			if len(sends) > 0 {
				require.Error(t, err)
				l, err = s.Listen(path)
			}
			require.NoError(t, err)
			require.NoError(t, l.Close())
		})
	}
}

// TestTakeOverTellsSystemd checks that systemd learns of the new process before that one
// serves, and has read it before the old process gives up what it has, and so can end.
func TestTakeOverTellsSystemd(t *testing.T) {
	dir := folder(t)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer notify.Close()
	t.Setenv("NOTIFY_SOCKET", notify.LocalAddr().String())
	path := filepath.Join(dir, "s")
	takeOver(t, saying("old"), path)
	kept := dial(t, path)
	answers(t, kept, "old")
	nc := scriptedHeir(t, path)
	takeOffer(t, nc)
	_, err = nc.Write([]byte("C"))
	require.NoError(t, err)
	require.Equal(t, "G", packet(t, nc))
	b, n := make([]byte, 100), 0
	raw, err := notify.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Read(func(fd uintptr) bool { // it must be there already
		n, _, err = syscall.Recvfrom(int(fd), b, syscall.MSG_DONTWAIT)
		return true
	}))
	require.NoError(t, err)
	assert.Equal(t, "MAINPID="+strconv.Itoa(os.Getpid()), string(b[:n]))

	rights := make([]byte, 100)
	require.NoError(t, notify.SetReadDeadline(time.Now().Add(time.Minute)))
	n, nr, _, _, err := notify.ReadMsgUnix(b, rights)
	require.NoError(t, err)
	require.Equal(t, "BARRIER=1", string(b[:n]))
	messages, err := syscall.ParseSocketControlMessage(rights[:nr])
	require.NoError(t, err)
	require.Len(t, messages, 1)
	pipes, err := syscall.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.Len(t, pipes, 1)
	answers(t, kept, "old")
	require.NoError(t, syscall.Close(pipes[0])) // systemd has read all
	require.Equal(t, "N", packet(t, nc), "the connection")
}
