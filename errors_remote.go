package dirty

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The kinds of [RemoteError], for [errors.Is]. What an ERROR frame says is
// one of them or none; see [RemoteError.Is]. On the answering side they
// choose the type that [NewErrorReply] sends.
const (
	ErrPeerTimeout    = sentinel("the dirty worker timed out")          // dirty_timeout passed; the action may still run
	ErrPeerConnection = sentinel("the peer has no connection")          // DirtyConnectionError
	ErrWorker         = sentinel("the dirty worker failed")             // it died, or could not be reached
	ErrApp            = sentinel("the dirty app failed")                // the action raised, or its result has no encoding
	ErrAppNotFound    = sentinel("there is no such dirty app")          // DirtyAppNotFoundError
	ErrNoWorkers      = sentinel("no dirty worker has the app")         // an unknown app is told in this way
	ErrPeerProtocol   = sentinel("the peer met a protocol error")       // DirtyProtocolError
	ErrKeyNotFound    = sentinel("the stash table has no such key")     // of a stash get
	ErrTableNotFound  = sentinel("the stash has no table of this name") // of a stash info
)

// The names of gunicorn's classes of errors, which an ERROR frame tells as
// error_type (dirty/errors.py, dirty/stash.py). See [RemoteError.Type].
const (
	ClassError              = "DirtyError" // of no particular kind, and where none is given
	ClassTimeout            = "DirtyTimeoutError"
	ClassConnection         = "DirtyConnectionError"
	ClassWorker             = "DirtyWorkerError"
	ClassApp                = "DirtyAppError"
	ClassAppNotFound        = "DirtyAppNotFoundError"
	ClassNoWorkersAvailable = "DirtyNoWorkersAvailableError"
	ClassProtocol           = "DirtyProtocolError"
	ClassStash              = "StashError"
	ClassKeyNotFound        = "StashKeyNotFoundError"
	ClassTableNotFound      = "StashTableNotFoundError"
)

// unknownError is the message where none is given.
const unknownError = "Unknown error"

// remoteKinds pairs gunicorn's type names with the kinds, for both
// directions. The more special kind comes first.
var remoteKinds = [...]struct {
	name string
	kind error
}{
	{ClassTimeout, ErrPeerTimeout},
	{ClassConnection, ErrPeerConnection},
	{ClassWorker, ErrWorker},
	{ClassAppNotFound, ErrAppNotFound},
	{ClassApp, ErrApp},
	{ClassNoWorkersAvailable, ErrNoWorkers},
	{ClassProtocol, ErrPeerProtocol},
	{ClassKeyNotFound, ErrKeyNotFound},
	{ClassTableNotFound, ErrTableNotFound},
}

// RemoteError is what the peer's ERROR frame says. It is the peer's word,
// not a fault of the connection, which can be used on.
//
// Type is the name of a Python class; names that gunicorn does not define
// are kept. Details are as the peer sent them: gunicorn fills in timeout,
// socket_path, worker_id, app_path, action and traceback, each of which has
// a method here.
type RemoteError struct {
	Type    string         // "DirtyAppError"; "" is sent as "DirtyError"
	Message string         // for people; of an app's exception, its text
	Details map[string]any // may be nil
}

// Error returns the type and the message. The traceback is not part of it.
func (e *RemoteError) Error() string {
	typ := e.Type
	if typ == "" {
		typ = ClassError
	}
	return "dirty: " + typ + ": " + e.Message
}

// Is reports whether target is the error's kind. The kinds follow the type,
// with these corrections for what every supported release of gunicorn sends:
//   - a timeout that the worker noticed comes as a DirtyAppError; it is
//     [ErrPeerTimeout] and not [ErrApp];
//   - a DirtyAppNotFoundError is [ErrApp] too, as in Python, and a
//     DirtyAppError whose traceback ends in that class [ErrAppNotFound];
//   - a stash miss comes as a DirtyError with a message; it is
//     [ErrKeyNotFound] or [ErrTableNotFound];
//   - so does a call while an arbiter has no workers at all, which is
//     [ErrNoWorkers].
func (e *RemoteError) Is(target error) bool {
	switch target {
	case ErrPeerTimeout:
		return e.Type == ClassTimeout || e.isWorkerTimeout()
	case ErrApp:
		return (e.Type == ClassApp || e.Type == ClassAppNotFound) && !e.isWorkerTimeout()
	case ErrAppNotFound:
		return e.Type == ClassAppNotFound || e.wraps(ClassAppNotFound)
	case ErrKeyNotFound:
		return e.Type == ClassKeyNotFound || e.Type == ClassError && strings.HasPrefix(e.Message, "Key not found: ")
	case ErrNoWorkers: // the second while an arbiter starts or stops
		return e.Type == ClassNoWorkersAvailable || e.Type == ClassError && e.Message == "No dirty workers available"
	case ErrTableNotFound:
		return e.Type == ClassTableNotFound || e.Type == ClassError && strings.HasPrefix(e.Message, "Table not found: ")
	}
	for _, k := range remoteKinds {
		if k.kind == target {
			return k.name == e.Type
		}
	}
	return false
}

