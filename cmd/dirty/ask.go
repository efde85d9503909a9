package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// askFirst adds -y to a command that destroys something. Without it the command asks
// on a terminal, and is refused elsewhere. question makes the question from the
// arguments. Call it after RunE was set, if it is set.
func (c *cli) askFirst(cmd *cobra.Command, question func(args []string) string) {
	yes := cmd.Flags().BoolP("yes", "y", false, "do not ask")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			if err := c.ask(cmd, question(args)); err != nil {
				return err
			}
		}
		if run == nil {
			return nil
		}
		return run(cmd, args)
	}
}

// ask asks a question on the terminal. Any answer but yes is an error.
func (c *cli) ask(cmd *cobra.Command, question string) error {
	if !isTerminal(c.stdin) || !isTerminal(c.stderr) {
		return usagef("%s: this destroys something, and there is no terminal to ask on: add -y", nameOf(cmd))
	}
	fmt.Fprintf(c.stderr, "%s [y/N] ", printable(question))
	answer := make(chan string, 1)
	go func() { // a read of a terminal cannot be cancelled
		line, _ := bufio.NewReader(io.LimitReader(c.stdin, 1<<10)).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return negativef("nothing was done")
	case <-cmd.Context().Done():
		fmt.Fprintln(c.stderr)
		return cmd.Context().Err()
	}
}
