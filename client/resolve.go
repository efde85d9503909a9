package client

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// EnvSocket is the variable in which gunicorn tells its workers the path of the
// arbiter's socket. Processes that the workers start inherit it.
const EnvSocket = "GUNICORN_DIRTY_SOCKET"

// Resolver returns the path of the arbiter's socket. It is called at each dial
// and may be called concurrently. An error that matches [ErrUnavailable] says
// that the arbiter is not there now, but may come: [WithWaitForServer] waits
// for it. Any other error fails the call at once.
//
// A Resolver that calls another one must pass its context on: [FromPIDFile]
// uses it to tell the dial which process must answer.
//
// A client follows one arbiter, the one that was dialled last. Connections to
// another path or process are closed as soon as they are free.
type Resolver func(ctx context.Context) (path string, err error)

// fixedPath returns a resolver for a fixed path.
func fixedPath(path string) Resolver {
	return func(context.Context) (string, error) {
		if path == "" {
			return "", fmt.Errorf("the path is empty: %w", ErrNoSocket)
		}
		return path, nil
	}
}

// FromEnv returns a resolver for the path in GUNICORN_DIRTY_SOCKET, which it
// reads at each dial. The error is [ErrNoSocket] if the variable is empty.
//
// The path is that of the arbiter which ran when this process was started. It
// is stale once the arbiter has restarted, unless the on_dirty_starting hook in
// the README gives the socket a fixed path.
func FromEnv() Resolver {
	return func(context.Context) (string, error) {
		if path := os.Getenv(EnvSocket); path != "" {
			return path, nil
		}
		return "", ErrNoSocket
	}
}

// FromPIDFile returns a resolver for the socket of the arbiter whose process id
// is in the file, as gunicorn writes it; see [PIDFileName]. It reads the file at
// each dial, and so follows restarts of the arbiter. It works on Linux, for the
// user that runs the arbiter; elsewhere the error matches
// [errors.ErrUnsupported].
//
// The file often lies in a folder where everybody can write. It is trusted no
// further than gunicorn 27 trusts it:
//   - The file is a regular file of at most 32 bytes, no link. It belongs to the
//     effective user of this process, and nobody else may write it. This holds
//     for root too: root gets no other user's arbiter.
//   - The process lives, belongs to the same user, and is not this process.
//   - The process listens on one Unix socket, besides those that its parent has
//     too. If it listens on several, the one named arbiter.sock is taken.
//   - The socket's name in /proc/net/unix holds no control characters, and the
//     table does not name the socket twice.
//   - After connecting, the process at the other end is the one in the file. So
//     nobody else gets a request, whatever he makes the file or the table say.
//     With [WithDialer] the connection must therefore be a Unix socket that has
//     a SyscallConn method. [WithPeerCheck] does not turn this off. A program
//     that calls the resolver itself must check the process itself, or use [Dial].
//
// The error matches [ErrUnavailable] where the arbiter may still come: there is
// no file, it holds no process id, its process has ended or does not listen, or
// another process answers at the socket. Everything else needs somebody to act:
// the error then says what was found, and what to do. A file or process that
// this user may not read matches [os.ErrPermission].
func FromPIDFile(name string) Resolver {
	return func(ctx context.Context) (string, error) {
		path, pid, err := socketByPIDFile(ctx, name)
		if err != nil {
			return "", err
		}
		expectPeer(ctx, pid)
		return path, nil
	}
}

// PIDFileName returns the name of the file in which gunicorn writes the process
// id of its dirty arbiter: gunicorn-dirty-NAME.pid in the folder for temporary
// files. That folder must be the same for both: gunicorn and [os.TempDir] take
// it from TMPDIR. NAME is procName with each slash and space as an underscore.
//
// procName is gunicorn's setting proc_name or, if that is not set, the name of
// the web app, as in "app:wsgi". Two gunicorns with the same name, user and
// folder overwrite each other's file. After an upgrade with the signal USR2 the
// new gunicorn adds ".2" to the name.
func PIDFileName(procName string) string {
	procName = strings.NewReplacer("/", "_", " ", "_").Replace(procName)
	return filepath.Join(os.TempDir(), "gunicorn-dirty-"+procName+".pid")
}

// expectation is the process that must answer at the resolved path. The dial
// gives it to the resolver in the context, since a Resolver returns only a path.
type expectation struct {
	pid atomic.Int64 // 0: any process
}

type expectationKey struct{}

func withExpectation(ctx context.Context) (context.Context, *expectation) {
	e := new(expectation)
	return context.WithValue(ctx, expectationKey{}, e), e
}

// expectPeer says which process must answer at the path that the resolver returns.
func expectPeer(ctx context.Context, pid int) {
	if e, ok := ctx.Value(expectationKey{}).(*expectation); ok {
		e.pid.Store(int64(pid))
	}
}

// check compares the expectation with who answers on a new connection.
func (e *expectation) check(c *conn) error {
	want := int(e.pid.Load())
	if want == 0 {
		return nil
	}
	got := 0
	if c.raw != nil {
		got = peerPID(c.raw)
	}
	switch got {
	case want:
		return nil
	case 0:
		return fmt.Errorf("cannot tell which process answers at %q, but the pid file names process %d: "+
			"client.WithDialer must return a Unix socket with a SyscallConn method; or use client.WithSocket", c.peer.path, want)
	}
	return fmt.Errorf("%w: process %d answers at %q, but the pid file names process %d: "+
		"the arbiter is restarting, or somebody else has taken its place", ErrUnavailable, got, c.peer.path, want)
}
