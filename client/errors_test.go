package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var execute = client.Operation{Name: "execute", App: app, Action: "x"}

// readOnly is the operation of a call that changes nothing.
func readOnly(t *testing.T) client.Operation {
	c := newClient(t, client.WithSocket("/nowhere"))
	var op *client.OpError
	require.ErrorAs(t, c.Ping(context.Background()), &op)
	require.True(t, op.ReadOnly())
	return op.Operation
}

// TestOperation: their names, and which are read-only.
func TestOperation(t *testing.T) {
	c := newClient(t, client.WithSocket("/nowhere"))
	for _, op := range operations {
		var err *client.OpError
		require.ErrorAs(t, op.call(context.Background(), c), &err)
		assert.Equal(t, op.name, err.Name)
		assert.Equal(t, op.reads, err.ReadOnly(), op.name)
	}
	for _, tt := range []struct {
		op   client.Operation
		want string
	}{
		{client.Operation{Name: "execute", App: "app:App", Action: "x"}, "execute app:App.x"},
		{client.Operation{Name: "stream", Action: "x"}, "stream .x"},
		{client.Operation{Name: "status"}, "status"},
		{client.Operation{Name: "stash keys", Table: "sessions"}, `stash keys "sessions"`},
		{client.Operation{Name: "stash get", Table: "a\nb", Key: "k\"1"}, `stash get "a\nb"["k\"1"]`},
		{client.Operation{}, ""},
	} {
		assert.Equal(t, tt.want, tt.op.String())
	}
}

// TestOpErrorText: what people read.
func TestOpErrorText(t *testing.T) {
	remote := &dirty.RemoteError{Type: "DirtyAppError", Message: "boom", Details: map[string]any{"traceback": "secret"}}
	for _, tt := range []struct {
		err  *client.OpError
		want string
	}{
		{&client.OpError{Operation: execute, Stage: client.StageRead, Sent: true, Err: remote},
			"dirty: execute app:App.x: DirtyAppError: boom"},
		{&client.OpError{Operation: execute, Stage: client.StageRead, Sent: true, Err: client.ErrIDMismatch},
			"dirty: execute app:App.x: read: the reply belongs to another request; the outcome is unknown"},
		{&client.OpError{Operation: readOnly(t), Stage: client.StageRead, Sent: true, Err: io.ErrUnexpectedEOF},
			"dirty: status: read: unexpected EOF"},
		{&client.OpError{Operation: execute, Stage: client.StageWait, Err: context.Canceled},
			"dirty: execute app:App.x: wait: context canceled"},
		{&client.OpError{Operation: execute, Stage: client.StageDecode, Sent: true, Err: &dirty.ProtocolError{Err: dirty.ErrMalformed, Rule: "x"}},
			"dirty: execute app:App.x: malformed: x at offset 0"},
		{&client.OpError{Operation: execute, Stage: client.StagePrepare, Err: client.ErrInvalidArgument},
			"dirty: execute app:App.x: prepare: invalid argument"},
		{&client.OpError{Operation: execute, Stage: client.StageDial, Err: fmt.Errorf("%w: %w", client.ErrUnavailable, fs.ErrNotExist)},
			"dirty: execute app:App.x: dial: the arbiter is not available: file does not exist"},
		{&client.OpError{Operation: execute, Stage: client.StageWrite, Err: syscall.EPIPE},
			"dirty: execute app:App.x: write: broken pipe"},
	} {
		assert.EqualError(t, tt.err, tt.want)
	}
}

// neverRan are the arbiter's texts for a request that no worker received, and
// others. See GUNICORN.md 4.1: 240 kills.
var neverRan = []struct {
	text string
	want bool
}{
	{"Worker communication failed: [Errno 104] Connection reset by peer", true},
	{"Worker communication failed: [Errno 111] Connection refused", true},
	{"Worker communication failed: [Errno 111] Connect call failed ('/tmp/x/worker-1.sock',)", true},
	{"Worker communication failed: Connection lost", true},
	{"Worker communication failed: No socket for worker 123", true},
	{"Worker communication failed: Worker socket not ready: /tmp/x/worker-1.sock", true},
	{"Worker communication failed: 0 bytes read on a total of 16 expected bytes", false},
	{"Worker communication failed: 7 bytes read on a total of 16 expected bytes", false},
	{"Worker communication failed: [Errno 32] Broken pipe", false},
	{"Worker communication failed: [Errno 1044] something", false},
	{"Worker communication failed: Connection lost again", false},
	{"Worker communication failed: Message too large: 67108865 bytes (max: 67108864)", false},
	{"Worker communication failed: Unknown message type: response", false},
	{"Worker communication failed: ", false},
	{"Worker communication failed", false},
	{"[Errno 104] Connection reset by peer", false},
	{"the app says: Worker communication failed: Connection lost", false},
	{"", false},
}

