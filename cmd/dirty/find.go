package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// maxCandidates bounds how many sockets find asks: everybody can put files into the
// folder for temporary files.
const maxCandidates = 100

// findTime bounds how long find waits for each of them. Tests set it.
var findTime = time.Second

// The states of an arbiter that find has seen.
const (
	stateAnswers = "answers"
	stateRefuses = "refuses"     // nobody listens: the arbiter was killed
	stateMissing = "missing"     // there is no such file
	stateDenied  = "not allowed" // this user may not use it
	stateSilent  = "silent"      // it does not answer in time
	stateOther   = "no arbiter"  // what answers does not speak the protocol
)

// arbiter is what find tells of a socket.
type arbiter struct {
	Path    string   `dirty:"path"`
	State   string   `dirty:"state"`
	PID     int      `dirty:"pid"`
	Workers int      `dirty:"workers"`
	Apps    []string `dirty:"apps"`
	Owner   string   `dirty:"owner"`
	FoundBy []string `dirty:"found_by"`
	Reason  string   `dirty:"reason"` // why it does not answer

	trusted bool // only this user, or root, can have put it there
}

const helpFind = `Looks for arbiters on this machine, and asks each for its status: the sockets in the
folder for temporary files, those that the pid files there lead to, the one of
GUNICORN_DIRTY_SOCKET and, on Linux, each named arbiter.sock on which somebody
listens.

  answers      it is alive
  refuses      nobody listens there: the arbiter was killed
  missing      there is no such file any more
  not allowed  this user may not use it; OWNER may
  silent       no answer within a second
  no arbiter   something else answers

The other commands use the only one that answers, if nobody but this user or root can
have put it there. The exit status is 7 if none answers.`

func (c *cli) findCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "find",
		Short:   "Look for arbiters on this machine",
		Long:    helpFind,
		Example: "  dirty find\n  dirty find -o json | jq -r 'select(.state == \"answers\").path'",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.find(cmd.Context()) }
	return cmd
}

func (c *cli) find(ctx context.Context) error {
	found, err := findArbiters(ctx)
	if err != nil {
		return err
	}
	answering := false
	for _, a := range found {
		answering = answering || a.State == stateAnswers
	}
	if c.format == formatJSON {
		for _, a := range found {
			a.makeText()
			if err := c.printJSONLine(a); err != nil {
				return err
			}
		}
	} else if len(found) > 0 {
		table := c.newTable("PATH", "STATE", "PID", "WORKERS", "APPS", "OWNER", "REASON")
		for _, a := range found {
			table.row(a.Path, a.State, number(a.PID), number(a.Workers), strings.Join(a.Apps, ","), a.Owner, a.Reason)
		}
		table.print()
	}
	if !answering {
		return negativef("no arbiter answers")
	}
	return nil
}

// makeText replaces what is no text: a path can hold any bytes, but JSON cannot.
func (a *arbiter) makeText() {
	a.Path, a.Reason = strings.ToValidUTF8(a.Path, "\ufffd"), strings.ToValidUTF8(a.Reason, "\ufffd")
	for i := range a.FoundBy {
		a.FoundBy[i] = strings.ToValidUTF8(a.FoundBy[i], "\ufffd")
	}
}

// number returns "" for 0, which stands for what is not known.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// listeningSockets is replaced by tests, whose machine may have other arbiters.
var listeningSockets = readListeningSockets

// findArbiters looks for arbiters and asks each for its status.
func findArbiters(ctx context.Context) ([]arbiter, error) {
	var found []arbiter
	add := func(path, by string) {
		path = filepath.Clean(path)
		for i := range found {
			if found[i].Path == path {
				found[i].FoundBy = append(found[i].FoundBy, by)
				return
			}
		}
		if len(found) < maxCandidates {
			found = append(found, arbiter{Path: path, FoundBy: []string{by}})
		}
	}
	if path := os.Getenv(client.EnvSocket); path != "" {
		add(path, client.EnvSocket)
	}
	files, _ := filepath.Glob(client.PIDFileName("*")) // the pattern is good
	for _, file := range files[:min(len(files), maxCandidates)] {
		if path, err := client.FromPIDFile(file)(ctx); err == nil {
			add(path, file)
		}
	}
	sockets, _ := filepath.Glob(filepath.Join(os.TempDir(), "gunicorn-dirty-*", "arbiter.sock")) // the pattern is good
	for _, path := range sockets {
		add(path, os.TempDir())
	}
	for _, path := range listeningSockets() {
		if filepath.Base(path) == "arbiter.sock" {
			add(path, "sockets of this machine")
		}
	}
	var asked sync.WaitGroup
	for i := range found {
		asked.Go(func() { found[i].ask(ctx) })
	}
	asked.Wait()
	slices.SortStableFunc(found, func(a, b arbiter) int { return strings.Compare(a.Path, b.Path) })
	return found, ctx.Err()
}

// ask asks the arbiter for its status.
func (a *arbiter) ask(ctx context.Context) {
	if info, err := os.Lstat(a.Path); err == nil {
		a.Owner = ownerName(info)
	} else if info, err := os.Lstat(filepath.Dir(a.Path)); err == nil {
		a.Owner = ownerName(info)
	}
	a.trusted = trustedPlace(a.Path)
	status, err := askStatus(ctx, a.Path)
	switch {
	case err == nil:
		a.State = stateAnswers
		a.PID, a.Workers, a.Apps = status.ArbiterPID, len(status.Workers), status.Apps
		if !a.trusted {
			a.Reason = "its place is not this user's alone: name it with -s"
		}
	case errors.Is(err, fs.ErrNotExist):
		a.State = stateMissing
	case errors.Is(err, fs.ErrPermission):
		a.State, a.Reason = stateDenied, whoMayNot(a.Path)
	case errors.Is(err, client.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		a.State = stateSilent
	case errors.Is(err, client.ErrUnsupportedPeer):
		a.State, a.Reason = stateOther, client.ErrUnsupportedPeer.Error()
	case errors.Is(err, client.ErrUnavailable):
		a.State = stateRefuses
	default:
		a.State = stateOther
	}
}

// askStatus asks for the status at a path, with little time and memory: whoever
// listens there need not be an arbiter.
func askStatus(ctx context.Context, path string) (*client.Status, error) {
	c, err := client.New(client.WithSocket(path), client.WithTimeout(findTime), client.WithDialTimeout(findTime),
		client.WithMaxIdle(0, 0), client.WithLimits(dirty.Limits{MaxPayload: 1 << 20}))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Status(ctx)
}
