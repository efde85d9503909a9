package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/proxy"
)

// maxReplayed bounds the memory of calls whose answers are not complete yet, in bytes.
const maxReplayed = 256 << 20

const helpReplay = `Makes the calls of a recording again: those that "dirty proxy --out" has recorded and
that were answered, one after the other, in the order in which their answers were
complete. It prints a line for each. Name the arbiter with -s, --pid-file or
GUNICORN_DIRTY_SOCKET.

What the calls do they do again: it asks first, and without a terminal it needs -y.

With --diff the answers are compared with the recorded ones, byte for byte. Those that
differ are shown, the recorded with a -, the new with a +, and the exit status is 7.`

func (c *cli) replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "replay FILE|-",
		Short:   "Make the calls of a recording again, and compare the answers",
		Long:    helpReplay,
		Example: "  dirty replay session.bin --diff -y -s /tmp/try.sock",
		Args:    needArgs(1, 1, "one recording, or - for standard input"),
	}
	c.addDialFlags(cmd)
	c.addFormatFlag(cmd, formatText, formatJSON)
	diff := cmd.Flags().Bool("diff", false, "compare the answers with the recorded ones")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.replay(cmd.Context(), args[0], *diff) }
	c.askFirst(cmd, func(args []string) string { return fmt.Sprintf("Make all calls of %q again?", args[0]) })
	return cmd
}

// recordedCall is a call of a recording.
type recordedCall struct {
	conn    uint32
	request dirty.Frame
	answers []dirty.Frame
}

func (r *recordedCall) size() (n int) {
	n = len(r.request.Payload)
	for _, f := range r.answers {
		n += len(f.Payload)
	}
	return n
}

// replayer is a run of replay.
type replayer struct {
	*cli
	ctx     context.Context
	arbiter *client.Client
	diff    bool
	pending map[uint32][]*recordedCall // by connection, the oldest first
	held    int                        // bytes of them
	differ  int                        // calls that were answered otherwise
}

func (c *cli) replay(ctx context.Context, name string, diff bool) error {
	t, err := c.chooseNamedTarget(ctx)
	if err != nil {
		return err
	}
	in, err := c.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	arbiter, err := c.connectTo(t, client.WithMaxConns(1))
	if err != nil {
		return err
	}
	defer arbiter.Close()
	r := &replayer{cli: c, ctx: ctx, arbiter: arbiter, diff: diff, pending: map[uint32][]*recordedCall{}}
	d := &decoder{out: bufio.NewWriter(c.stdout), memory: defaultMemory << 20, print: r.take}
	if err := d.decode(in); err != nil {
		return err
	}
	unanswered := 0
	for _, calls := range r.pending {
		unanswered += len(calls)
	}
	if unanswered > 0 {
		c.note("%s left out: the recording has no whole answer", count(unanswered, "call"))
	}
	switch {
	case d.broken > 0:
		return faultf("replay: %d of %d frames broken", d.broken, d.frames)
	case r.differ > 0:
		return negativef("%s answered otherwise than recorded", count(r.differ, "call"))
	}
	return nil
}

// take takes a frame of the recording. When an answer is complete it makes the call.
func (r *replayer) take(_ *bufio.Writer, f *frame) error {
	if !f.hasHeader || f.err != nil {
		return nil
	}
	dir := f.dir
	if dir == unknownDirection {
		dir = direction(f.header.Type)
	}
	whole := dirty.Frame{Header: f.header, Payload: bytes.Clone(f.payload)}
	if r.held += len(whole.Payload); r.held > maxReplayed {
		return faultf("replay: calls of more than %d MiB wait for their answers", maxReplayed>>20)
	}
	if capture.Direction(dir) == capture.ToArbiter {
		r.pending[f.conn] = append(r.pending[f.conn], &recordedCall{conn: f.conn, request: whole})
		return nil
	}
	calls := r.pending[f.conn]
	for i, call := range calls {
		if call.request.RequestID != f.header.RequestID {
			continue
		}
		call.answers = append(call.answers, whole)
		switch f.header.Type {
		case dirty.TypeChunk:
			return nil
		case dirty.TypeResponse, dirty.TypeError, dirty.TypeEnd:
		case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
			return nil // no answer; an arbiter never sends it
		}
		r.pending[f.conn] = append(calls[:i:i], calls[i+1:]...)
		r.held -= call.size()
		return r.repeat(call)
	}
	r.held -= len(whole.Payload) // it answers nothing
	return nil
}

