package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

const helpStatus = `Prints the arbiter's state and its workers, the oldest first.

  AGE        the arbiter numbers its workers in the order in which it starts them
  HEARTBEAT  the time since the worker's last sign of life. It says little: a worker
             that is stuck still gives signs. "dirty doctor" finds such workers.`

func (c *cli) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "status",
		SuggestFor: []string{"ps", "ls", "list"},
		Short:      "Print the arbiter's workers and apps",
		Long:       helpStatus,
		Example:    "  dirty status\n  dirty status -w 2s\n  dirty status -o json | jq '.workers[].pid'",
		Args:       needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	watch := cmd.Flags().DurationP("watch", "w", 0, "print it again and again, with a `PAUSE` such as 2s")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *watch < 0 || *watch == 0 && cmd.Flags().Changed("watch") {
			return usagef("--watch %v: want more than 0", *watch)
		}
		return c.status(cmd.Context(), *watch)
	}
	return cmd
}

// status prints the status, again and again if there is a pause. While it watches, an
// arbiter that does not answer is told of and no reason to end.
func (c *cli) status(ctx context.Context, pause time.Duration) error {
	arbiter, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer arbiter.Close()
	for {
		status, err := arbiter.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = c.printStatus(status)
			if err != nil {
				return err
			}
		case pause == 0:
			return err
		default:
			c.report(ctx, err)
		}
		if pause == 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if c.format == formatText {
			fmt.Fprintln(c.stdout)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shownStatus is the status in JSON.
type shownStatus struct {
	ArbiterPID int           `dirty:"arbiter_pid"`
	Apps       []string      `dirty:"apps"`
	Workers    []shownWorker `dirty:"workers"`
}

type shownWorker struct {
	PID       int      `dirty:"pid"`
	Age       int      `dirty:"age"`
	Apps      []string `dirty:"apps"`
	Booted    bool     `dirty:"booted"`
	Heartbeat float64  `dirty:"heartbeat"` // seconds since the last one
}

func (c *cli) printStatus(status *client.Status) error {
	if c.format == formatJSON {
		shown := shownStatus{status.ArbiterPID, status.Apps, []shownWorker{}}
		for _, w := range status.Workers {
			shown.Workers = append(shown.Workers, shownWorker{w.PID, w.Age, w.Apps, w.Booted, w.HeartbeatAge.Seconds()})
		}
		return c.printJSONLine(shown)
	}
	fmt.Fprintf(c.stdout, "arbiter %d, %s, apps: %s\n", status.ArbiterPID, count(len(status.Workers), "worker"),
		printable(strings.Join(status.Apps, ", ")))
	if len(status.Workers) == 0 {
		return nil
	}
	table := c.newTable("PID", "AGE", "HEARTBEAT", "APPS")
	for _, w := range status.Workers {
		table.row(fmt.Sprint(w.PID), fmt.Sprint(w.Age), heartbeat(w.Booted, w.HeartbeatAge.Seconds()), strings.Join(w.Apps, ", "))
	}
	table.print()
	return nil
}

// heartbeat returns the time since the last sign of life of a worker.
func heartbeat(booted bool, seconds float64) string {
	if !booted {
		return "none yet"
	}
	return fmt.Sprintf("%.1f s", seconds)
}
