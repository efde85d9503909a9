package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

const helpStash = `Reads and changes the stash: tables that the arbiter keeps in memory, and that all its
workers and clients share. Nothing of it outlives the arbiter.

KEY and VALUE are written as the arguments of "dirty exec": JSON if it is valid JSON,
else a string. So 5 is an int, and the string is '"5"'. Tables are plain names.
With -S keys and values are strings, whatever they look like.`

func (c *cli) stashCommand() *cobra.Command {
	group := c.group(&cobra.Command{
		Use:     "stash",
		Short:   "Read and change the tables that all workers share",
		Long:    helpStash,
		Example: "  dirty stash ls\n  dirty stash put users ada '{\"visits\": 1}'\n  dirty stash get users ada",
	})
	group.AddCommand(c.stashListCommand(), c.stashGetCommand(), c.stashPutCommand(), c.stashDeleteCommand(), c.stashInfoCommand(),
		c.stashExistsCommand(), c.stashClearCommand(), c.stashDropCommand(), c.stashDumpCommand(), c.stashLoadCommand())
	return group
}

// stashCall is a stash command while it runs.
type stashCall struct {
	*cli
	ctx     context.Context
	arbiter *client.Client
	flags   *argFlags
	args    []string // the first is the table
}

func (s *stashCall) table() *client.Stash { return s.arbiter.Stash(s.args[0]) }

// stashRunner sets up a command: it connects, and calls run.
func (c *cli) stashRunner(cmd *cobra.Command, run func(s *stashCall) error) *cobra.Command {
	c.addDialFlags(cmd)
	if cmd.Flags().Lookup("output") == nil { // it prints nothing but errors, or true and false
		c.addFormatFlag(cmd, formatText, formatJSON)
	}
	flags := &argFlags{stdin: c.stdin, openedFile: c.openInput}
	cmd.Flags().BoolVarP(&flags.strings, "strings", "S", false, "take keys and values as strings")
	confirm := cmd.RunE // asks before something is destroyed
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if confirm != nil {
			if err := confirm(cmd, args); err != nil {
				return err
			}
		}
		arbiter, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer arbiter.Close()
		return run(&stashCall{c, cmd.Context(), arbiter, flags, args})
	}
	return cmd
}

// key decodes the KEY of a command line.
func (s *stashCall) key() (key any, err error) {
	raw, err := s.flags.value(s.args[1])
	if err != nil {
		return nil, err
	}
	return key, dirty.Unmarshal(raw, &key)
}

// keyText writes a key as it can be written on a command line.
func keyText(key any) (string, error) {
	raw, err := dirty.Marshal(key)
	if err != nil {
		return "", err
	}
	return argText(raw)
}

func (c *cli) stashListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "ls [TABLE]",
		SuggestFor: []string{"list", "tables", "keys"},
		Short:      "Print the names of the tables, or the keys of one",
		Long: `Prints the names of the tables, or the keys of one, a line each. In text each can be
used as an argument as it is: a key that is no plain string is in JSON.`,
		Example:           "  dirty stash ls\n  dirty stash ls users --match 'a*'",
		Args:              needArgs(0, 1, "one table or none"),
		ValidArgsFunction: c.completeStash(false),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	match := cmd.Flags().String("match", "", "only keys that match a `PATTERN` of * ? [abc] [!abc]")
	return c.stashRunner(cmd, func(s *stashCall) error {
		var names []any
		var err error
		if len(s.args) > 0 {
			names, err = s.table().Keys(s.ctx, *match)
		} else if *match != "" {
			return usagef("--match without a table: it is for keys")
		} else {
			var tables []string
			if tables, err = s.arbiter.Tables(s.ctx); err == nil && c.format == formatText {
				for _, table := range tables { // a name is no ARG: never in JSON
					fmt.Fprintln(c.stdout, printable(table))
				}
				return nil
			}
			for _, table := range tables {
				names = append(names, table)
			}
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			raw, err := dirty.Marshal(name)
			if err == nil {
				err = c.printArgs([]dirty.RawValue{raw})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cli) stashGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "get TABLE KEY",
		Short:             "Print the value of a key",
		Long:              "Prints the value of a key. If there is none the exit status is 7.",
		Example:           "  dirty stash get users ada\n  dirty stash get -o raw images logo > logo.png",
		Args:              needArgs(2, 2, "a table and a key"),
		ValidArgsFunction: c.completeStash(true),
	}
	c.addFormatFlag(cmd, formatText, formatJSON, formatRaw)
	return c.stashRunner(cmd, func(s *stashCall) error {
		key, err := s.key()
		if err != nil {
			return err
		}
		value, err := client.StashGet[dirty.RawValue](s.ctx, s.table(), key)
		if err != nil {
			return err
		}
		return c.printValue(value)
	})
}

func (c *cli) stashPutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "put TABLE KEY VALUE",
		SuggestFor:        []string{"set"},
		Short:             "Store a value under a key",
		Long:              "Stores a value under a key, in place of the one that is there.\n\nA VALUE such as @logo.png is the bytes of a file; @- is those of standard input.",
		Example:           "  dirty stash put users ada '{\"visits\": 1}'\n  dirty stash put images logo @logo.png",
		Args:              needArgs(3, 3, "a table, a key and a value"),
		ValidArgsFunction: c.completeStash(true),
	}
	return c.stashRunner(cmd, func(s *stashCall) error {
		key, err := s.key()
		if err != nil {
			return err
		}
		value, err := s.flags.value(s.args[2])
		if err != nil {
			return err
		}
		return s.table().Put(s.ctx, key, value)
	})
}

