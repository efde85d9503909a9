package client

import (
	"math/rand/v2"
	"time"
)

// Retry says how the client repeats calls that failed; see [WithRetry].
type Retry struct {
	// Attempts is how many attempts a call has at most, the first one included:
	// 3 by default, at most [MaxAttempts]. 1 turns the repetition off.
	Attempts int

	// Pause is the longest pause before the second attempt, and doubles for each
	// further one until it is MaxPause: 100 ms and 2 s by default. A random part
	// of it is waited, so that many clients do not come back at one time.
	Pause, MaxPause time.Duration
}

// The defaults of [Retry], and the most attempts that it can ask for.
const (
	DefaultAttempts = 3
	DefaultPause    = 100 * time.Millisecond
	DefaultMaxPause = 2 * time.Second
	MaxAttempts     = 100
)

// WithRetry makes the client repeat calls and streams whose failure is
// [SafeToRetry], with pauses. All attempts of a call, and the pauses, are within
// the bound of one call; a pause that would end after it is not begun. Fields
// that are 0 have their default.
//
// A stream is repeated only before its first chunk. The attempts are inside the
// interceptors. The peer tells a misspelt app and one whose workers are being
// replaced by the same error, [dirty.ErrNoWorkers]: so a misspelt app takes all
// attempts before it fails.
func WithRetry(r Retry) Option {
	if r.Attempts == 0 {
		r.Attempts = DefaultAttempts
	}
	if r.Pause == 0 {
		r.Pause = DefaultPause
	}
	if r.MaxPause == 0 {
		r.MaxPause = DefaultMaxPause
	}
	return func(c *config) { c.Retry = r }
}

// pauseBefore returns a random pause before an attempt, the second or a later
// one.
func (r *Retry) pauseBefore(attempt int) time.Duration {
	longest := min(r.Pause, r.MaxPause)
	for range attempt - 2 {
		if longest > r.MaxPause/2 {
			longest = r.MaxPause
			break
		}
		longest *= 2
	}
	return rand.N(longest)
}

// awaitRetry waits before an attempt, if one may be made after this error and
// within the bound of the call.
func (t *turn) awaitRetry(attempt int, err error) bool {
	r := &t.client.cfg.Retry
	if attempt > r.Attempts || !SafeToRetry(err) {
		return false
	}
	pause := r.pauseBefore(attempt)
	if !t.deadline.IsZero() && pause >= time.Until(t.deadline) {
		return false
	}
	if deadline, ok := t.ctx.Deadline(); ok && pause >= time.Until(deadline) {
		return false
	}
	ctx, leave := joinContext(t.ctx, t.client.pool.life)
	defer leave()
	return sleep(ctx, pause)
}
