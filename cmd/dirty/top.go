package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

const helpTop = `Shows the arbiter and its workers on the terminal, and looks again and again.

  STATE      what the worker's own socket says: free if it answers at once, busy while
             it does not, stuck if it has not answered for the time of --stuck; with
             dirty_threads above 1 it is free as long as a thread is
  HEARTBEAT  the time since its last sign of life, which says little: a worker that is
             stuck still gives signs

  q  ends it                        r  looks at once
  s  sorts by the next column       t  shows the tables of the stash, or hides them
  arrows, page up and page down, home and end scroll

An arbiter that does not answer is waited for. Without a terminal, and with -o json,
each look is printed: as the same table, or as an object on a line.`

// topFlags are the flags of top, and of cluster top.
type topFlags struct {
	interval time.Duration
	sort     string
	columns  []string // that sort may be
	tables   bool     // not of cluster top
	count    int      // 0: without an end
}

// newTopFlags adds to a command the flags that both have.
func newTopFlags(cmd *cobra.Command, columns []string) *topFlags {
	f := &topFlags{sort: columns[0], columns: columns}
	cmd.Flags().DurationVarP(&f.interval, "interval", "i", 2*time.Second, "the `PAUSE` between two looks")
	cmd.Flags().Var(&choice{columns, &f.sort, "COLUMN"}, "sort", "sort by "+joinWords(columns))
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(columns, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	cmd.Flags().IntVarP(&f.count, "count", "c", 0, "stop after `N` looks")
	return f
}

// check refuses values that make no sense.
func (f *topFlags) check(cmd *cobra.Command) error {
	switch {
	case f.interval <= 0:
		return usagef("--interval: want more than 0")
	case f.count < 0 || f.count == 0 && cmd.Flags().Changed("count"):
		return usagef("--count %d: want 1 or more", f.count)
	}
	return nil
}

func (c *cli) topCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Watch the workers on the terminal: free, busy or stuck",
		Long:    helpTop,
		Example: "  dirty top\n  dirty top -i 500ms --sort state --tables\n  dirty top -c 1 -o json | jq '.workers[] | select(.state == \"stuck\").pid'",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	f := newTopFlags(cmd, namesOf(topColumns))
	stuck := cmd.Flags().Duration("stuck", 2*time.Second, "a worker that does not answer for so long is stuck")
	cmd.Flags().BoolVar(&f.tables, "tables", false, "show the tables of the stash too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		if *stuck <= 0 {
			return usagef("--stuck: want more than 0")
		}
		t, err := c.chooseTarget(cmd.Context())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		l := &looker{cli: c, target: t, watch: workerWatch{stuck: *stuck}}
		defer l.close()
		defer cancel()
		look := func(ctx context.Context, withTables bool) (topSeen, error) { return l.look(ctx, withTables) }
		return c.top(ctx, &topScreen{topFlags: *f, title: "dirty top", hasTables: true, look: look})
	}
	return cmd
}

// top shows a screen, or prints each look where there is none.
func (c *cli) top(ctx context.Context, s *topScreen) error {
	s.ctx, s.cli, s.colorful = ctx, c, c.colorful(c.stdout)
	if c.hasScreen() {
		return c.runScreen(ctx, s)
	}
	return c.topLines(ctx, s.topFlags, s.look)
}

// topLook looks once, also at the tables of the stash if that is wanted.
type topLook func(ctx context.Context, withTables bool) (topSeen, error)

// topSeen is what a look has seen. It is also what JSON shows.
type topSeen interface {
	time() time.Time
	headline() string
	sort(column string)
	tables(shape tableShape) []string
}

// topLines prints each look. A peer that does not answer is told of, and no reason to
// end but at the last look.
func (c *cli) topLines(ctx context.Context, f topFlags, look topLook) error {
	for n := 1; ; n++ {
		seen, err := look(ctx, f.tables)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && n == f.count:
			return err
		case err != nil:
			c.report(ctx, err)
		default:
			seen.sort(f.sort)
			if err := c.printSeen(seen); err != nil {
				return err
			}
		}
		if n == f.count {
			return nil
		}
		if err := sleep(ctx, f.interval); err != nil {
			return err
		}
	}
}

func (c *cli) printSeen(seen topSeen) error {
	if c.format == formatJSON {
		return c.printJSONLine(seen)
	}
	fmt.Fprintf(c.stdout, "%s %s\n", seen.time().Format(timeFormat), seen.headline())
	for _, table := range seen.tables(tableShape{width: widthOf(c.stdout), colorful: c.colorful(c.stdout)}) {
		fmt.Fprintln(c.stdout, table)
	}
	fmt.Fprintln(c.stdout)
	return c.stdout.err
}

