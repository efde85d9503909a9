package rarelog_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/internal/rarelog"
	"github.com/stretchr/testify/assert"
)

// recorder is the handler of a logger that keeps its lines as text.
type recorder struct {
	handle func() // if it is set, it is called instead

	mu      sync.Mutex
	lines   []string
	dropped int // the sum of what the lines tell
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }
func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	if r.handle != nil {
		r.handle()
		return nil
	}
	line := record.Level.String() + " " + record.Message
	r.mu.Lock()
	defer r.mu.Unlock()
	record.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %v", a)
		if a.Key == "dropped" {
			r.dropped += int(a.Value.Int64())
		}
		return true
	})
	r.lines = append(r.lines, line)
	return nil
}

// TestWriteRarely: so many lines of a kind are written at once, then one each interval,
// and each tells how many were dropped before it.
func TestWriteRarely(t *testing.T) {
	for name, tt := range map[string]struct {
		atOnce int
		times  []time.Duration // of the lines, from the first one on
		want   []string
	}{
		"one":                      {1, []time.Duration{0}, []string{"0"}},
		"at one time":              {1, []time.Duration{0, 0, 0}, []string{"0"}},
		"just before the interval": {1, []time.Duration{0, rarelog.Interval - 1}, []string{"0"}},
		"after the interval":       {1, []time.Duration{0, rarelog.Interval}, []string{"0", "1"}},
		"some are dropped": {1, []time.Duration{0, 1, 2, rarelog.Interval, rarelog.Interval, 2 * rarelog.Interval},
			[]string{"0", "3 dropped=2", "5 dropped=1"}},
		"several at once": {3, []time.Duration{0, 0, 0, 0, 0, rarelog.Interval, rarelog.Interval},
			[]string{"0", "1", "2", "5 dropped=2"}},
		"several after a while": {2, []time.Duration{0, 0, 0, time.Hour, time.Hour, time.Hour},
			[]string{"0", "1", "3 dropped=1", "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				l := rarelog.New(slog.New(&r), nil)
				begin := time.Now()
				for i, at := range tt.times {
					time.Sleep(time.Until(begin.Add(at)))
					l.WriteRarely(slog.LevelWarn, tt.atOnce, "a", slog.Int("n", i))
				}
				var want []string
				for _, line := range tt.want {
					want = append(want, "WARN a n="+line)
				}
				assert.Equal(t, want, r.lines)
			})
		})
	}
}

// TestKinds: lines with one message do not bound those with another.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := rarelog.New(slog.New(&r), nil)
		for i := range 10 {
			l.WriteRarely(slog.LevelWarn, 1, strconv.Itoa(i))
			l.Write(slog.LevelWarn, "each is written")
		}
		assert.Len(t, r.lines, 20)
	})
}

// TestNothingIsLost: what no line has told of is told in the end, once.
func TestNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := rarelog.New(slog.New(&r), nil)
		l.WriteRest()
		assert.Empty(t, r.lines)
		for message, n := range map[string]int{"a": 3, "b": 2, "c": 1} {
			for range n {
				l.WriteRarely(slog.LevelError, 1, message)
			}
		}
		r.lines = nil
		l.WriteRest()
		assert.ElementsMatch(t, []string{"ERROR a dropped=2", "ERROR b dropped=1"}, r.lines)
		r.lines = nil
		l.WriteRest()
		assert.Empty(t, r.lines, "all was told")
		time.Sleep(rarelog.Interval)
		l.WriteRarely(slog.LevelError, 1, "a")
		assert.Equal(t, []string{"ERROR a"}, r.lines)
	})
}

// TestConcurrentLines: however the lines come, each is written or counted.
func TestConcurrentLines(t *testing.T) {
	const lines, goroutines = 1000, 8
	var r recorder
	l := rarelog.New(slog.New(&r), nil)
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range lines {
				l.WriteRarely(slog.LevelWarn, 1, "a")
			}
		})
	}
	all.Wait()
	written := len(r.lines)
	l.WriteRest()
	assert.Equal(t, lines*goroutines, written+r.dropped)
}

// TestLoggerFails: a logger that does not return ends nothing, and what is lost is told.
func TestLoggerFails(t *testing.T) {
	for name, fail := range map[string]func(){"panics": func() { panic("boom") }, "ends its goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			lost := 0
			l := rarelog.New(slog.New(&recorder{handle: fail}), func() { lost++ })
			l.Write(slog.LevelWarn, "a")
			l.WriteRarely(slog.LevelWarn, 1, "a")
			l.WriteRarely(slog.LevelWarn, 1, "a")
			l.WriteRest()
			assert.Equal(t, 3, lost)
			rarelog.New(slog.New(&recorder{handle: fail}), nil).Write(slog.LevelWarn, "a")
		})
	}
}

// TestLoggerBlocks: the end does not wait for a logger that blocks, nor does a Logger
// whose context has ended.
func TestLoggerBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := rarelog.New(slog.New(&r), nil)
		l.WriteRarely(slog.LevelWarn, 1, "a")
		l.WriteRarely(slog.LevelWarn, 1, "a")
		release := make(chan struct{})
		r.handle = func() { <-release }
		begin := time.Now()
		l.WriteRest()
		assert.Equal(t, rarelog.Interval, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin = time.Now()
		rarelog.New(slog.New(&r), nil).Until(ctx).Write(slog.LevelWarn, "a")
		assert.Equal(t, time.Hour, time.Since(begin))
		close(release)
	})
}

// TestNoLogger: without a logger nothing is written.
func TestNoLogger(t *testing.T) {
	l := rarelog.New(nil, nil)
	l.Write(slog.LevelWarn, "a")
	l.WriteRarely(slog.LevelWarn, 1, "a")
	l.WriteRarely(slog.LevelWarn, 1, "a")
	l.WriteRest()
}
