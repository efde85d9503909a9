package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// The pause between two questions of WaitReady doubles each time, from the first
// to the longest. A random part of it is waited.
const (
	firstPoll   = 10 * time.Millisecond
	longestPoll = 500 * time.Millisecond

	// manyCrashes is the least number of workers that the arbiter must have
	// replaced meanwhile for the error to say that they crash at boot.
	manyCrashes = 10
)

// WaitReady waits until the arbiter is there and each app has a worker that has
// booted; without apps, until any worker has. It asks for the status again and
// again. Without a deadline of the context it waits as long as a call may take.
//
// When that time is up the error matches [ErrUnavailable] and says what is
// missing. An error that does not go away by waiting, such as [ErrClosed], is
// returned at once.
func (c *Client) WaitReady(ctx context.Context, apps ...string) error {
	if err := checkContext(ctx); err != nil {
		return &OpError{Operation: readiness, Stage: StagePrepare, Err: err}
	}
	if d := findDeadline(ctx, c.cfg.Timeout); !d.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d, &timeoutError{callTimeout, c.cfg.Timeout})
		defer cancel()
	}
	if len(apps) == 0 {
		apps = []string{""}
	}
	var last error
	first := -1 // the age of the newest worker in the first answer
	for pause := firstPoll; ; pause = min(2*pause, longestPoll) {
		status, err := c.Status(ctx)
		if err == nil {
			err = status.lacks(apps, &first)
			if err == nil {
				return nil
			}
		}
		for _, lasting := range lastingErrors {
			if errors.Is(err, lasting) {
				return err
			}
		}
		if last == nil || ctx.Err() == nil { // else err only says that the time is up
			last = err
		}
		if !sleep(ctx, rand.N(pause)+1) {
			return &OpError{
				Operation: readiness,
				Stage:     StageWait,
				Err:       fmt.Errorf("%w: %w; last answer: %w", ErrUnavailable, contextError(ctx), last),
			}
		}
	}
}

// readiness is what errors of WaitReady call it.
var readiness = Operation{Name: "wait until ready", reads: true}

// lacks returns an error that says which app has no worker that has booted, or
// nil. An arbiter replaces workers that crash while they boot, again and again,
// and tells no client; so their number is part of the error.
func (s *Status) lacks(apps []string, first *int) error {
	newest := 0
	for _, w := range s.Workers {
		newest = max(newest, w.Age)
	}
	if *first < 0 {
		*first = newest
	}
	for _, app := range apps {
		if s.Serving(app) > 0 {
			continue
		}
		text := "no worker has booted"
		if app != "" {
			text = fmt.Sprintf("no worker of %q has booted", app)
		}
		if died := newest - *first; died >= manyCrashes {
			text += fmt.Sprintf("; %d workers were started meanwhile: they crash at boot, see gunicorn's log", died)
		}
		return errors.New(text)
	}
	return nil
}