func (c *cli) stashDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "del TABLE KEY",
		SuggestFor:        []string{"rm", "remove", "delete"},
		Short:             "Delete a key",
		Long:              "Deletes a key. If there is none the exit status is 7.",
		Example:           "  dirty stash del users ada",
		Args:              needArgs(2, 2, "a table and a key"),
		ValidArgsFunction: c.completeStash(true),
	}
	return c.stashRunner(cmd, func(s *stashCall) error {
		key, err := s.key()
		if err != nil {
			return err
		}
		existed, err := s.table().Delete(s.ctx, key)
		if err == nil && !existed {
			return negativef("table %q has no key %s", s.args[0], s.args[1])
		}
		return err
	})
}

func (c *cli) stashInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "info TABLE",
		Short:             "Print how many keys a table has",
		Long:              "Prints how many keys a table has. If there is no such table the exit status is 7.",
		Example:           "  dirty stash info users -o json",
		Args:              needArgs(1, 1, "a table"),
		ValidArgsFunction: c.completeStash(false),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	return c.stashRunner(cmd, func(s *stashCall) error {
		info, err := s.table().Info(s.ctx)
		if err != nil {
			return err
		}
		if c.format == formatJSON {
			return c.printJSONLine(info)
		}
		fmt.Fprintf(c.stdout, "%s: %s\n", printable(info.Table), count(info.Size, "key"))
		return nil
	})
}

func (c *cli) stashExistsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "exists TABLE [KEY]",
		Short:             "Tell whether a table or a key is there",
		Long:              "Prints true, or prints false and ends with the exit status 7.",
		Example:           "  dirty stash exists users ada && echo welcome",
		Args:              needArgs(1, 2, "a table and perhaps a key"),
		ValidArgsFunction: c.completeStash(true),
	}
	return c.stashRunner(cmd, func(s *stashCall) error {
		var keys []any
		if len(s.args) == 2 {
			key, err := s.key()
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		exists, err := s.table().Exists(s.ctx, keys...)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, exists)
		if !exists {
			return errQuietNo
		}
		return nil
	})
}

func (c *cli) stashClearCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "clear TABLE",
		Short:             "Delete all keys of a table",
		Long:              "Deletes all keys of a table; the table stays. It asks first, and without a terminal\nit needs -y.",
		Example:           "  dirty stash clear users -y",
		Args:              needArgs(1, 1, "a table"),
		ValidArgsFunction: c.completeStash(false),
	}
	c.askFirst(cmd, func(args []string) string { return fmt.Sprintf("Delete all keys of table %q?", args[0]) })
	return c.stashRunner(cmd, func(s *stashCall) error { return s.table().Clear(s.ctx) })
}

