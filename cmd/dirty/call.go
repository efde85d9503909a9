package main

import (
	"bytes"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

const helpExec = `Calls an action of an app and prints its result.

` + helpArgs + `

  -o text  (default) the notation of "dirty decode": {"label": "cat", "raw": h'00ff'}
  -o json  that of "dirty decode -o json": order, ints and floats survive
  -o raw   a string or bytes as they are, and all else as JSON

Interrupting the command closes the connection. The action runs to its end.`

func (c *cli) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "exec APP ACTION [ARG|NAME=ARG]...",
		SuggestFor:        []string{"call", "execute", "run"},
		Short:             "Call an action and print its result",
		Long:              helpExec,
		Example:           "  dirty exec app:Model classify @cat.png top_k=5\n  dirty exec app:Math add 1 -1\n  dirty exec -n app:Math add 1 -1",
		Args:              needArgs(2, -1, "an app and an action"),
		ValidArgsFunction: c.completeApps,
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON, formatRaw)
	flags := c.addArgFlags(cmd)
	dryRun := addDryRunFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		call, err := flags.parse(cmd, args[2:])
		if err != nil {
			return err
		}
		if *dryRun {
			return c.printCall(call, args[0], args[1])
		}
		arbiter, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer arbiter.Close()
		result, err := client.Call[dirty.RawValue](cmd.Context(), arbiter, args[0], args[1], call.list()...)
		if err != nil {
			return err
		}
		return c.printValue(result)
	}
	return cmd
}

func addDryRunFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("dry-run", "n", false, "print the call, and do not make it")
}

func (c *cli) printCall(call *callArgs, app, action string) error {
	var line bytes.Buffer
	if err := call.print(&line, app, action, c.format); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := c.stdout.Write(line.Bytes())
	return err
}

// readAhead is how many bytes of chunks are read before they can be printed.
const readAhead = 64 << 20

const helpStream = `Calls an action that streams, and prints each chunk when it comes. What an action
returns that does not stream is printed as one chunk.

` + helpArgs + `

The formats are those of "dirty exec"; -o raw prints text as it is generated.

Chunks are read before they can be printed, up to 64 MiB of them. So whoever reads the
output slowly does not hold up the worker. Interrupting the command closes the
connection, and the action stops at its next chunk or two. So does --max.`

func (c *cli) streamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "stream APP ACTION [ARG|NAME=ARG]...",
		Short:             "Call an action that streams, and print its chunks as they come",
		Long:              helpStream,
		Example:           "  dirty stream -o raw app:LLM generate \"Once upon\"\n  dirty stream app:LLM generate \"Once upon\" --max 10",
		Args:              needArgs(2, -1, "an app and an action"),
		ValidArgsFunction: c.completeApps,
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON, formatRaw)
	flags := c.addArgFlags(cmd)
	dryRun := addDryRunFlag(cmd)
	most := cmd.Flags().Int("max", 0, "stop after `N` chunks")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *most < 0 || *most == 0 && cmd.Flags().Changed("max") {
			return usagef("--max %d: want 1 or more", *most)
		}
		call, err := flags.parse(cmd, args[2:])
		if err != nil {
			return err
		}
		if *dryRun {
			return c.printCall(call, args[0], args[1])
		}
		arbiter, err := c.connect(cmd.Context(), client.WithReadAhead(readAhead))
		if err != nil {
			return err
		}
		defer arbiter.Close()
		stream, err := arbiter.OpenStream(cmd.Context(), args[0], args[1], call.list()...)
		if err != nil {
			return err
		}
		defer stream.Close()
		for n := 0; *most == 0 || n < *most; n++ {
			chunk, err := client.RecvOf[dirty.RawValue](stream)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := c.printValue(chunk); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
