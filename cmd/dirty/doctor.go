package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

const helpDoctor = `Looks for what is wrong with an arbiter and its workers:

  - its socket: whose it is, who may use it, whether the arbiter answers
  - apps that no worker has started
  - workers that are replaced again and again, by two looks with a pause
  - workers that are stuck: each worker has a socket of its own, beside the
    arbiter's, and a free worker answers there at once. One that does not answer
    within the time of --stuck is stuck, or busy with a call that takes long. This
    is the only way to find it: for the arbiter it is alive.

Each finding is a line that begins with ok, note or bad. The exit status is 7 if one
is bad.`

func (c *cli) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find out what is wrong: stuck workers, a dead arbiter, crashes",
		Long:    helpDoctor,
		Example: "  dirty doctor\n  dirty doctor --stuck 10s -o json",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	stuck := cmd.Flags().Duration("stuck", 2*time.Second, "a worker that does not answer for so long is stuck")
	pause := cmd.Flags().Duration("pause", 2*time.Second, "the pause between two looks at the workers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *stuck <= 0 || *pause <= 0 {
			return usagef("--stuck and --pause: want more than 0")
		}
		d := &doctor{cli: c, stuck: *stuck, pause: *pause}
		return d.run(cmd.Context())
	}
	return cmd
}

// The levels of findings.
const (
	levelOK   = "ok"
	levelNote = "note"
	levelBad  = "bad"
)

// finding is a line of doctor in JSON.
type finding struct {
	Level string `dirty:"level"`
	About string `dirty:"about"` // socket, arbiter, app or worker
	PID   int    `dirty:"pid"`   // 0 if it is not about a process
	Text  string `dirty:"text"`
}

// doctor is a run of the command.
type doctor struct {
	*cli
	stuck, pause time.Duration
	found        []finding
}

func (d *doctor) say(level, about string, pid int, format string, args ...any) {
	d.found = append(d.found, finding{level, about, pid, strings.ToValidUTF8(fmt.Sprintf(format, args...), "\ufffd")})
}

func (d *doctor) run(ctx context.Context) error {
	t, err := d.chooseTarget(ctx)
	if err != nil {
		return err
	}
	if err := d.examine(ctx, t); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	bad := false
	for _, f := range d.found {
		bad = bad || f.Level == levelBad
		if d.format == formatJSON {
			if err := d.printJSONLine(f); err != nil {
				return err
			}
			continue
		}
		level := d.paintWord(d.stdout, f.Level) + strings.Repeat(" ", len(levelNote)-len(f.Level))
		fmt.Fprintf(d.stdout, "%s  %s: %s\n", level, f.About, printable(f.Text))
	}
	if bad {
		return errQuietNo
	}
	return nil
}

// examine makes all findings.
func (d *doctor) examine(ctx context.Context, t target) error {
	path, err := t.resolve(ctx)
	if err != nil {
		d.say(levelBad, "socket", 0, "its path is not known, by %s: %v", t.chosen, err)
		return nil
	}
	d.examineSocket(path, t.chosen)
	arbiter, err := d.connectTo(t)
	if err != nil {
		return err
	}
	defer arbiter.Close()
	start := time.Now()
	status, err := arbiter.Status(ctx)
	if err != nil {
		d.explainSilence(err)
		return nil
	}
	d.say(levelOK, "arbiter", status.ArbiterPID, "pid %d answered in %v, %s", status.ArbiterPID,
		time.Since(start).Round(time.Microsecond), count(len(status.Workers), "worker"))
	if n := arbiter.Stats().BacklogFull; n > 0 {
		d.say(levelBad, "socket", 0, "%s found the listen backlog full: the arbiter is too busy to accept", count(int(n), "dial"))
	}
	var probes sync.WaitGroup
	states := make([]workerState, len(status.Workers))
	sockets := workerSockets(path)
	for i, w := range status.Workers {
		probes.Go(func() {
			limited, cancel := context.WithTimeout(ctx, d.stuck)
			defer cancel()
			states[i] = probe(limited, sockets, w)
		})
	}
	_ = sleep(ctx, d.pause)
	later, err := arbiter.Status(ctx)
	probes.Wait()
	if err != nil {
		d.say(levelBad, "arbiter", status.ArbiterPID, "it answered once, but not a second time: %v", err)
		return nil
	}
	d.compare(status, later)
	for i, w := range status.Workers {
		d.judge(w, states[i], alive(later, w.PID))
	}
	for _, app := range later.Apps {
		if later.Serving(app) == 0 {
			d.say(levelBad, "app", 0, "no worker has started %s: see gunicorn's log", app)
		}
	}
	return nil
}