// looker looks at an arbiter. One look is made at a time.
type looker struct {
	cli     *cli
	target  target
	arbiter *client.Client // nil: not yet
	watch   workerWatch
}

// close ends what a look has left. Its context must have ended.
func (l *looker) close() {
	l.watch.wait()
	if l.arbiter != nil {
		_ = l.arbiter.Close()
	}
}

// maxSeenTables bounds how many tables are asked for their size.
const maxSeenTables = 20

// look asks the arbiter, and each worker at its own socket. An arbiter that was looked
// for, and not named, is looked for again when it does not answer.
func (l *looker) look(ctx context.Context, withTables bool) (*seenArbiter, error) {
	if l.arbiter == nil {
		arbiter, err := l.cli.connectTo(l.target)
		if err != nil {
			return nil, err
		}
		l.arbiter = arbiter
	}
	seen := &seenArbiter{at: time.Now()}
	status, err := l.arbiter.Status(ctx)
	if err != nil {
		if !l.target.named && ctx.Err() == nil {
			if t, failure := l.cli.chooseTarget(ctx); failure == nil {
				_ = l.arbiter.Close()
				l.target, l.arbiter = t, nil
			}
		}
		return nil, err
	}
	seen.Seconds = time.Since(seen.at).Seconds()
	seen.Time, seen.ArbiterPID, seen.Apps = seen.at.Format(time.RFC3339Nano), status.ArbiterPID, status.Apps
	if path, err := l.target.resolve(ctx); err == nil {
		l.watch.look(ctx, path, status.Workers)
		l.watch.settle(ctx)
	}
	seen.Workers = []seenWorker{}
	for _, w := range status.Workers {
		state, silent := l.watch.state(w.PID)
		seen.Workers = append(seen.Workers, seenWorker{
			shownWorker{w.PID, w.Age, w.Apps, w.Booted, w.HeartbeatAge.Seconds()}, state.String(), silent.Seconds(),
		})
	}
	if !withTables {
		return seen, nil
	}
	names, err := l.arbiter.Tables(ctx)
	for _, name := range names[:min(len(names), maxSeenTables)] {
		if info, infoErr := l.arbiter.Stash(name).Info(ctx); infoErr == nil { // else it was dropped meanwhile
			seen.Tables = append(seen.Tables, seenTable{info.Table, info.Size})
		}
	}
	seen.moreTables = max(0, len(names)-maxSeenTables)
	return seen, err
}

// seenArbiter is what a look has seen, also in JSON.
type seenArbiter struct {
	Time       string       `dirty:"time"`
	ArbiterPID int          `dirty:"arbiter_pid"`
	Seconds    float64      `dirty:"seconds"` // until it answered
	Apps       []string     `dirty:"apps"`
	Workers    []seenWorker `dirty:"workers"`
	Tables     []seenTable  `dirty:"tables,omitempty"`

	at         time.Time
	moreTables int // that were not asked for their size
}

type seenWorker struct {
	shownWorker
	State  string  `dirty:"state"`
	Silent float64 `dirty:"silent"` // seconds for which it has not answered
}

type seenTable struct {
	Name string `dirty:"name"`
	Keys int    `dirty:"keys"`
}

func (s *seenArbiter) time() time.Time { return s.at }

func (s *seenArbiter) sort(column string) { sortRows(s.Workers, topColumns, column) }

func (s *seenArbiter) headline() string {
	counts := map[string]int{}
	for _, w := range s.Workers {
		counts[w.State]++
	}
	line := fmt.Sprintf("arbiter %d, %s", s.ArbiterPID, count(len(s.Workers), "worker"))
	for _, state := range []workerState{workerFree, workerBusy, workerStuck, workerUnknown} {
		if n := counts[state.String()]; n > 0 {
			line += fmt.Sprintf(", %d %v", n, state)
		}
	}
	return line + ", answered in " + time.Duration(s.Seconds*float64(time.Second)).Round(time.Microsecond).String()
}

// tables returns the table of the workers, and that of the stash if there is one.
func (s *seenArbiter) tables(shape tableShape) []string {
	tables := []string{renderRows(s.Workers, topColumns, shape)}
	if len(s.Tables) > 0 {
		rows := make([][]string, len(s.Tables))
		for i, t := range s.Tables {
			rows[i] = []string{printable(t.Name), fmt.Sprint(t.Keys)}
		}
		if s.moreTables > 0 {
			rows = append(rows, []string{fmt.Sprintf("and %d more", s.moreTables), ""})
		}
		tables = append(tables, renderTable([]string{"TABLE", "KEYS"}, rows, shape))
	}
	return tables
}