// TestSafeToRetry is the table of what may be made again.
func TestSafeToRetry(t *testing.T) {
	reads := readOnly(t)
	failed := func(op client.Operation, stage client.Stage, sent bool, err error) error {
		return &client.OpError{Operation: op, Stage: stage, Sent: sent, Err: err}
	}
	remote := func(typ, message string) error { return &dirty.RemoteError{Type: typ, Message: message} }
	type row struct {
		name string
		err  error
		want bool
	}
	rows := []row{
		{"nil", nil, false},
		{"another error", io.ErrUnexpectedEOF, false},
		{"the peer's word alone", remote("DirtyNoWorkersAvailableError", ""), false},

		{"refused arguments", failed(execute, client.StagePrepare, false, client.ErrInvalidArgument), false},
		{"arguments without an encoding", failed(execute, client.StagePrepare, false, &dirty.MarshalError{Err: dirty.ErrTooLarge}), false},
		{"no connection became free", failed(execute, client.StageWait, false, fmt.Errorf("%w: %w", client.ErrPoolTimeout, context.DeadlineExceeded)), true},
		{"nobody there", failed(execute, client.StageDial, false, fmt.Errorf("%w: %w", client.ErrUnavailable, syscall.ECONNREFUSED)), true},
		{"the dial timeout", failed(execute, client.StageDial, false, context.DeadlineExceeded), true},
		{"no address", failed(execute, client.StageDial, false, client.ErrNoSocket), false},
		{"not written whole", failed(execute, client.StageWrite, false, syscall.EPIPE), true},
		{"written whole", failed(execute, client.StageRead, true, io.ErrUnexpectedEOF), false},
		{"a timeout", failed(execute, client.StageRead, true, client.ErrTimeout), false},
		{"a foreign id", failed(execute, client.StageRead, true, client.ErrIDMismatch), false},
		{"a result of another type", failed(execute, client.StageDecode, true, &dirty.UnmarshalTypeError{Err: dirty.ErrTypeMismatch}), false},
		{"closed", failed(execute, client.StagePrepare, false, client.ErrClosed), false},
		{"closed while it waited", failed(execute, client.StageWait, false, client.ErrClosed), false},
		{"JSON", failed(execute, client.StageRead, true, client.ErrUnsupportedPeer), false},

		{"reading, written whole", failed(reads, client.StageRead, true, io.ErrUnexpectedEOF), true},
		{"reading, a timeout", failed(reads, client.StageRead, true, client.ErrTimeout), true},
		{"reading, a result of another type", failed(reads, client.StageDecode, true, &dirty.UnmarshalTypeError{Err: dirty.ErrTypeMismatch}), false},
		{"reading, the peer's word", failed(reads, client.StageRead, true, remote("DirtyError", "Key not found: k")), false},
		{"reading, closed", failed(reads, client.StageRead, true, client.ErrClosed), false},
		{"reading, JSON", failed(reads, client.StageRead, true, client.ErrUnsupportedPeer), false},

		{"no workers", failed(execute, client.StageRead, true, remote("DirtyNoWorkersAvailableError", "No workers available for app: X")), true},
		{"the app", failed(execute, client.StageRead, true, remote("DirtyAppError", "boom")), false},
		{"an app that says what a worker would", failed(execute, client.StageRead, true, remote("DirtyAppError", neverRan[0].text)), false},
		{"dirty_timeout", failed(execute, client.StageRead, true, remote("DirtyTimeoutError", "Worker timeout")), false},
		{"an unknown type", failed(execute, client.StageRead, true, remote("DirtyFooError", neverRan[0].text)), false},
	}
	for _, text := range neverRan {
		rows = append(rows, row{text.text, failed(execute, client.StageRead, true, remote("DirtyWorkerError", text.text)), text.want})
	}
	for _, tt := range rows {
		assert.Equal(t, tt.want, client.SafeToRetry(tt.err), tt.name)
		if tt.err == nil {
			continue
		}
		assert.Equal(t, tt.want, client.SafeToRetry(fmt.Errorf("wrapped: %w", tt.err)), tt.name)
		var op *client.OpError
		if errors.As(tt.err, &op) {
			assert.Equal(t, tt.want, op.Temporary(), tt.name) //nolint:staticcheck // deprecated in net.Error, but part of it
		}
	}
}

