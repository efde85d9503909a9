package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/proxy"
	"github.com/gunicorn-go/dirty/server"
)

// endTime bounds how long a proxy waits at its end until everything was told. A test
// makes it short.
var endTime = 10 * time.Second

// errNotTold is the error of watch when that time was too short.
var errNotTold = &statusError{status: exitIO, kind: "io", text: "not all that has passed could be told: is the output read?"}

const helpProxy = `Listens on a socket and forwards each client to the arbiter. Not a byte is changed, and
what cannot be read as frames passes too. A line tells of each frame: when it came, on
which connection, its direction (> to the arbiter, < from it), type, id, app and
action, size, and for an answer the time since its request.

Clients must be told of the socket: start them with GUNICORN_DIRTY_SOCKET=LISTEN. The
arbiter is chosen as for all commands.

  --out FILE  record what passes; "dirty decode" and "dirty monitor" read it
  --web ADDR  show a live page in place of the lines, at an address such as
              localhost:8080: the workers and which of them are stuck, charts of calls
              and their times, the last calls and their frames, streams in progress
  --full      show the values too, with -o json or --web

Every user of this machine can open the page. With --web-exposed the address can be one
that other hosts reach. Whoever reaches it sees every call, and with --full its values:
there is no password and no encryption.

Watching never slows the traffic. If the output is too slow, frames are left out, and
how many is said. It runs until it is interrupted, which closes all connections.`

func (c *cli) proxyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "proxy LISTEN",
		Short:   "Sit between clients and the arbiter, and print or record each frame",
		Long:    helpProxy,
		Example: "  dirty proxy /tmp/watch.sock --out session.bin\n  dirty proxy /tmp/watch.sock --web localhost:8080",
		Args:    needArgs(1, 1, "the path of the socket to listen on"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	out := cmd.Flags().String("out", "", "record what passes in a new `FILE`")
	full := cmd.Flags().Bool("full", false, "show values, with -o json or --web")
	var web webFlags
	cmd.Flags().StringVar(&web.addr, "web", "", "show a live page at `ADDR`, such as localhost:8080")
	cmd.Flags().BoolVar(&web.exposed, "web-exposed", false, "let --web listen where other hosts can see it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *full && c.format != formatJSON && web.addr == "" {
			return usagef("--full: add -o json or --web")
		}
		if web.exposed && web.addr == "" {
			return usagef("--web-exposed: add --web")
		}
		return c.proxy(cmd.Context(), args[0], *out, *full, web)
	}
	return cmd
}

func (c *cli) proxy(ctx context.Context, listen, out string, full bool, web webFlags) (err error) {
	t, err := c.chooseTarget(ctx)
	if err != nil {
		return err
	}
	taps := []func(proxy.Event){func(e proxy.Event) { c.printEvent(e, full) }}
	if web.addr != "" {
		page, err := c.startWeb(ctx, t, listen, web, full)
		if err != nil {
			return err
		}
		defer page.close()
		taps[0] = page.calls.tap
	}
	var recorder *proxy.Recorder
	if out != "" {
		// It can hold secrets, and must not replace what somebody has recorded.
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return usagef("--out %s: there is such a file: name a new one", out)
		}
		if err != nil {
			return err
		}
		defer file.Close()
		w, err := capture.NewWriter(file)
		if err != nil {
			return err
		}
		recorder = proxy.NewRecorder(w)
		taps = append(taps, recorder.Tap)
	}
	missed := uint64(0)
	payloads := full || recorder != nil || web.addr != "" // an error's class is in one
	err = c.watch(ctx, t, listen, payloads, func(e proxy.Event) {
		missed += e.Missed
		for _, tap := range taps {
			tap(e)
		}
	})
	if errors.Is(err, errNotTold) {
		return err
	}
	if recorder != nil {
		missed = recorder.Missed()
		if err == nil {
			err = recorder.Err()
		}
	}
	if missed > 0 {
		c.note("%s left out: the output was too slow", count(int(missed), "frame"))
	}
	return err
}

// watch runs a proxy until ctx ends, which is no error, or until the output fails. After
// errNotTold the tap may still run: what it uses, and standard output, must be left alone.
func (c *cli) watch(ctx context.Context, t target, listen string, payloads bool, tap func(proxy.Event)) error {
	// A wrong arbiter is told of now, and not when the first client comes.
	path, err := t.resolve(ctx)
	if err != nil {
		return err
	}
	if samePath(path, listen) {
		return usagef("%s is the arbiter's own socket, by %s: listen on another path", listen, t.chosen)
	}
	l, err := server.Listen(listen, 0)
	if err != nil {
		return &statusError{status: exitIO, kind: "io", text: err.Error()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &proxy.Proxy{
		Dial: t.connect,
		Tap: func(e proxy.Event) {
			if tap(e); c.stdout.err != nil {
				cancel()
			}
		},
		Payloads: payloads,
		Logger:   c.logger(),
	}
	c.note("watching %s on %s", path, listen)
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.Background(), endTime)
	defer stop()
	if p.Shutdown(end) != nil {
		return errors.Join(err, errNotTold)
	}
	return err
}

func samePath(a, b string) bool {
	if infoA, err := os.Stat(a); err == nil {
		if infoB, err := os.Stat(b); err == nil {
			return os.SameFile(infoA, infoB)
		}
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

// timeFormat is how times are shown.
const timeFormat = "15:04:05.000000"

// printEvent prints a line. The output keeps its error.
func (c *cli) printEvent(e proxy.Event, full bool) {
	if c.format != formatJSON {
		fmt.Fprintf(c.stdout, "%s %s\n", e.Time.Format(timeFormat), printable(e.String()))
		return
	}
	line := dirty.Dict{
		{Key: "time", Value: e.Time.Format(time.RFC3339Nano)},
		{Key: "event", Value: e.Kind.String()},
		{Key: "conn", Value: int64(e.Conn)},
	}
	add := func(key string, value any) { line = append(line, dirty.Entry{Key: key, Value: value}) }
	if e.Direction != 0 {
		add("dir", e.Direction.String())
	}
	if e.Kind == proxy.Frame {
		add("type", e.Header.Type.String())
		add("id", strconv.FormatUint(e.Header.RequestID, 10))
		add("length", int64(e.Header.Length))
	}
	if e.App != "" {
		add("app", e.App)
	}
	if e.Action != "" {
		add("action", e.Action)
	}
	if e.Answer != nil {
		add("seconds", e.Answer.Since.Seconds())
		add("first", e.Answer.First)
		add("last", e.Answer.Last)
	}
	if e.Err != nil {
		add("error", strings.ToValidUTF8(e.Err.Error(), "\ufffd"))
	}
	if e.Missed > 0 {
		add("missed", int64(e.Missed))
	}
	if full && len(e.Payload) > 0 {
		if e.Kind == proxy.Frame && validate.Validate(e.Payload) == nil {
			add("payload", dirty.RawValue(e.Payload))
		} else {
			add("raw", e.Payload)
		}
	}
	_ = c.printJSONLine(line) // its strings are UTF-8, or it has none
}
