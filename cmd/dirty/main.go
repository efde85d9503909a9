// Command dirty prints and makes frames of gunicorn's dirty-worker protocol. It also
// demonstrates the server and the client of this module.
//
//	dirty demo
//	dirty decode testdata/sessions/gunicorn-25.1.0.bin
//	dirty decode -o json session.bin | jq .payload
//	dirty decode session.bin | dirty encode -o capture - > copy.bin
//
// Run "dirty help" for the commands, their formats and the exit statuses.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// The exit statuses. The help explains them.
const (
	exitOK    = 0
	exitIO    = 1
	exitUsage = 2
	exitFault = 5
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process, for tests. It prints the error of a command;
// nothing else does.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, helpMain)
		return exitUsage
	}
	var err error
	switch name, rest := args[0], args[1:]; name {
	case "decode":
		err = runDecode(rest, stdin, stdout)
	case "encode":
		err = runEncode(rest, stdin, stdout)
	case "serve":
		err = runServe(rest, stdout, stderr)
	case "demo":
		err = runDemo(rest, stdout)
	case "version", "-version", "--version":
		err = runVersion(rest, stdout)
	case "help", "-h", "-help", "--help":
		err = runHelp(rest, stdout)
	default:
		err = usagef("unknown command %q", name)
	}
	return report(err, stderr)
}

// report prints err and chooses the exit status. The text can hold a name of a
// file or a word of the input, so it is made safe for a terminal.
func report(err error, stderr io.Writer) int {
	var usage *usageError
	var fault *faultError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "dirty: %s\nRun \"dirty help\" for usage.\n", printable(usage.text))
		return exitUsage
	case errors.As(err, &fault):
		fmt.Fprintf(stderr, "dirty: %s\n", printable(fault.text))
		return exitFault
	default:
		fmt.Fprintf(stderr, "dirty: %s\n", printable(err.Error()))
		return exitIO
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// faultError is input that could be read and is broken.
type faultError struct{ text string }

func (e *faultError) Error() string { return e.text }

func faultf(format string, args ...any) error {
	return &faultError{fmt.Sprintf(format, args...)}
}

// choice is a flag whose value is one of a few words. The first is the default.
type choice struct {
	words []string
	value string
}

func oneOf(words ...string) *choice { return &choice{words: words, value: words[0]} }

func (c *choice) String() string { return c.value }

func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("want one of %v", c.words)
}

// parseFlags parses the flags of a command. If they ask for help, it prints it
// and returns flag.ErrHelp.
func parseFlags(flags *flag.FlagSet, help string, args []string, stdout io.Writer) error {
	flags.SetOutput(io.Discard) // report prints the errors
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		if _, err := io.WriteString(stdout, help); err != nil {
			return err
		}
		return err
	}
	if err != nil {
		return usagef("%s: %v", flags.Name(), err)
	}
	return nil
}

// parseArgs parses the flags of a command and opens its one argument, a file
// or "-". It never reads standard input without being asked: in a script, such
// a command would seem to hang.
func parseArgs(flags *flag.FlagSet, help string, args []string, stdin io.Reader, stdout io.Writer) (io.ReadCloser, error) {
	if err := parseFlags(flags, help, args, stdout); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() == 0:
		return nil, usagef("%s: name a file, or - for standard input", flags.Name())
	case flags.NArg() > 1:
		return nil, usagef("%s: one file at a time, flags go before it: %q", flags.Name(), flags.Args()[1:])
	case flags.Arg(0) == "-":
		return io.NopCloser(stdin), nil
	}
	return os.Open(flags.Arg(0))
}