// TestOpErrorIs: what errors.Is and errors.As find.
func TestOpErrorIs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sent    bool
		stage   client.Stage
		err     error
		is      []error
		not     []error
		timeout bool
	}{
		{"EOF", true, client.StageRead, io.ErrUnexpectedEOF, []error{client.ErrOutcomeUnknown, io.ErrUnexpectedEOF}, []error{io.EOF}, false},
		{"EOF before it was sent", false, client.StageWrite, io.ErrUnexpectedEOF, []error{io.ErrUnexpectedEOF}, []error{client.ErrOutcomeUnknown}, false},
		{"an answer", true, client.StageRead, &dirty.RemoteError{Type: "DirtyAppError"}, []error{dirty.ErrApp}, []error{client.ErrOutcomeUnknown, dirty.ErrWorker}, false},
		{"an answer that cannot be decoded", true, client.StageDecode, &dirty.ProtocolError{Err: dirty.ErrMalformed}, []error{dirty.ErrMalformed}, []error{client.ErrOutcomeUnknown}, false},
		{"the context's deadline", true, client.StageRead, context.DeadlineExceeded, []error{context.DeadlineExceeded, client.ErrOutcomeUnknown}, []error{client.ErrTimeout}, true},
		{"cancelled", true, client.StageRead, context.Canceled, []error{context.Canceled, client.ErrOutcomeUnknown}, []error{client.ErrTimeout}, false},
		{"dirty_timeout", true, client.StageRead, &dirty.RemoteError{Type: "DirtyTimeoutError"}, []error{dirty.ErrPeerTimeout}, []error{client.ErrTimeout, context.DeadlineExceeded, client.ErrOutcomeUnknown}, true},
		{"a full backlog", false, client.StageDial, dialError(syscall.EAGAIN), []error{syscall.EAGAIN}, []error{client.ErrOutcomeUnknown, context.DeadlineExceeded, os.ErrDeadlineExceeded}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error = &client.OpError{Operation: execute, Stage: tt.stage, Sent: tt.sent, Err: tt.err}
			assert.Equal(t, tt.err, errors.Unwrap(err))
			err = fmt.Errorf("wrapped: %w", err)
			for _, is := range tt.is {
				assert.ErrorIs(t, err, is)
			}
			for _, not := range tt.not {
				assert.NotErrorIs(t, err, not)
			}
			var netErr net.Error
			require.ErrorAs(t, err, &netErr)
			assert.Equal(t, tt.timeout, netErr.Timeout())
			var op *client.OpError
			require.ErrorAs(t, err, &op)
			assert.Equal(t, execute, op.Operation)
		})
	}
}

// sentinels are all errors of the package by name.
var sentinels = map[string]error{
	"ErrClosed": client.ErrClosed, "ErrNoSocket": client.ErrNoSocket, "ErrUnavailable": client.ErrUnavailable,
	"ErrPoolTimeout": client.ErrPoolTimeout, "ErrTimeout": client.ErrTimeout, "ErrOutcomeUnknown": client.ErrOutcomeUnknown,
	"ErrIDMismatch": client.ErrIDMismatch, "ErrStreamingResponse": client.ErrStreamingResponse,
	"ErrUnexpectedReply": client.ErrUnexpectedReply, "ErrStreamUsed": client.ErrStreamUsed, "ErrStreamClosed": client.ErrStreamClosed,
	"ErrUnsupportedPeer": client.ErrUnsupportedPeer, "ErrInvalidArgument": client.ErrInvalidArgument, "ErrHookFailed": client.ErrHookFailed,
}

// TestPrefix: each error says "dirty: " once, at its start, whatever is in it.
func TestPrefix(t *testing.T) {
	once := func(err error) {
		t.Helper()
		require.Error(t, err)
		assert.True(t, strings.HasPrefix(err.Error(), "dirty: "), "%v", err)
		assert.Equal(t, 1, strings.Count(err.Error(), "dirty: "), "%v", err)
	}
	source, err := os.ReadFile("errors.go")
	require.NoError(t, err)
	names := regexp.MustCompile(`(?m)^\t(Err\w+) += sentinel`).FindAllStringSubmatch(string(source), -1)
	require.Len(t, names, len(sentinels))
	inner := &client.OpError{Operation: execute, Stage: client.StageDial, Err: client.ErrUnavailable}
	for _, name := range names {
		s := sentinels[name[1]]
		require.NotNil(t, s, name[1])
		once(s)
		for _, err := range []error{
			s, fmt.Errorf("%w: %w", s, dirty.ErrTooDeep), fmt.Errorf("while x: %w", s), fmt.Errorf("%w: %w: %w", context.Canceled, s, inner),
			fmt.Errorf("%w: at last: %w", s, inner), &dirty.MarshalError{Err: s}, &dirty.ProtocolError{Err: s},
		} {
			for _, stage := range []client.Stage{client.StagePrepare, client.StageDial, client.StageRead, client.StageDecode} {
				once(&client.OpError{Operation: execute, Stage: stage, Sent: true, Err: err})
			}
		}
	}
	_, err = client.New(nil)
	once(err)
	for _, opts := range [][]client.Option{
		{client.WithTimeout(-1)}, {client.WithMaxConns(0)}, {client.WithDialTimeout(0)}, {client.WithDialer(nil)},
		{client.WithLimits(dirty.Limits{MaxPayload: -1})},
	} {
		_, err := client.New(opts...)
		once(err)
	}
	c := newClient(t, client.WithSocket("/nowhere"), client.WithMaxConns(1), client.WithDialer(func(ctx context.Context, path string) (net.Conn, error) {
		return nil, fmt.Errorf("by another client: %w", inner)
	}))
	once(c.Ping(context.Background()))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(client.ErrStreamClosed)
	once(c.WaitReady(ctx))
	once(c.Ping(ctx))

	// But what the peer says is told as it is.
	err = &client.OpError{Operation: execute, Stage: client.StageRead, Sent: true, Err: &dirty.RemoteError{Type: dirty.ClassApp, Message: "dirty: dirty: laundry"}}
	assert.EqualError(t, err, "dirty: execute app:App.x: DirtyAppError: dirty: dirty: laundry")
}
