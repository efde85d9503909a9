package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// The pause between two questions of WaitReady doubles from the first to the
// last, and is a random part of that.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 500 * time.Millisecond

	// crashes is how many workers an arbiter must have replaced for those that
	// do not boot to be called crashing.
	crashes = 10
)

// WaitReady waits until the arbiter is there and each app has a worker that has
// booted; without apps, until any worker has. It asks for the status again and
// again. Without a deadline of the context it waits as long as a call may take.
//
// At the end of that time the error matches [ErrUnavailable] and says what is
// missing. An error that waiting does not cure is returned at once.
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
	first := -1 // age of the newest worker at first sight
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
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
		if last == nil || ctx.Err() == nil { // otherwise it only says that time is up
			last = err
		}
		if !sleep(ctx, rand.N(pause)+1) {
			return &OpError{
				Operation: readiness,
				Stage:     StageWait,
				Err:       fmt.Errorf("%w: %w; at last: %w", ErrUnavailable, contextError(ctx), last),
			}
		}
	}
}

// readiness is what errors of WaitReady call it.
var readiness = Operation{Name: "wait until ready", reads: true}

// lacks says which app has no worker that has booted. An arbiter replaces
// workers that fail while booting without end, and tells nobody.
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
		if died := newest - *first; died >= crashes {
			text += fmt.Sprintf("; %d workers were started meanwhile: they crash at boot, see gunicorn's log", died)
		}
		return errors.New(text)
	}
	return nil
}