func (c *cli) stashDropCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "drop TABLE",
		Short:             "Delete a table with its keys",
		Long:              "Deletes a table with its keys. It asks first, and without a terminal it needs -y. If\nthere is no such table the exit status is 7.",
		Example:           "  dirty stash drop users -y",
		Args:              needArgs(1, 1, "a table"),
		ValidArgsFunction: c.completeStash(false),
	}
	c.askFirst(cmd, func(args []string) string { return fmt.Sprintf("Delete table %q with all its keys?", args[0]) })
	return c.stashRunner(cmd, func(s *stashCall) error {
		existed, err := s.table().Drop(s.ctx)
		if err == nil && !existed {
			return negativef("there is no table %q", s.args[0])
		}
		return err
	})
}

// stashEntry is a line of dump.
type stashEntry struct {
	Table string         `dirty:"table"`
	Key   any            `dirty:"key"`
	Value dirty.RawValue `dirty:"value"`
}

func (c *cli) stashDumpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump [TABLE]...",
		Short: "Print all keys and values",
		Long: `Prints the keys and values of the tables, or of all tables, as lines of JSON that
"dirty stash load" reads. It asks for one value at a time: keys that are deleted
meanwhile are left out, keys that are added may be.`,
		Example:           "  dirty stash dump > stash.jsonl",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeStash(false),
	}
	c.addFormatFlag(cmd, formatJSON)
	return c.stashRunner(cmd, func(s *stashCall) error {
		tables := s.args
		if len(tables) == 0 {
			var err error
			if tables, err = s.arbiter.Tables(s.ctx); err != nil {
				return err
			}
		}
		for _, table := range tables {
			if err := s.dump(table); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *stashCall) dump(table string) error {
	stash := s.arbiter.Stash(table)
	keys, err := stash.Keys(s.ctx, "")
	if err != nil {
		return err
	}
	for _, key := range keys {
		value, err := client.StashGet[dirty.RawValue](s.ctx, stash, key)
		if errors.Is(err, dirty.ErrKeyNotFound) {
			continue // it was deleted meanwhile
		}
		if err == nil {
			err = s.printJSONLine(stashEntry{table, key, value})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) stashLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load FILE|-",
		Short: "Store what dump has printed",
		Long: `Stores the keys and values of lines that "dirty stash dump" has printed, in place of
those that are there; other keys stay. The first line that is wrong ends it with the
exit status 5; what came before it is stored.`,
		Example: "  dirty stash load stash.jsonl",
		Args:    needArgs(1, 1, "one file, or - for standard input"),
	}
	return c.stashRunner(cmd, func(s *stashCall) error {
		in, err := c.openInput(s.args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		return s.load(bufio.NewReaderSize(in, readSize))
	})
}

func (s *stashCall) load(in *bufio.Reader) error {
	for number := 1; ; number++ {
		p := newParser(in, nil)
		p.json = true
		entry, err := p.stashEntry()
		var syntax *syntaxError
		switch {
		case p.inErr != nil && p.inErr != io.EOF:
			return p.inErr
		case errors.As(err, &syntax):
			return faultf("stash load: line %d, byte %d: %s", number, syntax.pos+1, syntax.text)
		case err != nil:
			return faultf("stash load: line %d: %v", number, err)
		}
		if entry != nil {
			if err := s.arbiter.Stash(entry.Table).Put(s.ctx, entry.Key, entry.Value); err != nil {
				return err
			}
		}
		if p.inErr == io.EOF {
			return nil
		}
	}
}

// stashEntry reads a line of dump. A line of white space has none.
func (p *parser) stashEntry() (*stashEntry, error) {
	if p.peek() == endOfLine {
		return nil, p.endLine()
	}
	if err := p.value(0); err != nil {
		return nil, err
	}
	if err := p.endLine(); err != nil {
		return nil, err
	}
	line := dirty.View(p.out[dirty.HeaderSize:])
	entry := &stashEntry{Value: line.Get("value").Raw()}
	table, ok := line.Get("table").Text()
	if !ok || entry.Value == nil || line.Get("key").Unmarshal(&entry.Key) != nil {
		return nil, errors.New(`want {"table": NAME, "key": KEY, "value": VALUE}`)
	}
	entry.Table = string(table)
	return entry, nil
}
