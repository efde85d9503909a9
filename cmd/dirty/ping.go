package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

const helpPing = `Asks the arbiter for its status, and prints how long the answer took. The arbiter
answers by itself, even if all workers are busy.

With --ready it waits until the apps have workers that have started, and with --wait
alone until the arbiter answers and has a worker; at most for that time. If it was in
vain the exit status is 7.`

func (c *cli) pingCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ping",
		Short:   "Measure how long the arbiter takes to answer",
		Long:    helpPing,
		Example: "  dirty ping -c 5\n  dirty ping --ready app:Model --wait 30s",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	times := cmd.Flags().IntP("count", "c", 1, "ping `N` times")
	pause := cmd.Flags().DurationP("interval", "i", time.Second, "the `PAUSE` between two pings")
	ready := cmd.Flags().StringSlice("ready", nil, "wait until the `APP` has a worker; may be repeated")
	wait := cmd.Flags().Duration("wait", 0, "how long to wait for what --ready says, or for any worker")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *times < 1 {
			return usagef("--count %d: want 1 or more", *times)
		}
		if *pause < 0 || *wait < 0 {
			return usagef("--interval and --wait: want no negative time")
		}
		waits := len(*ready) > 0 || cmd.Flags().Changed("wait")
		return c.ping(cmd.Context(), *times, *pause, waits, *ready, *wait)
	}
	return cmd
}

// pong is an answer in JSON.
type pong struct {
	ArbiterPID int     `dirty:"arbiter_pid"`
	Workers    int     `dirty:"workers"`
	Seconds    float64 `dirty:"seconds"`
}

func (c *cli) ping(ctx context.Context, times int, pause time.Duration, waits bool, apps []string, wait time.Duration) error {
	arbiter, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer arbiter.Close()
	if waits {
		if err := waitReady(ctx, arbiter, apps, wait); err != nil {
			return err
		}
	}
	var failed error
	for n := range times {
		if n > 0 {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
		start := time.Now()
		status, err := arbiter.Status(ctx)
		took := time.Since(start)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && n+1 < times:
			failed = &statusError{status: c.report(ctx, err)}
			continue
		case err != nil:
			return err
		case c.format == formatJSON:
			err = c.printJSONLine(pong{status.ArbiterPID, len(status.Workers), took.Seconds()})
		default:
			_, err = fmt.Fprintf(c.stdout, "arbiter %d, %s: %v\n", status.ArbiterPID, count(len(status.Workers), "worker"), took.Round(time.Microsecond))
		}
		if err != nil {
			return err
		}
	}
	return failed
}

// waitReady waits until the apps have workers, at most for a time; 0 is no wait.
func waitReady(ctx context.Context, arbiter *client.Client, apps []string, wait time.Duration) error {
	if wait == 0 {
		status, err := arbiter.Status(ctx)
		if err != nil {
			return err
		}
		for _, app := range apps {
			if status.Serving(app) == 0 {
				return negativef("not ready: no worker has started %s", app)
			}
		}
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := arbiter.WaitReady(limited, apps...)
	if err != nil && ctx.Err() == nil && (errors.Is(err, client.ErrUnavailable) || limited.Err() != nil) {
		return negativef("not ready within %v: %v", wait, err)
	}
	return err
}
