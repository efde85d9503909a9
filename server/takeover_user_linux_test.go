package server_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// otherUser is the user and group that most systems call nobody.
const otherUser = 65534

func init() {
	children["takes over as another user"] = asOtherUser(childThatTakesOver)
	children["asks for an offer as another user"] = asOtherUser(childThatAsks)
}

// asOtherUser makes a child, which root has started, one of the other user. Starting it
// as that user does not work: that one cannot reach the test binary in go test's folder.
func asOtherUser(child func() error) func() error {
	return func() error {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(otherUser), syscall.Setuid(otherUser)); err != nil {
			return err
		}
		return child()
	}
}

// childThatAsks asks for an offer, and accepts it if it gets one. It says what it has
// received in all.
func childThatAsks() error {
	nc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: os.Getenv(childVariable+"_PATH") + ".takeover", Net: "unixpacket"})
	if err != nil {
		return err
	}
	kinds, withFiles := "", 0
	data, rights := make([]byte, 1<<16), make([]byte, 1<<10)
	for {
		n, nr, _, _, err := nc.ReadMsgUnix(data, rights)
		if err != nil || n == 0 {
			break
		}
		kinds += string(data[:1])
		if nr > 0 {
			withFiles++
		}
		if data[0] == 'R' {
			_, _ = nc.Write([]byte("C"))
		}
	}
	fmt.Printf("packets %q, %d with files\n", kinds, withFiles)
	return nil
}

// needRoot skips a test that starts processes of another user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		loud.Say("server: NOT RUN: %s, which needs root", t.Name())
		t.Skip("needs root")
	}
}

// TestTakeOverByAnotherUser checks that a process of another user gets nothing, even if
// it can connect to PATH.takeover. The server serves on, and a process of its own user
// can take it over.
func TestTakeOverByAnotherUser(t *testing.T) {
	needRoot(t)
	path := filepath.Join(folder(t), "s")
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o711))
	var log record
	old := saying("old")
	old.Logger = log.logger()
	served := takeOver(t, old, path)
	require.NoError(t, os.Chmod(path+".takeover", 0o666))
	kept := dial(t, path)
	answers(t, kept, "old")

	other := startServer(t, "asks for an offer as another user", path)
	other.await(t, `packets "", 0 with files`)
	wait(t, "its end", other.ended)
	require.NoError(t, other.err)
	assert.Contains(t, log.String(), "refused a process that wants to take over")
	assert.Contains(t, log.String(), fmt.Sprintf("the process %d at the other end is of user %d, not 0", other.Process.Pid, otherUser))
	answers(t, kept, "old")
	answers(t, dial(t, path), "old")
	require.Empty(t, served)

	takeOver(t, saying("heir"), path)
	assert.Equal(t, server.ErrTakenOver, wait(t, "the end", served))
	answers(t, kept, "heir")
}

// TestTakeOverOfAnotherUser checks that a server takes nothing from a process of another
// user, which could give it any socket. That process serves on.
func TestTakeOverOfAnotherUser(t *testing.T) {
	needRoot(t)
	path := filepath.Join(folder(t), "s")
	require.NoError(t, os.Chown(filepath.Dir(path), otherUser, otherUser))
	other := startServer(t, "takes over as another user", path)
	other.await(t, "serving")
	kept := dial(t, path)
	require.Equal(t, dirty.NewResponse(1, []any{int64(0)}), call(t, kept, "echo", 0))

	_, err := (&server.Server{TakeOver: true}).Listen(path)
	require.ErrorContains(t, err, fmt.Sprintf("the process %d at the other end is of user %d, not 0", other.Process.Pid, otherUser))
	assert.ErrorContains(t, err, "dirty: listen at "+path)
	assert.Equal(t, peerOf(t, path), other.Process.Pid)
	for _, c := range []*dirty.Conn{kept, dial(t, path)} {
		assert.Equal(t, dirty.NewResponse(1, []any{int64(1)}), call(t, c, "echo", 1))
	}
}
