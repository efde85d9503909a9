package server

import "github.com/gunicorn-go/dirty"

// The errors of this file are what gunicorn's arbiter tells its clients.

// unknownApp is gunicorn's error for an app that no worker has.
func unknownApp(r *dirty.Request) *dirty.RemoteError {
	return &dirty.RemoteError{
		Type:    dirty.ClassNoWorkersAvailable,
		Message: "No workers available for app: " + r.AppPath,
		Details: map[string]any{"app_path": r.AppPath},
	}
}

// appError is an error of a request in gunicorn's terms, with the details that
// its clients make attributes of.
func appError(r *dirty.Request, message string) *dirty.RemoteError {
	return &dirty.RemoteError{
		Type:    dirty.ClassApp,
		Message: message,
		Details: map[string]any{"app_path": r.AppPath, "action": r.Action},
	}
}

// dirtyError is an error of no particular kind, in gunicorn's terms.
func dirtyError(message string) *dirty.RemoteError {
	return &dirty.RemoteError{Type: dirty.ClassError, Message: message}
}
