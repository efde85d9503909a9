package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/proxy"
)

const helpMonitor = `Shows a line for each call: when it came, on which connection, what was called, how it
ended, and how long the first and the last answer took.

gunicorn tells nobody of the calls of others. So only two things can be watched:

  LISTEN  a socket on which this command listens and forwards clients to the arbiter,
          as "dirty proxy" does; it runs until it is interrupted
  FILE    what "dirty proxy --out" has recorded, or - for standard input; a recording
          has no times

A path at which there is a file or a pipe is a FILE; any other is a LISTEN.

On a terminal it shows a screen of calls, those in progress too:

  q  ends it                   enter  opens a call: its frames and their values
  p  pauses the screen, and    /      shows only calls whose lines have all the words
     goes on                          of a filter, such as: error Model
  arrows, page up and page down, home and end scroll

It remembers the last 10000 calls, and of their values the first 16 KiB each and 32 MiB
in all. Elsewhere, with --lines, -o json or standard input it prints lines. However slow
the terminal is, it never slows the traffic.`

func (c *cli) monitorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "monitor LISTEN|FILE|-",
		SuggestFor: []string{"watch", "tail"},
		Short:      "Show each call that passes, or that was recorded",
		Long:       helpMonitor,
		Example:    "  dirty monitor /tmp/watch.sock\n  dirty monitor /tmp/watch.sock --lines | grep -v ': ok'\n  dirty monitor session.bin",
		Args:       needArgs(1, 1, "the path of a socket to listen on, or a recording"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	lines := cmd.Flags().Bool("lines", false, "print lines on a terminal too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if isRecording(args[0]) {
			return c.monitorFile(cmd.Context(), args[0], *lines)
		}
		return c.monitorLive(cmd.Context(), args[0], *lines)
	}
	return cmd
}

// isRecording reports whether monitor reads what is at a path.
func isRecording(path string) bool {
	if path == "-" {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type()&^os.ModeNamedPipe == 0
}

// monitorLive watches what passes. On a terminal it shows a screen, which ends it.
func (c *cli) monitorLive(ctx context.Context, listen string, lines bool) error {
	t, err := c.chooseTarget(ctx)
	if err != nil {
		return err
	}
	if !lines && c.hasScreen() {
		err := c.monitorScreen(ctx, func(ctx context.Context, log *screenLog) error {
			return c.watch(ctx, t, listen, true, log.event)
		})
		if errors.Is(err, errInterrupted) || ctx.Err() != nil {
			return nil // it is the usual end, as without a screen
		}
		return err
	}
	calls := callTracker{report: c.printWatched}
	missed := uint64(0)
	err = c.watch(ctx, t, listen, true, func(e proxy.Event) {
		missed += e.Missed
		switch e.Kind {
		case proxy.Frame:
			if e.Direction == capture.ToArbiter {
				calls.request(e.Conn, e.Header, e.App, e.Action, e.Payload, e.Time)
			} else {
				calls.answer(e.Conn, e.Header, e.Payload, e.Time)
			}
		case proxy.Closed:
			calls.close(e.Conn)
		case proxy.Opened, proxy.Bytes: // nothing of a call
		}
	})
	if errors.Is(err, errNotTold) {
		return err
	}
	c.endWatch(&calls)
	if missed > 0 {
		c.note("%s left out: the output was too slow", count(int(missed), "frame"))
	}
	return err
}

// monitorFile shows the calls of a recording: on a terminal on a screen, which stays
// until it is left.
func (c *cli) monitorFile(ctx context.Context, name string, lines bool) error {
	in, err := c.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if !lines && name != "-" && c.hasScreen() { // keys come from standard input
		return c.monitorScreen(ctx, func(ctx context.Context, log *screenLog) error {
			stop := context.AfterFunc(ctx, func() { _ = in.Close() })
			defer stop()
			err := c.readCalls(in, func(f *frame, dir capture.Direction, app, action string) {
				log.mu.Lock()
				defer log.mu.Unlock()
				log.calls.frame(f.conn, dir, f.header, app, action, f.payload, time.Time{})
			})
			log.end()
			if ctx.Err() == nil {
				<-ctx.Done()
				return err
			}
			return nil // the screen was left before the end
		})
	}
	calls := callTracker{report: c.printWatched}
	err = c.readCalls(in, func(f *frame, dir capture.Direction, app, action string) {
		if dir == capture.ToArbiter {
			calls.request(f.conn, f.header, app, action, f.payload, time.Time{})
		} else {
			calls.answer(f.conn, f.header, f.payload, time.Time{})
		}
	})
	c.endWatch(&calls)
	return err
}

// readCalls tells of the frames of a recording that are not broken.
func (c *cli) readCalls(in io.Reader, tell func(f *frame, dir capture.Direction, app, action string)) error {
	d := &decoder{out: bufio.NewWriter(c.stdout), memory: defaultMemory << 20}
	d.print = func(_ *bufio.Writer, f *frame) error {
		if !f.hasHeader || f.err != nil {
			return c.stdout.err
		}
		dir := f.dir
		if dir == unknownDirection {
			dir = direction(f.header.Type)
		}
		var app, action string
		if capture.Direction(dir) == capture.ToArbiter {
			app, action = proxy.Called(f.header.Type, f.payload)
		}
		tell(f, capture.Direction(dir), app, action)
		return c.stdout.err
	}
	if err := d.decode(in); err != nil {
		return err
	}
	if d.broken > 0 {
		return faultf("monitor: %d of %d frames broken", d.broken, d.frames)
	}
	return nil
}

// monitorScreen shows a screen while watch fills its log. If watch ends the screen
// does, and the other way round.
func (c *cli) monitorScreen(ctx context.Context, watch func(context.Context, *screenLog) error) error {
	held, stderr := &heldOutput{}, c.stderr
	paint := func(word string) string { return c.paintWord(c.stdout, word) }
	c.stderr = held
	defer func() {
		c.stderr = stderr
		held.release(stderr)
	}()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	log := newScreenLog()
	screen, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error, 1)
	go func() {
		defer leave()
		ended <- watch(watching, log)
	}()
	err := c.runScreen(screen, newMonitorScreen(log, held.lastLine, paint))
	stop()
	watchErr := <-ended
	if ctx.Err() == nil && screen.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it has ended because watch has
	}
	if err != nil {
		return err
	}
	return watchErr
}

