package client

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// EnvSocket is the variable in which gunicorn tells its workers the path of the
// arbiter's socket, and they tell the processes that they start.
const EnvSocket = "GUNICORN_DIRTY_SOCKET"

// Resolver returns the path of the arbiter's socket. It is called at each dial
// and may be called concurrently. An error that matches [ErrUnavailable] says
// that the arbiter is not there now, but may come.
//
// A client follows one arbiter, the one that was dialled last: connections to
// another, by path or process, are closed when they are free.
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

// FromEnv returns a resolver for the path that GUNICORN_DIRTY_SOCKET holds at the
// time. It is that of the arbiter which was there when this process was
// started; after a restart of the arbiter it is stale, unless the
// on_dirty_starting hook that the README shows gives it a fixed path.
func FromEnv() Resolver {
	return func(context.Context) (string, error) {
		if path := os.Getenv(EnvSocket); path != "" {
			return path, nil
		}
		return "", ErrNoSocket
	}
}

// FromPIDFile returns a resolver for the socket on which the arbiter listens whose
// process id is in the file, as gunicorn writes it; see [PIDFileName]. It
// follows restarts of the arbiter. It works on Linux, for the arbiter's user
// and for root.
func FromPIDFile(name string) Resolver {
	return func(context.Context) (string, error) { return socketByPIDFile(name) }
}

// PIDFileName returns the name of the file in which gunicorn writes the process
// id of its dirty arbiter: gunicorn-dirty-NAME.pid in the folder for temporary
// files, which must be the same one here and there. procName is gunicorn's setting
// proc_name or, if that is not set, the spec of the web app, as in "app:wsgi".
// Two gunicorns of one name overwrite each other's.
func PIDFileName(procName string) string {
	procName = strings.NewReplacer("/", "_", " ", "_").Replace(procName)
	return filepath.Join(os.TempDir(), "gunicorn-dirty-"+procName+".pid")
}
