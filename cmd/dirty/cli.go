package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
)

// cli is one run of the command.
type cli struct {
	ctx    context.Context // ends when the command is interrupted
	stdin  io.Reader
	stdout *output
	stderr io.Writer
	dial   dialFlags
	format string                      // what -o says, which errors obey too
	color  string                      // what --color says
	tried  atomic.Pointer[triedSocket] // the last socket that was to be dialled
}

// run is main without the process, for tests. It prints the error of a command;
// nothing else does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{ctx: ctx, stdin: stdin, stdout: &output{w: stdout}, stderr: stderr}
	root := c.rootCommand()
	root.SetArgs(markNumbers(args))
	root.SetIn(stdin)
	root.SetOut(c.stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if c.format == "" { // the flags were wrong before -o was reached
		c.format = formatIn(args)
	}
	if err == nil {
		err = c.stdout.err
	}
	nameHelp(cmd, err)
	return c.report(ctx, err)
}

// formatIn returns the value of -o in a command line that is wrong elsewhere.
func formatIn(args []string) string {
	for i, arg := range args {
		switch {
		case arg == "--":
			return ""
		case arg == "-o" || arg == "--output":
			if i+1 < len(args) {
				return args[i+1]
			}
		case strings.HasPrefix(arg, "--output="), strings.HasPrefix(arg, "-o="):
			_, format, _ := strings.Cut(arg, "=")
			return format
		case strings.HasPrefix(arg, "-o"):
			return arg[len("-o"):]
		}
	}
	return ""
}

// output is standard output. It keeps the first error, so that code that
// prints need not look for one.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	o.err = err
	return n, err
}

// choice is a flag whose value is one of a few words.
type choice struct {
	words []string
	value *string
	what  string // what the help calls the value
}

func (c *choice) String() string { return *c.value }

func (c *choice) Type() string { return c.what }

func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			*c.value = s
			return nil
		}
	}
	return errors.New("want one of " + joinWords(c.words))
}

// needArgs returns a check of how many arguments there are; what names them.
func needArgs(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s: want %s", nameOf(cmd), what)
		case most >= 0 && len(args) > most:
			return usagef("%s: unexpected %q: want %s", nameOf(cmd), unmarkNumbers(args)[most:], what)
		}
		return nil
	}
}

// nameOf is how the text of an error calls a command: "stash get".
func nameOf(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.CommandPath(), "dirty ") }
