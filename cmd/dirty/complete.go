package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
)

// completeTime bounds how long a completion waits for the arbiter. If that does not
// answer, nothing is offered and nothing is said. Tests set it.
var completeTime = 300 * time.Millisecond

// completing is what a shell is told: names, and that no files are meant.
type completing = func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective)

// complete asks the arbiter for names.
func (c *cli) complete(ctx context.Context, ask func(context.Context, *client.Client) []string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	arbiter, err := c.connect(ctx, client.WithDialTimeout(completeTime))
	if err != nil {
		return nil
	}
	defer arbiter.Close()
	return ask(ctx, arbiter)
}

// completeApps offers the apps for the first argument.
func (c *cli) completeApps(cmd *cobra.Command, args []string, start string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault // files, for @FILE
	}
	return c.complete(cmd.Context(), func(ctx context.Context, arbiter *client.Client) []string {
		status, err := arbiter.Status(ctx)
		if err != nil {
			return nil
		}
		return startingWith(start, status.Apps)
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeStash offers tables for the first argument, and keys for the second if
// withKeys is set.
func (c *cli) completeStash(withKeys bool) completing {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		return c.complete(cmd.Context(), func(ctx context.Context, arbiter *client.Client) []string {
			switch {
			case len(args) == 0:
				tables, err := arbiter.Tables(ctx)
				if err != nil {
					return nil
				}
				return startingWith(start, tables)
			case len(args) == 1 && withKeys:
				keys, err := arbiter.Stash(args[0]).Keys(ctx, "")
				if err != nil {
					return nil
				}
				var names []string
				for _, key := range keys {
					if name, err := keyText(key); err == nil {
						names = append(names, name)
					}
				}
				return startingWith(start, names)
			}
			return nil
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// startingWith returns the names that can be offered on a line of a shell.
func startingWith(start string, names []string) (some []string) {
	for _, name := range names {
		if strings.HasPrefix(name, start) && printable(name) == name {
			some = append(some, name)
		}
	}
	return some
}
