package server

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/rarelog"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// journal writes the log lines of a server. The user's Logger cannot end the
// process or a goroutine of the server: if it panics or calls runtime.Goexit, that
// is counted, and the line is lost.
type journal struct {
	log    *rarelog.Logger
	counts *counts
}

// How many lines with one message are written at once. Then it is one a second.
const (
	warningsAtOnce = 1
	panicsAtOnce   = 10
)

// newJournal returns a journal for the user's Logger, which may be nil.
func newJournal(l *slog.Logger, counts *counts) journal {
	return journal{rarelog.New(l, func() { counts.panics.Add(1) }), counts}
}

// write writes a line.
func (j *journal) write(level slog.Level, message string, attrs ...slog.Attr) {
	j.log.Write(level, message, attrs...)
}

// warn writes a line that a client can cause. There are at most so many of one
// message at once and then one a second, because a client must not fill the
// disk: the next line says how many were dropped.
func (j *journal) warn(message string, attrs ...slog.Attr) {
	j.log.WriteRarely(slog.LevelWarn, warningsAtOnce, message, attrs...)
}

// reportPanic counts and logs a panic in the user's code. It is called while
// the panic's frames are still on the stack.
func (j *journal) reportPanic(v any, where slog.Attr) {
	j.counts.panics.Add(1)
	// Sprint survives a panic in the methods of v.
	j.log.WriteRarely(slog.LevelError, panicsAtOnce, "dirty: a panic in the server's handlers or hooks",
		where, slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
}

// reportExit counts and logs that the user's code has ended a goroutine of the
// server with runtime.Goexit.
func (j *journal) reportExit(where slog.Attr) {
	j.counts.panics.Add(1)
	j.log.WriteRarely(slog.LevelError, panicsAtOnce, "dirty: runtime.Goexit in the server's handlers or hooks",
		where, slog.String("stack", string(debug.Stack())))
}

// Try calls code of the user's in this goroutine, and reports its failure. what is
// where the log says that it was.
func (j *journal) Try(what string, f func() error) error {
	return usercode.Try(what, j.report, f)
}

// tryInside is Try for code inside other code that reports a runtime.Goexit. After a
// panic the error is failed.
func (j *journal) tryInside(what string, failed error, f func() error) error {
	err := usercode.Try(what, j.reportUnlessExit, f)
	if usercode.IsFailure(err) {
		return failed
	}
	return err
}

func (j *journal) report(failure *usercode.Failure) {
	where := slog.String("where", failure.What)
	if failure.Panic == nil {
		j.reportExit(where)
	} else {
		j.reportPanic(failure.Panic, where)
	}
}

func (j *journal) reportUnlessExit(failure *usercode.Failure) {
	if failure.Panic != nil {
		j.report(failure)
	}
}

// requestAttr says what a request asks for, without its arguments. r may be
// nil.
func requestAttr(r *dirty.Request) slog.Attr {
	if r == nil {
		return slog.Attr{}
	}
	return slog.Group("", "app", r.AppPath, "action", r.Action)
}