// repeat makes a call and prints a line.
func (r *replayer) repeat(call *recordedCall) error {
	app, action := proxy.Called(call.request.Type, call.request.Payload)
	name := action
	if app != "" {
		name = app + "." + action
	}
	start := time.Now()
	answers, err := r.send(call)
	if err != nil {
		return err
	}
	took := time.Since(start)
	outcome, same := outcomeOK, sameAnswers(call.answers, answers)
	if answers[len(answers)-1].Type == dirty.TypeError {
		outcome = outcomeFailed
	}
	if r.diff && !same {
		r.differ++
	}
	if r.format == formatJSON {
		line := dirty.Dict{
			{Key: "conn", Value: int64(call.conn)}, {Key: "call", Value: name}, {Key: "outcome", Value: outcome},
			{Key: "seconds", Value: took.Seconds()},
		}
		if r.diff {
			line = append(line, dirty.Entry{Key: "same", Value: same})
		}
		if r.diff && !same {
			line = append(line, dirty.Entry{Key: "recorded", Value: payloads(call.answers)}, dirty.Entry{Key: "now", Value: payloads(answers)})
		}
		return r.printJSONLine(line)
	}
	if r.diff {
		outcome = map[bool]string{true: "same", false: "different"}[same]
	}
	fmt.Fprintln(r.stdout, printable(fmt.Sprintf("#%d %s: %s, %v", call.conn, name, outcome, took.Round(time.Microsecond))))
	if r.diff && !same {
		if err := r.printAnswers("-", call.answers); err != nil {
			return err
		}
		return r.printAnswers("+", answers)
	}
	return nil
}

// send makes a call and returns its answers, which end with the one that completes it.
func (r *replayer) send(call *recordedCall) (answers []dirty.Frame, err error) {
	held := 0
	err = r.arbiter.Forward(r.ctx, call.request, func(f dirty.Frame) error {
		if held += len(f.Payload); held > maxReplayed {
			return faultf("an answer of more than %d MiB", maxReplayed>>20)
		}
		f.Payload = bytes.Clone(f.Payload)
		answers = append(answers, f)
		return nil
	})
	return answers, err
}

func sameAnswers(a, b []dirty.Frame) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Type != b[i].Type || !bytes.Equal(a[i].Payload, b[i].Payload) {
			return false
		}
	}
	return true
}

// payloads returns answers for JSON.
func payloads(answers []dirty.Frame) []any {
	list := []any{}
	for _, f := range answers {
		line := dirty.Dict{{Key: "type", Value: f.Type.String()}}
		switch {
		case len(f.Payload) == 0:
		case validate.Validate(f.Payload) == nil:
			line = append(line, dirty.Entry{Key: "payload", Value: dirty.RawValue(f.Payload)})
		default:
			line = append(line, dirty.Entry{Key: "raw", Value: f.Payload})
		}
		list = append(list, line)
	}
	return list
}

// printAnswers prints answers in the text form.
func (r *replayer) printAnswers(sign string, answers []dirty.Frame) error {
	for _, f := range answers {
		var line strings.Builder
		fmt.Fprintf(&line, "    %s %v", sign, f.Type)
		if len(f.Payload) > 0 {
			line.WriteByte(' ')
			writeBroken(&line, f.Payload)
		}
		fmt.Fprintln(r.stdout, line.String())
	}
	return r.stdout.err
}
