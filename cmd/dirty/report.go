package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// The exit statuses. The help explains them.
const (
	exitOK        = 0
	exitIO        = 1
	exitUsage     = 2
	exitRaised    = 3
	exitNoArbiter = 4
	exitFault     = 5
	exitTimeout   = 6
	exitNegative  = 7
	exitNoWorker  = 8
	exitInterrupt = 130
)

// statusOfOutcome is the exit status for each word of [client.Outcome].
var statusOfOutcome = map[string]int{
	"ok":            exitOK,
	"app_error":     exitRaised,
	"worker_error":  exitRaised,
	"remote_error":  exitRaised,
	"app_not_found": exitNoWorker,
	"no_workers":    exitNoWorker,
	"not_found":     exitNegative,
	"timeout":       exitTimeout,
	"pool_timeout":  exitTimeout,
	"canceled":      exitInterrupt,
	"closed":        exitInterrupt,
	"unavailable":   exitNoArbiter,
	"lost":          exitIO,
	"bad_reply":     exitFault,
	"invalid":       exitUsage,
	"hook_failed":   exitIO,
	"other":         exitIO,
}

// statusError is an error that knows its exit status.
type statusError struct {
	status int
	kind   string // a word for scripts, as those of client.Outcome
	text   string
	hint   string // what to do next; "" if there is nothing to say
}

func (e *statusError) Error() string { return e.text }

// kindUsage is the kind of an error about the command line.
const kindUsage = "usage"

// usagef is about a command line that cannot be understood.
func usagef(format string, args ...any) error {
	return &statusError{exitUsage, kindUsage, fmt.Sprintf(format, args...), ""}
}

// nameHelp adds to an error about the command line where the command is explained.
func nameHelp(cmd *cobra.Command, err error) {
	var known *statusError
	if !errors.As(err, &known) || known.kind != kindUsage {
		return
	}
	help := "dirty help"
	if cmd.HasParent() {
		help += " " + nameOf(cmd)
	}
	known.hint = `Run "` + help + `" for usage.`
}

// faultf is about input that could be read and is broken.
func faultf(format string, args ...any) error {
	return &statusError{exitFault, "broken_input", fmt.Sprintf(format, args...), ""}
}

// negativef is about an answer that was no.
func negativef(format string, args ...any) error {
	return &statusError{exitNegative, "negative", fmt.Sprintf(format, args...), ""}
}

// errQuietNo ends a command whose answer was no and was printed.
var errQuietNo = &statusError{status: exitNegative, kind: "negative"}

// failure is what is told of an error.
type failure struct {
	statusError
	op        string // the call that failed; "" if there was none
	class     string // of Python's error
	traceback string
}

// explain finds out what to tell of an error.
func (c *cli) explain(ctx context.Context, err error) failure {
	f := failure{statusError: statusError{text: err.Error()}}
	var known *statusError
	if errors.As(err, &known) {
		f.statusError = *known
	}
	f.text = strings.TrimPrefix(f.text, "dirty: ") // report writes it
	if known != nil {
		return f
	}
	f.kind = client.Outcome(err)
	f.status = statusOfOutcome[f.kind]
	var op *client.OpError
	if errors.As(err, &op) {
		f.op = op.Operation.String()
	}
	var remote *dirty.RemoteError
	if errors.As(err, &remote) {
		f.class, f.traceback = remote.Type, remote.Traceback()
	}
	var path *fs.PathError
	switch {
	case ctx.Err() != nil:
		f.status, f.kind, f.text = exitInterrupt, "canceled", "interrupted"
	case errors.As(err, &path) && op == nil: // a file that was named, not a socket
	case errors.Is(err, client.ErrStreamingResponse):
		f.hint = `Run "dirty stream" in place of "dirty exec".`
	case errors.Is(err, client.ErrUnsupportedPeer):
		f.status, f.kind = exitNoArbiter, "unavailable"
	case errors.Is(err, os.ErrPermission):
		f.status, f.kind, f.hint = exitNoArbiter, "unavailable", c.tried.Load().hint(err)
	case f.status == exitNoArbiter:
		f.hint = c.tried.Load().hint(err)
	case f.status == exitNoWorker:
		f.hint = `Run "dirty status" to see which apps have workers.`
	}
	return f
}

// report prints an error and returns the exit status. Its text can hold a name of
// a file or a word of the input, so it is made safe for a terminal.
func (c *cli) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	f := c.explain(ctx, err)
	if f.text == "" { // it was told of before
		return f.status
	}
	if c.format == formatJSON {
		fmt.Fprintln(c.stderr, f.json())
		return f.status
	}
	fmt.Fprintf(c.stderr, "%s %s\n", c.paint(c.stderr, styleBad, "dirty:"), printable(f.text))
	for line := range strings.Lines(f.traceback) {
		fmt.Fprintf(c.stderr, "    %s\n", printable(strings.TrimRight(line, "\r\n")))
	}
	if f.hint != "" {
		fmt.Fprintln(c.stderr, printable(f.hint))
	}
	return f.status
}

// note tells of something that is neither data nor a failure.
func (c *cli) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.format != formatJSON {
		fmt.Fprintf(c.stderr, "dirty: %s\n", printable(text))
		return
	}
	var line bytes.Buffer
	_ = writeAny(&line, dirty.Dict{{Key: "note", Value: strings.ToValidUTF8(text, "\ufffd")}}, formatJSON) // a text can be written
	fmt.Fprintln(c.stderr, line.String())
}

// logger returns a logger for what the library has to say.
func (c *cli) logger() *slog.Logger {
	if c.format == formatJSON {
		return slog.New(slog.NewJSONHandler(c.stderr, nil))
	}
	return slog.New(slog.NewTextHandler(c.stderr, nil))
}

// json returns the failure as an object on one line.
func (f failure) json() string {
	fields := dirty.Dict{{Key: "kind", Value: f.kind}, {Key: "exit", Value: f.status}, {Key: "message", Value: f.text}}
	for _, field := range []struct{ key, value string }{
		{"call", f.op}, {"class", f.class}, {"traceback", f.traceback}, {"hint", f.hint},
	} {
		if field.value != "" {
			fields = append(fields, dirty.Entry{Key: field.key, Value: strings.ToValidUTF8(field.value, "\ufffd")})
		}
	}
	fields[2].Value = strings.ToValidUTF8(f.text, "\ufffd")
	var text bytes.Buffer
	if err := writeAny(&text, dirty.Dict{{Key: "error", Value: fields}}, formatJSON); err != nil {
		return fmt.Sprintf(`{"error":{"kind":%q,"exit":%d}}`, f.kind, f.status)
	}
	return text.String()
}

// count returns "1 key" or "2 keys".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// joinWords returns "a, b or c".
func joinWords(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
