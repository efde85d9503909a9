package dirty_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRemoteErrorKinds checks of which kinds an error is, in each form in which
// gunicorn sends it.
func TestRemoteErrorKinds(t *testing.T) {
	trace := func(last string) map[string]any {
		return map[string]any{"traceback": "Traceback (most recent call last):\n  File \"x\"\n" + last + "\n"}
	}
	for _, tt := range []struct {
		err   *dirty.RemoteError
		kinds []error
	}{
		{&dirty.RemoteError{Type: "DirtyTimeoutError", Message: "Worker timeout", Details: map[string]any{"timeout": int64(2)}}, []error{dirty.ErrPeerTimeout}},
		{&dirty.RemoteError{Type: "DirtyTimeoutError"}, []error{dirty.ErrPeerTimeout}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "Execution of app:App.sleep timed out: {'timeout': 2}", Details: trace("gunicorn.dirty.errors.DirtyTimeoutError: Execution of app:App.sleep timed out: {'timeout': 2}")}, []error{dirty.ErrPeerTimeout}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "Execution of app:App.sleep timed out: {'timeout': 2}"}, []error{dirty.ErrPeerTimeout}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "Execution of a timed out: x", Details: trace("ValueError: Execution of a timed out: x")}, []error{dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "x", Details: trace("ValueError: gunicorn.dirty.errors.DirtyTimeoutError: no")}, []error{dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "Execution of a timed out: x"}, nil},
		{&dirty.RemoteError{Type: "DirtyConnectionError"}, []error{dirty.ErrPeerConnection}},
		{&dirty.RemoteError{Type: "DirtyWorkerError"}, []error{dirty.ErrWorker}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "boom"}, []error{dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyAppNotFoundError"}, []error{dirty.ErrAppNotFound, dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "Dirty app not found: x", Details: trace("gunicorn.dirty.errors.DirtyAppNotFoundError: Dirty app not found: x")}, []error{dirty.ErrAppNotFound, dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyNoWorkersAvailableError"}, []error{dirty.ErrNoWorkers}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "No dirty workers available"}, []error{dirty.ErrNoWorkers}},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "No dirty workers available"}, []error{dirty.ErrApp}},
		{&dirty.RemoteError{Type: "DirtyProtocolError"}, []error{dirty.ErrPeerProtocol}},
		{&dirty.RemoteError{Type: "StashKeyNotFoundError"}, []error{dirty.ErrKeyNotFound}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "Key not found: k"}, []error{dirty.ErrKeyNotFound}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "A key not found: k"}, nil},
		{&dirty.RemoteError{Type: "DirtyAppError", Message: "Key not found: k"}, []error{dirty.ErrApp}},
		{&dirty.RemoteError{Type: "StashTableNotFoundError"}, []error{dirty.ErrTableNotFound}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "Table not found: t"}, []error{dirty.ErrTableNotFound}},
		{&dirty.RemoteError{Type: "DirtyError", Message: "Unknown stash operation: 11"}, nil},
		{&dirty.RemoteError{Type: "SomethingElse"}, nil},
		{&dirty.RemoteError{}, nil},
	} {
		t.Run(tt.err.Type+" "+tt.err.Message, func(t *testing.T) {
			for _, kind := range allKinds {
				want := false
				for _, k := range tt.kinds {
					want = want || k == kind
				}
				assert.Equal(t, want, errors.Is(tt.err, kind), "%v", kind)
				assert.Equal(t, want, errors.Is(fmt.Errorf("wrapped: %w", tt.err), kind), "%v", kind)
			}
			assert.Equal(t, errors.Is(tt.err, dirty.ErrPeerTimeout), tt.err.Timeout())
			assert.False(t, errors.Is(tt.err, io.EOF))
			assert.True(t, errors.Is(tt.err, tt.err))
			assert.NotContains(t, tt.err.Error(), "Traceback")
			assert.Contains(t, tt.err.Error(), tt.err.Message)
			// After encoding and decoding it is of the same kinds.
			again := reply(t, dirty.NewErrorReply(1, tt.err))
			for _, kind := range allKinds {
				assert.Equal(t, errors.Is(tt.err, kind), errors.Is(again, kind), "%v", kind)
			}
		})
	}
	assert.Equal(t, "dirty: DirtyError: x", (&dirty.RemoteError{Message: "x"}).Error())
}

