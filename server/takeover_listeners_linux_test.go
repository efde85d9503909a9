package server_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTakeOverSeveralListeners takes over a server of two sockets, one after the
// other.
func TestTakeOverSeveralListeners(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	dir := folder(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	stash := new(server.MemoryStore)
	put(t, stash, "t", "k", 1)
	old := saying("old")
	old.Stash = stash
	oldA, oldB := startTakeOver(t, old, a), startTakeOver(t, old, b)
	onA, onB := dial(t, a), dial(t, b)
	answers(t, onA, "old")
	answers(t, onB, "old")

	heir, heirs := saying("heir"), new(server.MemoryStore)
	heir.Stash = heirs
	heirA := startTakeOver(t, heir, a)
	eventually(t, "the idle connections are handed over", func() bool { return heir.Stats().Conns == 2 })
	answers(t, onA, "heir")
	answers(t, onB, "heir")
	answers(t, dial(t, b), "heir") // the old process accepts it, and passes it on
	has(t, heirs, "t", "k", 1)
	put(t, heirs, "t", "k", 2)
	require.Empty(t, oldA, "it is there for the other socket")

	heirB := startTakeOver(t, heir, b)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end at a", oldA))
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end at b", oldB))
	answers(t, onB, "heir")
	answers(t, dial(t, b), "heir")
	has(t, heirs, "t", "k", 2)
	require.NoError(t, heir.Shutdown(ctx))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end at a", heirA))
	assert.Equal(t, server.ErrServerClosed, wait(t, "the end at b", heirB))
	checkNames(t, dir)
}

// TestTakeOverOfOneListener checks that a socket which the new process does not take
// is served until the old process is told to end.
func TestTakeOverOfOneListener(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	dir := folder(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	old := saying("old")
	served := startTakeOver(t, old, a)
	startTakeOver(t, old, b)
	onA := dial(t, a)
	answers(t, onA, "old")
	heir := saying("heir")
	startTakeOver(t, heir, a)
	eventually(t, "the idle connection is handed over", func() bool { return heir.Stats().Conns == 1 })
	onB := dial(t, b)
	answers(t, onB, "heir")
	require.Empty(t, served)
	require.NoError(t, old.Shutdown(ctx))
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	answers(t, onB, "heir")
	checkNames(t, dir, "a", "a.takeover")
}

func init() { children["serves two sockets"] = childThatServesTwo }

// childThatServesTwo serves PATH and PATH2.
func childThatServesTwo() error {
	s := &server.Server{TakeOver: true}
	served := make(chan error, 2)
	for _, suffix := range []string{"", "2"} {
		l, err := s.Listen(os.Getenv(childVariable+"_PATH") + suffix)
		if err != nil {
			return err
		}
		go func() { served <- s.Serve(l) }()
	}
	_, _ = os.Stdout.WriteString("serving\n")
	for range 2 {
		if err := <-served; err != server.ErrTakenOver {
			return err
		}
	}
	return nil
}

// TestTakeOverByTwoProcesses checks that the sockets of a server do not go to
// different processes, unless the first one has ended.
func TestTakeOverByTwoProcesses(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	old := startServer(t, "serves two sockets", path)
	old.await(t, "serving")
	first := startHeir(t, path)
	first.await(t, "serving")

	var said bytes.Buffer
	other := childCommand("takes over", childVariable+"_PATH="+path+"2")
	other.Stderr = &said
	assert.Error(t, other.Run())
	assert.Contains(t, said.String(), "the running server refuses: the process ")
	assert.NoError(t, newClient(t, path+"2").Ping(ctx), "the old process passes it on")

	require.NoError(t, first.Process.Kill())
	wait(t, "its end", first.ended)
	second := startHeir(t, path+"2")
	second.await(t, "serving")
	wait(t, "the end of the old process", old.ended)
	assert.NoError(t, old.err)
	assert.NoError(t, newClient(t, path+"2").Ping(ctx))
}

// TestTakeOverOfGivenListener takes over a server whose socket somebody else has made.
// The file stays when the last process ends.
func TestTakeOverOfGivenListener(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	dir := folder(t)
	path := filepath.Join(dir, "s")
	made, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	old := saying("old")
	old.TakeOver = true
	first := make(chan error, 1)
	go func() { first <- old.Serve(made) }()
	served := (<-chan error)(first)
	kept := dial(t, path)
	answers(t, kept, "old")
	for _, name := range []string{"second", "third"} {
		next := saying(name)
		ended := startTakeOver(t, next, path)
		assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
		answers(t, kept, name) // the old one has ended
		answers(t, dial(t, path), name)
		old, served = next, ended
	}
	require.NoError(t, old.Shutdown(ctx))
	checkNames(t, dir, "s")
}

// TestTakeOverRefusesListeners checks that a listener which cannot be handed over is
// refused when the server starts, not when it is to restart.
func TestTakeOverRefusesListeners(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	abstract, err := net.Listen("unix", "@"+filepath.Base(folder(t)))
	require.NoError(t, err)
	wrapped, err := net.Listen("unix", filepath.Join(folder(t), "s"))
	require.NoError(t, err)
	busy := filepath.Join(folder(t), "s")
	startTakeOver(t, new(server.Server), busy)
	require.NoError(t, os.Rename(busy, busy+"2")) // PATH.takeover is in use
	taken, err := net.Listen("unix", busy)
	require.NoError(t, err)
	for want, l := range map[string]net.Listener{
		"cannot be handed over, only a Unix socket": struct{ net.Listener }{wrapped},
		"a *net.TCPListener cannot be handed over":  tcp,
		"its socket has no path":                    abstract,
		"a server answers there":                    taken,
	} {
		err := (&server.Server{TakeOver: true}).Serve(l)
		assert.ErrorContains(t, err, want)
		assert.True(t, strings.HasPrefix(err.Error(), "dirty: "))
		_, err = l.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
	}
}

// TestTakeOverBeforeServe checks a process that takes the first socket before the
// second one is served.
func TestTakeOverBeforeServe(t *testing.T) {
	t.Cleanup(func() { noGoroutines(t) })
	dir := folder(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	old := saying("old")
	served := startTakeOver(t, old, a)
	l, err := old.Listen(b)
	require.NoError(t, err)
	startTakeOver(t, saying("heir"), a)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	assert.Equal(t, server.ErrTakenOver, old.Serve(l))
	answers(t, dial(t, a), "heir")
	checkNames(t, dir, "a", "a.takeover")
}
