package server

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
)

// journal writes the log lines of a server. The user's Logger cannot end the
// process or a goroutine of the server: if it panics or calls runtime.Goexit, that
// is counted, and the line is lost.
type journal struct {
	logger *slog.Logger
	counts *counts

	mu    sync.Mutex
	kinds map[string]*lineKind // by message
}

// lineKind counts the lines of one kind, to bound how many are written.
type lineKind struct {
	left    int       // how many may be written now
	since   time.Time // when left was counted
	dropped int       // lines that were left out since the last one
}

// How many lines of one kind are written at once. Then it is one a second.
const (
	warningsAtOnce = 1
	panicsAtOnce   = 10
)

// write writes a line, in a goroutine that the Logger may end: the caller may be
// about to let others go on.
func (j *journal) write(level slog.Level, message string, attrs ...slog.Attr) {
	if j.logger.Handler() == slog.DiscardHandler {
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		returned := false
		defer func() {
			_ = recover()
			if !returned {
				j.counts.panics.Add(1)
			}
		}()
		j.logger.LogAttrs(context.Background(), level, message, attrs...)
		returned = true
	}()
	<-written
}

// warn writes a line that a client can cause. There are at most so many of one
// message at once and then one a second, because a client must not fill the
// disk: the next line says how many were dropped.
func (j *journal) warn(message string, attrs ...slog.Attr) {
	j.limit(slog.LevelWarn, warningsAtOnce, message, attrs)
}

func (j *journal) limit(level slog.Level, atOnce int, message string, attrs []slog.Attr) {
	dropped, ok := j.admit(message, atOnce)
	if !ok {
		return
	}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("dropped", dropped))
	}
	j.write(level, message, attrs...)
}

// admit decides whether a line may be written, and returns how many before it
// were not.
func (j *journal) admit(message string, atOnce int) (dropped int, ok bool) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.kinds[message]
	if k == nil {
		k = &lineKind{left: atOnce, since: now}
		if j.kinds == nil {
			j.kinds = map[string]*lineKind{}
		}
		j.kinds[message] = k
	}
	if seconds := int(min(now.Sub(k.since)/time.Second, time.Duration(atOnce))); seconds > 0 {
		k.left, k.since = min(k.left+seconds, atOnce), now
	}
	if k.left == 0 {
		k.dropped++
		return 0, false
	}
	k.left--
	dropped, k.dropped = k.dropped, 0
	return dropped, true
}

// reportPanic counts and logs a panic in the user's code. It is called while
// the panic's frames are still on the stack.
func (j *journal) reportPanic(v any, where slog.Attr) {
	j.counts.panics.Add(1)
	// Sprint survives a panic in the methods of v.
	j.limit(slog.LevelError, panicsAtOnce, "dirty: a panic in the server's handlers or hooks",
		[]slog.Attr{where, slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack()))})
}

// reportExit counts and logs that the user's code has ended a goroutine of the
// server with runtime.Goexit.
func (j *journal) reportExit(where slog.Attr) {
	j.counts.panics.Add(1)
	j.limit(slog.LevelError, panicsAtOnce, "dirty: runtime.Goexit in the server's handlers or hooks",
		[]slog.Attr{where, slog.String("stack", string(debug.Stack()))})
}

// requestAttr says what a request asks for, without its arguments. r may be
// nil.
func requestAttr(r *dirty.Request) slog.Attr {
	if r == nil {
		return slog.Attr{}
	}
	return slog.Group("", "app", r.AppPath, "action", r.Action)
}