// reply encodes an error reply and returns what it decodes to.
func reply(t testing.TB, m *dirty.ErrorReply) *dirty.RemoteError {
	b, err := dirty.AppendMessage(nil, m)
	require.NoError(t, err)
	got, _, err := dirty.DecodeMessage(b)
	require.NoError(t, err)
	return got.(*dirty.ErrorReply).Err
}

// TestRemoteErrorDetails checks the methods for details with all that a peer may
// send.
func TestRemoteErrorDetails(t *testing.T) {
	full := &dirty.RemoteError{Details: map[string]any{"timeout": int64(2), "socket_path": "/s", "worker_id": int64(7), "app_path": "a:A", "action": "act", "traceback": "tb"}}
	d, ok := full.DirtyTimeout()
	assert.Equal(t, 2*time.Second, d)
	assert.True(t, ok)
	pid, ok := full.WorkerID()
	assert.EqualValues(t, 7, pid)
	assert.True(t, ok)
	assert.Equal(t, []string{"/s", "a:A", "act", "tb"}, []string{full.SocketPath(), full.AppPath(), full.Action(), full.Traceback()})
	for _, details := range []map[string]any{nil, {}, {"timeout": nil, "socket_path": nil, "worker_id": nil, "app_path": nil, "action": nil, "traceback": nil},
		{"timeout": "2", "socket_path": int64(1), "worker_id": "7", "app_path": []byte("a"), "action": int64(5), "traceback": []any{"x"}},
		{"timeout": true, "worker_id": 7.5, "traceback": map[string]any{}}} {
		e := &dirty.RemoteError{Type: "DirtyAppError", Details: details}
		_, ok := e.DirtyTimeout()
		assert.False(t, ok)
		_, ok = e.WorkerID()
		assert.False(t, ok)
		assert.Equal(t, []string{"", "", "", ""}, []string{e.SocketPath(), e.AppPath(), e.Action(), e.Traceback()})
		assert.True(t, errors.Is(e, dirty.ErrApp))
	}
	d, ok = (&dirty.RemoteError{Details: map[string]any{"timeout": 0.25}}).DirtyTimeout()
	assert.Equal(t, 250*time.Millisecond, d)
	assert.True(t, ok)
	// A number that no Duration can hold is not turned into another one.
	for _, timeout := range []any{int64(1) << 62, int64(-1) << 62, 1e300} {
		d, ok = (&dirty.RemoteError{Details: map[string]any{"timeout": timeout}}).DirtyTimeout()
		seconds := reflect.ValueOf(timeout).Convert(reflect.TypeFor[float64]()).Float()
		assert.True(t, !ok || (d > 0) == (seconds > 0) && (d > 1<<60 || d < -1<<60), "%v gives %v", timeout, d)
	}
}

