package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// dialFlags say which arbiter a command is for.
type dialFlags struct {
	socket, pidFile string
	timeout         time.Duration
}

func (c *cli) addDialFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.dial.socket, "socket", "s", "", "`PATH` of the arbiter's socket")
	cmd.Flags().StringVar(&c.dial.pidFile, "pid-file", "", "the pid `FILE` of the arbiter")
	cmd.Flags().DurationVar(&c.dial.timeout, "timeout", client.DefaultTimeout, "how long an answer may take; 0 is for ever")
}

// target is an arbiter that was chosen.
type target struct {
	resolve client.Resolver
	dial    client.Dialer // nil for the client's own
	chosen  string        // what it was chosen by
	named   bool          // the user has named it
}

// connect dials the arbiter.
func (t target) connect(ctx context.Context) (net.Conn, error) {
	if t.dial == nil {
		return client.Dial(ctx, t.resolve)
	}
	path, err := t.resolve(ctx)
	if err != nil {
		return nil, err
	}
	return t.dial(ctx, path)
}

// dialOwn dials a socket, and refuses it if the process that listens there is known
// not to be of this user. Only Linux tells; elsewhere the place of the socket, which
// was looked at before, must do.
func dialOwn(ctx context.Context, path string) (net.Conn, error) {
	nc, err := client.Dial(ctx, func(context.Context) (string, error) { return path, nil })
	if err != nil {
		return nil, err
	}
	cred, ok := server.PeerCred(nc)
	if ok && cred.UID != os.Geteuid() || !ok && runtime.GOOS == "linux" {
		_ = nc.Close()
		return nil, fmt.Errorf("%s: another user listens there: name it with -s if you trust it", path)
	}
	return nc, nil
}

// chooseTarget finds out which arbiter a command is for.
func (c *cli) chooseTarget(ctx context.Context) (target, error) {
	switch {
	case c.dial.socket != "" && c.dial.pidFile != "":
		return target{}, usagef("--socket and --pid-file both: name the arbiter once")
	case c.dial.timeout < 0:
		return target{}, usagef("--timeout %v: want no negative time", c.dial.timeout)
	case c.dial.socket != "":
		path := c.dial.socket
		return target{func(context.Context) (string, error) { return path, nil }, nil, "--socket", true}, nil
	case c.dial.pidFile != "":
		return target{client.FromPIDFile(c.dial.pidFile), nil, "--pid-file", true}, nil
	case os.Getenv(client.EnvSocket) != "":
		return target{client.FromEnv(), nil, client.EnvSocket, true}, nil
	}
	found, err := findArbiters(ctx)
	if err != nil {
		return target{}, err
	}
	var ours []arbiter
	for _, a := range found {
		if a.State == stateAnswers && a.trusted {
			ours = append(ours, a)
		}
	}
	if len(ours) == 1 {
		path := ours[0].Path
		return target{func(context.Context) (string, error) { return path, nil }, dialOwn, "dirty find", false}, nil
	}
	return target{}, noTarget(found, len(ours))
}

// noTarget explains why no arbiter was chosen.
func noTarget(found []arbiter, ours int) error {
	e := &statusError{status: exitNoArbiter, kind: "unavailable"}
	e.text = "no arbiter was found"
	e.hint = "Name its socket with -s PATH or in " + client.EnvSocket + ", or its pid file with --pid-file FILE."
	if ours > 1 {
		e.text = fmt.Sprintf("%d arbiters answer", ours)
	} else if len(found) > 0 {
		e.text = "no arbiter that answers was found"
	}
	const most = 10
	for i, a := range found {
		if i == most {
			e.text += fmt.Sprintf("; and %d more", len(found)-most)
			break
		}
		e.text += "; " + a.Path + " " + a.State
		if a.Reason != "" {
			e.text += " (" + a.Reason + ")"
		}
	}
	return e
}

// connect returns a client of the chosen arbiter. The caller closes it.
func (c *cli) connect(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	t, err := c.chooseTarget(ctx)
	if err != nil {
		return nil, err
	}
	return c.connectTo(t, opts...)
}

func (c *cli) connectTo(t target, opts ...client.Option) (*client.Client, error) {
	all := []client.Option{
		client.WithResolver(c.remember(t)),
		client.WithTimeout(c.dial.timeout),
		client.WithStreamTimeout(c.dial.timeout),
	}
	if t.dial != nil {
		all = append(all, client.WithDialer(t.dial))
	}
	return client.New(append(all, opts...)...)
}

// remember has the path kept, for the text of an error.
func (c *cli) remember(t target) client.Resolver {
	return func(ctx context.Context) (string, error) {
		path, err := t.resolve(ctx)
		if err == nil {
			c.tried.Store(&triedSocket{path, t.chosen})
		}
		return path, err
	}
}

// triedSocket is a socket that a client was to dial.
type triedSocket struct{ path, chosen string }

// hint says what to do about an arbiter that could not be reached.
func (s *triedSocket) hint(err error) string {
	if s == nil {
		return `Run "dirty find" to see which arbiters there are.`
	}
	hint := fmt.Sprintf("The socket was %s, by %s.", s.path, s.chosen)
	switch {
	case errors.Is(err, os.ErrPermission):
		if owner := whoMayNot(s.path); owner != "" {
			return hint + " " + owner
		}
		return hint + " Run as the user that owns it."
	case s.chosen == client.EnvSocket && errors.Is(err, os.ErrNotExist):
		hint += " The arbiter may have restarted since the variable was set."
	}
	return hint + ` Run "dirty find" to see which arbiters there are.`
}

// whoMayNot finds what part of a path this user may not use, and says whose it is:
// "/tmp/gunicorn-dirty-x is owned by www-data, mode 0700: run as that user."
func whoMayNot(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	last := ""
	parts := strings.Split(filepath.Dir(path), string(filepath.Separator))
	for i := range parts {
		folder := strings.Join(parts[:i+1], string(filepath.Separator)) + string(filepath.Separator)
		if _, err := os.Lstat(folder); err != nil {
			break
		}
		last = folder
	}
	if _, err := os.Lstat(path); err == nil {
		last = path
	}
	info, err := os.Lstat(last)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s is owned by %s, mode %04o: run as that user.", filepath.Clean(last), ownerName(info), info.Mode().Perm())
}
