package client

import (
	"context"
	"errors"
	"io"

	"github.com/gunicorn-go/dirty"
)

// outcomes are the words of Outcome. The first one that matches counts.
var outcomes = []struct {
	word string
	is   []error
}{
	{"hook_failed", []error{ErrHookFailed}},
	{"not_found", []error{dirty.ErrKeyNotFound, dirty.ErrTableNotFound}},
	{"no_workers", []error{dirty.ErrNoWorkers}},
	{"worker_error", []error{dirty.ErrWorker}},
	{"app_not_found", []error{dirty.ErrAppNotFound}},
	{"app_error", []error{dirty.ErrApp}},
	{"pool_timeout", []error{ErrPoolTimeout}},
	{"timeout", []error{context.DeadlineExceeded, dirty.ErrPeerTimeout}},
	{"canceled", []error{context.Canceled, ErrStreamClosed}},
	{"closed", []error{ErrClosed}},
	{"invalid", []error{ErrInvalidArgument, ErrStreamUsed}},
	{"unavailable", []error{ErrUnavailable, ErrNoSocket}},
	{"bad_reply", []error{ErrIDMismatch, ErrStreamingResponse, ErrUnexpectedReply, ErrUnsupportedPeer}},
}

// Outcome returns a word for how a call ended, for the labels of metrics. It is
// one of these, whatever the error says; new ones may be added:
//
//	ok             no error, or io.EOF at the end of a stream
//	app_error      the action raised an exception
//	app_not_found  the peer has no such app
//	no_workers     no worker has the app, or there is no such app
//	worker_error   a worker died or could not be reached by the arbiter
//	not_found      the stash has no such key or table
//	remote_error   any other error that the peer told
//	timeout        a timeout passed: the context's, the client's, or gunicorn's dirty_timeout
//	pool_timeout   no connection became free in time
//	canceled       the context was cancelled, or the stream was left
//	closed         the client was closed
//	unavailable    no arbiter could be reached
//	lost           the connection failed during the call
//	bad_reply      the reply was none, belonged to another request, or could not be decoded
//	invalid        the arguments were refused before anything was sent
//	hook_failed    a Dialer, Interceptor, Tracer or other code of yours panicked
//	other          an error that is not the client's, such as that of an Interceptor
func Outcome(err error) string {
	if err == nil || err == io.EOF {
		return "ok"
	}
	for _, o := range outcomes {
		for _, target := range o.is {
			if errors.Is(err, target) {
				return o.word
			}
		}
	}
	var failed *OpError
	if !errors.As(err, &failed) {
		return "other"
	}
	if _, remote := failed.remote(); remote {
		return "remote_error"
	}
	var protocol *dirty.ProtocolError
	switch {
	case failed.Stage == StagePrepare:
		return "invalid"
	case failed.Stage == StageDial:
		return "unavailable"
	case failed.Stage == StageDecode, errors.As(err, &protocol) && protocol.Err != io.ErrUnexpectedEOF:
		return "bad_reply"
	}
	return "lost"
}
