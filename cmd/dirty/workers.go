package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

func (c *cli) workersCommand() *cobra.Command {
	group := c.group(&cobra.Command{
		Use:     "workers",
		Short:   "Print, add or remove workers",
		Long:    "Prints, adds or removes workers. Without a command it prints them, as\n\"dirty workers ls\" does.",
		Example: "  dirty workers\n  dirty workers add 2\n  dirty workers rm 1 -y",
	})
	list := c.workersListCommand()
	unknown := group.RunE
	group.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		return list.RunE(cmd, args)
	}
	c.addDialFlags(group)
	group.AddCommand(list, c.workersAddCommand(), c.workersRemoveCommand())
	return group
}

func (c *cli) workersListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "ls",
		SuggestFor: []string{"list", "ps"},
		Short:      "Print the workers, as status does",
		Example:    "  dirty workers ls",
		Args:       needArgs(0, 0, "no arguments"),
		RunE:       func(cmd *cobra.Command, _ []string) error { return c.status(cmd.Context(), 0) },
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	return cmd
}

func (c *cli) workersAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add N",
		Short: "Start more workers",
		Long: `Starts N more workers. It takes the arbiter about 0.1 seconds each, and interrupting
the command does not stop it. If fewer are started, because the apps have reached
their limits, the exit status is 7.`,
		Example: "  dirty workers add 2",
		Args:    needArgs(1, 1, "how many"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.scale(cmd.Context(), args[0], "added", (*client.Client).AddWorkers)
	}
	return cmd
}

func (c *cli) workersRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "rm N",
		SuggestFor: []string{"remove", "delete", "kill", "stop"},
		Short:      "End workers, the oldest first",
		Long: `Ends N workers, the oldest first, and with them the calls that they are busy with. It
asks first, and without a terminal it needs -y. The arbiter keeps as many as the apps
ask for; if fewer are ended the exit status is 7.`,
		Example: "  dirty workers rm 1 -y",
		Args:    needArgs(1, 1, "how many"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.scale(cmd.Context(), args[0], "removed", (*client.Client).RemoveWorkers)
	}
	c.askFirst(cmd, func(args []string) string {
		return fmt.Sprintf("End %s workers, with the calls that they are busy with?", args[0])
	})
	return cmd
}

// shownScale is the result of adding or removing workers in JSON.
type shownScale struct {
	Requested int    `dirty:"requested"`
	Changed   int    `dirty:"changed"`
	Total     int    `dirty:"total"`
	Target    int    `dirty:"target"`
	Reason    string `dirty:"reason"`
}

func (c *cli) scale(ctx context.Context, number, done string, call func(*client.Client, context.Context, int) (*client.ScaleResult, error)) error {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > client.MaxScale {
		return usagef("%q workers: want a number from 1 to %d", number, client.MaxScale)
	}
	arbiter, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer arbiter.Close()
	result, err := call(arbiter, ctx, n)
	if err != nil {
		return err
	}
	if c.format == formatJSON {
		err = c.printJSONLine(shownScale(*result))
	} else {
		_, err = fmt.Fprintf(c.stdout, "%s %d of %d: the arbiter has %s and keeps %d\n",
			done, result.Changed, result.Requested, count(result.Total, "worker"), result.Target)
	}
	if err == nil && result.Changed < result.Requested {
		if result.Reason == "" {
			return negativef("%s %d of %d workers", done, result.Changed, result.Requested)
		}
		return negativef("%s %d of %d workers: %s", done, result.Changed, result.Requested, result.Reason)
	}
	return err
}