func TestNewErrorReply(t *testing.T) {
	remote := &dirty.RemoteError{Type: "Custom", Message: "m", Details: map[string]any{"a": int64(1)}}
	_, broken := dirty.Marshal(dirty.RawValue{7}) // a MarshalError around a ProtocolError
	require.Error(t, broken)
	for _, tt := range []struct {
		name         string
		err          error
		typ, message string
	}{
		{"nil", nil, "DirtyError", "Unknown error"},
		{"a result that has no encoding", broken, "DirtyAppError", broken.Error()},
		{"typed nil", (*dirty.RemoteError)(nil), "DirtyError", "Unknown error"},
		{"wrapped typed nil", fmt.Errorf("x: %w", (*dirty.RemoteError)(nil)), "DirtyError", "Unknown error"},
		{"RemoteError", remote, "Custom", "m"},
		{"wrapped RemoteError", fmt.Errorf("x: %w", remote), "Custom", "m"},
		{"joined RemoteError", errors.Join(io.EOF, remote), "Custom", "m"},
		{"empty RemoteError", &dirty.RemoteError{}, "DirtyError", ""},
		{"any error", errors.New("boom"), "DirtyAppError", "boom"},
		{"no text", errors.New(""), "DirtyAppError", ""},
		{"timeout", fmt.Errorf("t: %w", dirty.ErrPeerTimeout), "DirtyTimeoutError", "t: " + dirty.ErrPeerTimeout.Error()},
		{"connection", dirty.ErrPeerConnection, "DirtyConnectionError", dirty.ErrPeerConnection.Error()},
		{"worker", dirty.ErrWorker, "DirtyWorkerError", dirty.ErrWorker.Error()},
		{"app", dirty.ErrApp, "DirtyAppError", dirty.ErrApp.Error()},
		{"app not found", dirty.ErrAppNotFound, "DirtyAppNotFoundError", dirty.ErrAppNotFound.Error()},
		{"app not found before app", errors.Join(dirty.ErrApp, dirty.ErrAppNotFound), "DirtyAppNotFoundError", "dirty: the dirty app failed\ndirty: there is no such dirty app"},
		{"no workers", dirty.ErrNoWorkers, "DirtyNoWorkersAvailableError", dirty.ErrNoWorkers.Error()},
		{"protocol", dirty.ErrPeerProtocol, "DirtyProtocolError", dirty.ErrPeerProtocol.Error()},
		{"key", dirty.ErrKeyNotFound, "StashKeyNotFoundError", dirty.ErrKeyNotFound.Error()},
		{"table", dirty.ErrTableNotFound, "StashTableNotFoundError", dirty.ErrTableNotFound.Error()},
		{"context deadline", fmt.Errorf("c: %w", context.DeadlineExceeded), "DirtyTimeoutError", "c: context deadline exceeded"},
		{"os deadline", os.ErrDeadlineExceeded, "DirtyTimeoutError", os.ErrDeadlineExceeded.Error()},
		{"net deadline", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "DirtyTimeoutError", "read: i/o timeout"},
		{"canceled", context.Canceled, "DirtyAppError", "context canceled"},
		{"ProtocolError", dirty.Validate([]byte{7}), "DirtyProtocolError", dirty.Validate([]byte{7}).Error()},
		{"bad UTF-8", errors.New("a\xff\xfeb"), "DirtyAppError", "a\ufffdb"},
		{"bad UTF-8 of a kind", fmt.Errorf("\xff%w", dirty.ErrWorker), "DirtyWorkerError", "\ufffd" + dirty.ErrWorker.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := dirty.NewErrorReply(5, tt.err)
			require.NotNil(t, m.Err)
			got := reply(t, m)
			assert.Equal(t, tt.typ, got.Type)
			assert.Equal(t, tt.message, got.Message)
			assert.EqualValues(t, 5, m.RequestID())
		})
	}
	assert.Same(t, remote, dirty.NewErrorReply(1, remote).Err)
	assert.Equal(t, remote.Details, reply(t, dirty.NewErrorReply(1, remote)).Details)
	assert.Equal(t, "Unknown error", reply(t, &dirty.ErrorReply{ID: 1}).Message, "an ErrorReply without an error")
}

// TestRemoteErrorException uses tracebacks such as gunicorn's workers send.
func TestRemoteErrorException(t *testing.T) {
	const frames = "Traceback (most recent call last):\n  File \"app.py\", line 3, in f\n    raise Oops: here\n"
	for _, tt := range []struct{ name, message, traceback, want string }{
		{"builtin", "boom", frames + "ValueError: boom\n", "ValueError"},
		{"with its module", "boom", frames + "shop.errors.OutOfStock: boom\n", "shop.errors.OutOfStock"},
		{"in a function", "boom", frames + "app.f.<locals>.Oops: boom\n", "app.f.<locals>.Oops"},
		{"no message", "", frames + "KeyError\n", "KeyError"},
		{"lines", "outer\nLooksLike: a class", frames + "app.MyErr: outer\nLooksLike: a class\n", "app.MyErr"},
		{"notes", "boom", frames + "ValueError: boom\nNote: look here\nanother note\n", "ValueError"},
		{"group", "two (2 sub-exceptions)", "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: one\n    +------------------------------------\n", "ExceptionGroup"},
		{"cause", "second", frames + "ValueError: first\n\nThe above exception was the direct cause of the following exception:\n\n" + frames + "TypeError: second\n", "TypeError"},
		{"another text", "Execution of a.b timed out", frames + "gunicorn.dirty.errors.DirtyTimeoutError: else\n", "gunicorn.dirty.errors.DirtyTimeoutError"},
		{"no traceback", "boom", "", ""},
		{"nonsense", "boom", "\n::\n  : \n..: x\n", ""},
	} {
		err := &dirty.RemoteError{Type: dirty.ClassApp, Message: tt.message, Details: map[string]any{"traceback": tt.traceback}}
		assert.Equal(t, tt.want, err.Exception(), tt.name)
	}
	assert.Empty(t, new(dirty.RemoteError).Exception())
}
