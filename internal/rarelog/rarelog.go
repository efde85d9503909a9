// Package rarelog writes to a logger of the user's, which may panic, call
// [runtime.Goexit] or block. It bounds the lines that others can cause: a client, a host
// that is away, or a handler that panics must not fill the disk.
package rarelog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty/internal/usercode"
)

// Interval is the time between two lines with one message, after those that may be
// written at once.
const Interval = time.Second

// Logger writes log lines. It may be used concurrently.
type Logger struct {
	to      *slog.Logger
	until   context.Context
	lost    func()
	limiter limiter
}

// New returns a Logger that writes to another one, or nowhere if that is nil. lost may be
// nil; it is called when a line is lost because that one did not return.
func New(to *slog.Logger, lost func()) *Logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	if lost == nil {
		lost = func() {}
	}
	return &Logger{to: to, until: context.Background(), lost: lost}
}

// Until has Write and WriteRarely wait no longer than ctx. Call it before them. It
// returns l.
func (l *Logger) Until(ctx context.Context) *Logger {
	l.until = ctx
	return l
}

// Write writes a line, and waits until it is written.
func (l *Logger) Write(level slog.Level, message string, attrs ...slog.Attr) {
	l.write(l.until, level, message, attrs)
}

// WriteRarely writes a line that others can cause, or leaves it out: of those with one
// message there are atOnce at once, and then one each [Interval]. A line tells how many
// were dropped since the last one. The message should be a constant.
func (l *Logger) WriteRarely(level slog.Level, atOnce int, message string, attrs ...slog.Attr) {
	dropped, ok := l.limiter.admit(level, message, atOnce)
	if !ok {
		return
	}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("dropped", dropped))
	}
	l.Write(level, message, attrs...)
}

// WriteRest writes how many lines were dropped of which no line has told yet. It is for
// the end, when no more lines come. It waits for [Interval] at most.
func (l *Logger) WriteRest() {
	ctx, cancel := context.WithTimeout(context.Background(), Interval)
	defer cancel()
	for _, r := range l.limiter.takeRest() {
		l.write(ctx, r.level, r.message, []slog.Attr{slog.Int("dropped", r.dropped)})
	}
}

// write writes a line, and waits until it is written or ctx has ended.
func (l *Logger) write(ctx context.Context, level slog.Level, message string, attrs []slog.Attr) {
	if l.to.Handler() == slog.DiscardHandler {
		return
	}
	// The logger cannot tell of itself that it has failed.
	err := usercode.CallUntil(ctx, 0, usercode.Silent, "the logger", func() error {
		l.to.LogAttrs(context.Background(), level, message, attrs...)
		return nil
	})
	if usercode.IsFailure(err) {
		l.lost()
	}
}

// limiter decides which lines are written. Lines with the same message are of one kind.
// It may be used concurrently.
type limiter struct {
	mu    sync.Mutex
	kinds map[string]*kind // by message
}

// kind counts the lines with one message.
type kind struct {
	level   slog.Level
	left    int       // how many may be written now
	since   time.Time // when left was counted
	dropped int       // lines that were left out since the last one
}

// rest stands for lines that were left out.
type rest struct {
	level   slog.Level
	message string
	dropped int // how many
}

// admit reports whether a line may be written, and how many of its kind were dropped
// since the last one.
func (l *limiter) admit(level slog.Level, message string, atOnce int) (dropped int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[message]
	if k == nil {
		k = &kind{left: atOnce, since: now}
		if l.kinds == nil {
			l.kinds = map[string]*kind{}
		}
		l.kinds[message] = k
	}
	k.level = level
	if more := int(min(now.Sub(k.since)/Interval, time.Duration(atOnce))); more > 0 {
		k.left, k.since = min(k.left+more, atOnce), now
	}
	if k.left == 0 {
		k.dropped++
		return 0, false
	}
	k.left--
	dropped, k.dropped = k.dropped, 0
	return dropped, true
}

// takeRest returns how many lines were dropped since the last one of each kind, and
// forgets them.
func (l *limiter) takeRest() []rest {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []rest
	for message, k := range l.kinds {
		if k.dropped > 0 {
			all = append(all, rest{k.level, message, k.dropped})
			k.dropped = 0
		}
	}
	return all
}