// watchedCall is a call that monitor has seen.
type watchedCall struct {
	conn          uint32
	id            uint64
	app, action   string
	start         time.Time // zero in a recording
	first, last   time.Duration
	answered      bool
	outcome       string // outcomeOK, outcomeFailed or noAnswer
	class         string // of Python's error
	chunks        int
	sent, arrived int64 // bytes
}

const (
	// maxWatched bounds how many calls monitor remembers that are not answered. It
	// forgets the later ones.
	maxWatched = 100_000

	outcomeOK     = "ok"
	outcomeFailed = "error"
	noAnswer      = "no answer"
	inProgress    = "in progress" // it has no outcome yet
)

// callTracker pairs answers with requests. Answers come in the order of the requests
// of a connection, and have their ids.
type callTracker struct {
	open      map[uint32][]*watchedCall // by connection, the oldest first
	count     int                       // of them
	forgotten int                       // calls beyond maxWatched
	report    func(*watchedCall)

	// frame, if it is set, is told of each frame of a call, before report is.
	frame func(call *watchedCall, dir capture.Direction, h dirty.Header, payload []byte, at time.Time)
}

func (t *callTracker) request(conn uint32, h dirty.Header, app, action string, payload []byte, at time.Time) {
	if t.count >= maxWatched {
		t.forgotten++
		return
	}
	if t.open == nil {
		t.open = map[uint32][]*watchedCall{}
	}
	t.count++
	call := &watchedCall{
		conn: conn, id: h.RequestID, app: app, action: action, start: at,
		sent: dirty.HeaderSize + int64(h.Length),
	}
	t.open[conn] = append(t.open[conn], call)
	t.tellFrame(call, capture.ToArbiter, h, payload, at)
}

