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

// The kinds of [RemoteError], for [errors.Is]; see [RemoteError.Is]. A RemoteError
// may be of none. On the answering side an error of a kind becomes gunicorn's
// class of that kind, see [NewErrorReply].
const (
	ErrPeerTimeout    = sentinel("the dirty worker timed out")          // gunicorn's dirty_timeout passed; the action may still run
	ErrPeerConnection = sentinel("the peer has no connection")          // DirtyConnectionError
	ErrWorker         = sentinel("the dirty worker failed")             // it died, or could not be reached
	ErrApp            = sentinel("the dirty app failed")                // the action raised, or its result has no encoding
	ErrAppNotFound    = sentinel("there is no such dirty app")          // DirtyAppNotFoundError
	ErrNoWorkers      = sentinel("no dirty worker has the app")         // also the arbiter's answer for an unknown app
	ErrPeerProtocol   = sentinel("the peer met a protocol error")       // DirtyProtocolError
	ErrKeyNotFound    = sentinel("the stash table has no such key")     // the answer to StashGet
	ErrTableNotFound  = sentinel("the stash has no table of this name") // the answer to StashInfo
)

// The names of gunicorn's error classes (dirty/errors.py, dirty/stash.py). An
// ERROR frame has one as its error_type, which is the Type of a [RemoteError].
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

// unknownError is the message of an ERROR frame that has none.
const unknownError = "Unknown error"

// remoteKinds pairs gunicorn's class names with the kinds, for both directions.
// An error may be of two kinds; the more special one comes first.
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

// RemoteError is what the peer's ERROR frame says. The connection is not at
// fault and can still be used.
//
// gunicorn fills in the details timeout, socket_path, worker_id, app_path,
// action and traceback. Each of them has a method here.
//
// A RemoteError may be used concurrently as long as nobody changes it.
type RemoteError struct {
	Type    string         // the name of a Python class, such as ClassApp; other names than gunicorn's are kept; "" is sent as ClassError
	Message string         // for people; the text of an app's exception
	Details map[string]any // as the peer sent them; may be nil
}

// Error returns a line with the type and the message, without the traceback.
func (e *RemoteError) Error() string {
	typ := e.Type
	if typ == "" {
		typ = ClassError
	}
	return "dirty: " + typ + ": " + e.Message
}

// Is reports whether target is a kind of the error. The kind follows from the
// type. But the supported releases of gunicorn do not always send the type that
// their documentation names, so there are these exceptions:
//   - A worker that notices a timeout sends a DirtyAppError. It is an
//     [ErrPeerTimeout] and no [ErrApp].
//   - A DirtyAppNotFoundError is also an [ErrApp], as it is in Python. A
//     DirtyAppError whose traceback ends in that class is also an
//     [ErrAppNotFound].
//   - A stash key or table that does not exist comes as a DirtyError. By its
//     message it is an [ErrKeyNotFound] or [ErrTableNotFound].
//   - An arbiter without any workers sends a DirtyError. By its message it is an
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
	case ErrNoWorkers: // the message comes while an arbiter starts or stops
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

// isWorkerTimeout recognises a timeout in the form in which a worker reports it.
// Without a traceback it has to go by the message.
func (e *RemoteError) isWorkerTimeout() bool {
	return e.wraps(ClassTimeout) ||
		e.Type == ClassApp && e.Traceback() == "" &&
			strings.HasPrefix(e.Message, "Execution of ") && strings.Contains(e.Message, " timed out: ")
}

// wraps reports whether the exception was of one of gunicorn's own classes. A
// worker turns every exception into a DirtyAppError, but the last line of the
// traceback names the class.
func (e *RemoteError) wraps(class string) bool {
	trace := strings.TrimRight(e.Traceback(), "\n")
	last := trace[strings.LastIndexByte(trace, '\n')+1:]
	return e.Type == ClassApp && strings.HasPrefix(last, "gunicorn.dirty.errors."+class+": ")
}

// Timeout reports whether the error is an [ErrPeerTimeout]. It has the meaning
// that it has in [net.Error].
func (e *RemoteError) Timeout() bool { return e.Is(ErrPeerTimeout) }

// DirtyTimeout returns gunicorn's dirty_timeout setting, which the arbiter
// sends along with a timeout. ok is false if it did not, as for a setting of 0,
// or if what it sent is no number that a Duration can hold.
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

// SocketPath returns the path of the socket that the peer could not reach, or ""
// if the peer did not tell it.
func (e *RemoteError) SocketPath() string { return e.text("socket_path") }

// AppPath returns the app that was asked for, or "" if the peer did not tell it.
func (e *RemoteError) AppPath() string { return e.text("app_path") }

// Action returns the action that was asked for, or "" if the peer did not tell
// it.
func (e *RemoteError) Action() string { return e.text("action") }

// Traceback returns Python's traceback, which has several lines, or "" if the
// peer sent none. It can hold whatever the app put into its message, secrets
// included, so it should not be logged without thought.
func (e *RemoteError) Traceback() string { return e.text("traceback") }

// WorkerID returns the process id of the worker that failed. ok is false if the
// peer did not tell it.
func (e *RemoteError) WorkerID() (pid int64, ok bool) {
	pid, ok = e.Details["worker_id"].(int64)
	return pid, ok
}

// Exception returns the name of the Python class that the app raised, as the
// traceback shows it: "ValueError", or with its module "shop.OutOfStock". It
// comes from the last lines of the traceback, because gunicorn sends it nowhere
// else. It is "" if they name no class.
func (e *RemoteError) Exception() string {
	message, _, _ := strings.Cut(e.Message, "\n")
	guess := ""
	for _, line := range slices.Backward(strings.Split(e.Traceback(), "\n")) {
		class, text, _ := strings.Cut(strings.TrimLeft(line, " |"), ": ") // Python draws a box around an exception group
		switch {
		case !isClassName(class):
		case text == message: // what follows it is more lines of the message, or notes
			return class
		case guess == "" && line != "" && line[0] != ' ':
			guess = class
		}
	}
	return guess
}

// isClassName reports whether s is the name of a Python class, which may have the
// names of its modules before it.
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

// text returns a detail that should be text. If the peer put anything else
// there, it is "".
func (e *RemoteError) text(key string) string {
	s, _ := e.Details[key].(string)
	return s
}

// asRemoteError turns err into gunicorn's terms, for an ERROR frame.
func asRemoteError(err error) *RemoteError {
	var remote *RemoteError
	if err == nil || errors.As(err, &remote) && remote == nil {
		return &RemoteError{Type: ClassError, Message: unknownError}
	}
	if remote != nil {
		return remote
	}
	return &RemoteError{Type: classOf(err), Message: strings.ToValidUTF8(err.Error(), "\ufffd")}
}

// classOf returns the name of gunicorn's class for an error.
func classOf(err error) string {
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
	case errors.As(err, &marshal): // the app's result has no encoding, even if a ProtocolError says why
	case errors.As(err, &protocol):
		return ClassProtocol
	}
	return ClassApp
}