func (d *doctor) examineSocket(path, chosen string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.say(levelBad, "socket", 0, "%s, by %s, is missing: the arbiter has ended, or has another path now", path, chosen)
	case errors.Is(err, os.ErrPermission):
		d.say(levelBad, "socket", 0, "%s, by %s, is not for this user: %s", path, chosen, whoMayNot(path))
	case err != nil:
		d.say(levelBad, "socket", 0, "%v", err)
	case info.Mode().Type() != os.ModeSocket:
		d.say(levelBad, "socket", 0, "%s, by %s, is no socket", path, chosen)
	default:
		d.say(levelOK, "socket", 0, "%s, by %s, owned by %s, mode %04o", path, chosen, ownerName(info), info.Mode().Perm())
	}
}

// explainSilence says why the arbiter did not answer.
func (d *doctor) explainSilence(err error) {
	switch {
	case errors.Is(err, client.ErrUnsupportedPeer):
		d.say(levelBad, "arbiter", 0, "%v", err)
	case errors.Is(err, os.ErrPermission):
		d.say(levelBad, "arbiter", 0, "this user may not connect: %s", d.tried.Load().hint(err))
	case errors.Is(err, client.ErrTimeout) && wasSent(err):
		d.say(levelBad, "arbiter", 0, "it accepts connections and does not answer: it hangs, or is stopped: %v", err)
	case errors.Is(err, client.ErrTimeout):
		d.say(levelBad, "arbiter", 0, "it accepts no connections any more: it hangs, or is stopped, or has too much to do: %v", err)
	default:
		d.say(levelBad, "arbiter", 0, "it does not answer: %v", err)
	}
}

// wasSent reports whether a request was sent whole before it failed.
func wasSent(err error) bool {
	var failed *client.OpError
	return errors.As(err, &failed) && failed.Sent
}

// compare finds workers that were replaced between two looks.
func (d *doctor) compare(before, after *client.Status) {
	newest := 0
	for _, w := range before.Workers {
		newest = max(newest, w.Age)
	}
	fresh, gone := 0, 0
	for _, w := range after.Workers {
		if w.Age > newest {
			fresh++
		}
	}
	for _, w := range before.Workers {
		if !alive(after, w.PID) {
			gone++
		}
	}
	if fresh > 0 && (gone > 0 || len(before.Workers) == 0) {
		d.say(levelBad, "worker", 0, "%s ended and %s started within %v: they may crash again and again, see gunicorn's log",
			count(gone, "worker"), count(fresh, "worker"), d.pause)
	}
	if len(after.Workers) == 0 {
		d.say(levelBad, "worker", 0, "there are none: they may crash as they start, see gunicorn's log")
	}
}

func alive(status *client.Status, pid int) bool {
	for _, w := range status.Workers {
		if w.PID == pid {
			return true
		}
	}
	return false
}

func (d *doctor) judge(w client.Worker, state workerState, alive bool) {
	name := fmt.Sprintf("%d, pid %d", w.Age, w.PID)
	switch {
	case !alive:
		d.say(levelNote, "worker", w.PID, "%s, has ended meanwhile", name)
	case state == workerStuck:
		d.say(levelBad, "worker", w.PID, "%s, has not answered for %v: it is stuck, or its call takes long; see where: py-spy dump --pid %d",
			name, d.stuck, w.PID)
	case !w.Booted:
		d.say(levelNote, "worker", w.PID, "%s, has not started yet", name)
	case state == workerFree:
		d.say(levelOK, "worker", w.PID, "%s, answers, %s", name, strings.Join(w.Apps, ", "))
	default:
		d.say(levelNote, "worker", w.PID, "%s, cannot be asked: its own socket was not found", name)
	}
}