func (t *callTracker) tellFrame(call *watchedCall, dir capture.Direction, h dirty.Header, payload []byte, at time.Time) {
	if t.frame != nil {
		t.frame(call, dir, h, payload, at)
	}
}

func (t *callTracker) answer(conn uint32, h dirty.Header, payload []byte, at time.Time) {
	for i, call := range t.open[conn] {
		if call.id != h.RequestID {
			continue
		}
		call.last = at.Sub(call.start)
		if !call.answered {
			call.answered, call.first = true, call.last
		}
		call.arrived += dirty.HeaderSize + int64(h.Length)
		if h.Type == dirty.TypeChunk {
			call.chunks++
		}
		t.tellFrame(call, capture.FromArbiter, h, payload, at)
		switch h.Type {
		case dirty.TypeChunk:
			return
		case dirty.TypeError:
			class, _ := dirty.View(payload).Get("error").Get("error_type").Text()
			call.outcome, call.class = outcomeFailed, string(class)
		case dirty.TypeResponse, dirty.TypeEnd:
			call.outcome = outcomeOK
		case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
			return // no answer; an arbiter never sends it
		}
		t.open[conn] = append(t.open[conn][:i:i], t.open[conn][i+1:]...)
		t.count--
		t.report(call)
		return
	}
}

// close reports the calls of a connection that got no answer.
func (t *callTracker) close(conn uint32) {
	for _, call := range t.open[conn] {
		call.outcome = noAnswer
		t.report(call)
	}
	t.count -= len(t.open[conn])
	delete(t.open, conn)
}

func (t *callTracker) closeAll() {
	for _, conn := range slices.Sorted(maps.Keys(t.open)) {
		t.close(conn)
	}
}

// endWatch reports what is left at the end.
func (c *cli) endWatch(calls *callTracker) {
	calls.closeAll()
	if calls.forgotten > 0 {
		c.note("%s left out: %d others have no answer", count(calls.forgotten, "call"), maxWatched)
	}
}

// name returns what was called, as people read it.
func (call *watchedCall) name() string {
	if call.app == "" {
		return call.action
	}
	return call.app + "." + call.action
}

// printWatched prints a line for a call. The output keeps its error.
func (c *cli) printWatched(call *watchedCall) {
	if c.format == formatJSON {
		line := dirty.Dict{}
		add := func(key string, value any) { line = append(line, dirty.Entry{Key: key, Value: value}) }
		if !call.start.IsZero() {
			add("time", call.start.Format(time.RFC3339Nano))
		}
		add("conn", int64(call.conn))
		add("id", strconv.FormatUint(call.id, 10))
		add("call", call.name())
		add("outcome", call.outcome)
		if call.class != "" {
			add("class", call.class)
		}
		add("chunks", call.chunks)
		add("sent", call.sent)
		add("received", call.arrived)
		if call.answered && !call.start.IsZero() {
			add("first", call.first.Seconds())
			add("seconds", call.last.Seconds())
		}
		_ = c.printJSONLine(line) // a View returns only strings that are UTF-8
		return
	}
	fmt.Fprintln(c.stdout, call.line(func(word string) string { return c.paintWord(c.stdout, word) }))
}

// line returns the call as a line for people. paint gives its outcome a colour.
func (call *watchedCall) line(paint func(string) string) string {
	var line strings.Builder
	if !call.start.IsZero() {
		line.WriteString(call.start.Format(timeFormat) + " ")
	}
	fmt.Fprintf(&line, "#%d %s: %s", call.conn, printable(call.name()), paint(cmp.Or(call.outcome, inProgress)))
	if call.class != "" {
		line.WriteString(" " + printable(call.class))
	}
	fmt.Fprintf(&line, ", %d bytes sent, %d received", call.sent, call.arrived)
	if call.chunks > 0 {
		fmt.Fprintf(&line, ", %s", count(call.chunks, "chunk"))
	}
	if call.answered && !call.start.IsZero() {
		if call.first != call.last {
			fmt.Fprintf(&line, ", first after %v", call.first.Round(time.Microsecond))
		}
		fmt.Fprintf(&line, ", %v", call.last.Round(time.Microsecond))
	}
	return line.String()
}