// isWorkerTimeout recognises dirty_timeout in the form in which the worker
// reports it; without a traceback the text has to do.
func (e *RemoteError) isWorkerTimeout() bool {
	return e.wraps(ClassTimeout) ||
		e.Type == ClassApp && e.Traceback() == "" &&
			strings.HasPrefix(e.Message, "Execution of ") && strings.Contains(e.Message, " timed out: ")
}

// wraps reports whether the error is gunicorn's own class inside the app
// error into which a worker puts every exception: then the last line of the
// traceback names that class.
func (e *RemoteError) wraps(class string) bool {
	trace := strings.TrimRight(e.Traceback(), "\n")
	last := trace[strings.LastIndexByte(trace, '\n')+1:]
	return e.Type == ClassApp && strings.HasPrefix(last, "gunicorn.dirty.errors."+class+": ")
}

// Timeout reports whether the error is an [ErrPeerTimeout], as [net.Error] does.
func (e *RemoteError) Timeout() bool { return e.Is(ErrPeerTimeout) }

// DirtyTimeout returns gunicorn's dirty_timeout setting, which the arbiter
// tells with a timeout. ok is false if it did not, which is so for a setting
// of 0, or if what it told is no duration.
func (e *RemoteError) DirtyTimeout() (d time.Duration, ok bool) {
	seconds, ok := e.Details["timeout"].(float64)
	if n, isInt := e.Details["timeout"].(int64); isInt {
		seconds, ok = float64(n), true
	}
	if !ok || !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// SocketPath returns the socket that the peer could not reach, or "".
func (e *RemoteError) SocketPath() string { return e.text("socket_path") }

// AppPath returns the app that was asked for, or "".
func (e *RemoteError) AppPath() string { return e.text("app_path") }

// Action returns the action that was asked for, or "".
func (e *RemoteError) Action() string { return e.text("action") }

// Traceback returns Python's traceback, several lines, or "". It can hold
// anything that the app had in a message; think before you log it.
func (e *RemoteError) Traceback() string { return e.text("traceback") }

// WorkerID returns the process id of the worker that failed, if the peer
// tells it.
func (e *RemoteError) WorkerID() (pid int64, ok bool) {
	pid, ok = e.Details["worker_id"].(int64)
	return pid, ok
}

// Exception returns the name of the Python class that the app raised, as a
// traceback shows it: "ValueError", or with its module "shop.OutOfStock". It is
// read from the last lines of the traceback, which is the only place where
// gunicorn tells it, and is "" where they do not name one.
func (e *RemoteError) Exception() string {
	message, _, _ := strings.Cut(e.Message, "\n")
	guess := ""
	for _, line := range slices.Backward(strings.Split(e.Traceback(), "\n")) {
		class, text, _ := strings.Cut(strings.TrimLeft(line, " |"), ": ") // a group stands in a box
		switch {
		case !isClassName(class):
		case text == message: // notes may follow, and more lines of the message
			return class
		case guess == "" && line != "" && line[0] != ' ':
			guess = class
		}
	}
	return guess
}

// isClassName reports whether s is a name of Python's with the names of its
// modules before it.
func isClassName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		for i, r := range part {
			if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) && part != "<locals>" {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return true
}

// text is a detail that should be text; the peer may have put anything
// there.
func (e *RemoteError) text(key string) string {
	s, _ := e.Details[key].(string)
	return s
}

// asRemoteError says err in gunicorn's terms, for an ERROR frame.
func asRemoteError(err error) *RemoteError {
	var remote *RemoteError
	if err == nil || errors.As(err, &remote) && remote == nil {
		return &RemoteError{Type: ClassError, Message: unknownError}
	}
	if remote != nil {
		return remote
	}
	return &RemoteError{Type: typeOf(err), Message: strings.ToValidUTF8(err.Error(), "\ufffd")}
}

// typeOf returns the name of gunicorn's class for an error.
func typeOf(err error) string {
	for _, k := range remoteKinds {
		if errors.Is(err, k.kind) {
			return k.name
		}
	}
	var marshal *MarshalError
	var protocol *ProtocolError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ClassTimeout
	case errors.As(err, &marshal): // the app's result, whatever its own encoding says
	case errors.As(err, &protocol):
		return ClassProtocol
	}
	return ClassApp
}
