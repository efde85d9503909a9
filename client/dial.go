package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"syscall"
	"time"
)

// The pause between two attempts of a dial doubles each time, from the first to
// the longest. A random part of it is waited, so that many clients do not come
// back at one time.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of the socket has %d bytes, at most %d are possible: %q", len(path), maxPath, path)
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// connect resolves the address and dials it. It tries again while the arbiter's
// backlog is full, and with WithWaitForServer while the arbiter is not there;
// note is called with the reason before each of these attempts.
func (cfg *config) connect(ctx context.Context, note func(error)) (*conn, error) {
	begin := time.Now()
	result := DialResult{}
	c, err := cfg.connectInTime(ctx, begin, &result, note)
	if c != nil {
		result.PeerPID = c.peer.pid
	}
	if err != nil {
		err = cfg.dialError(ctx, err)
	}
	result.Duration, result.Err = time.Since(begin), err
	if failure := cfg.tracers.dialed(ctx, result); failure != nil && err == nil {
		c.close()
		return nil, failure
	}
	return c, err
}

// connectInTime makes attempts until one succeeds or the time is up.
func (cfg *config) connectInTime(ctx context.Context, begin time.Time, result *DialResult, note func(error)) (*conn, error) {
	deadline := begin.Add(cfg.DialTimeout)
	pause := firstPause
	var before error // why the attempt before this failed
	for {
		started := time.Now()
		c, path, err := cfg.connectOnce(ctx, deadline)
		result.Path = path
		if before != nil && errors.Is(err, ErrTimeout) && time.Since(started) < longestPause {
			err = before // this one had no time of its own
		}
		full, absent := errors.Is(err, syscall.EAGAIN), err != nil && isAbsent(err)
		wait := rand.N(pause) + 1
		again := false
		switch {
		case full:
			left := time.Until(deadline)
			again = sleep(ctx, min(wait, left)) && wait < left
			before = err
			err = fmt.Errorf("the listen backlog is full: %w", err)
		case absent:
			left := time.Until(begin.Add(cfg.WaitForServer))
			again = left > 0 && sleep(ctx, min(wait, left)) // the last time at its end
		}
		if !again {
			return c, err
		}
		note(err)
		result.Retries++
		pause = min(2*pause, longestPause)
		if absent {
			deadline = time.Now().Add(cfg.DialTimeout)
		}
	}
}

// dialError says what the failure of a dial means for a call.
func (cfg *config) dialError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ErrClosed
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNoSocket):
		return err
	case errors.Is(err, syscall.EAGAIN), isAbsent(err):
		return because(ErrUnavailable, err)
	}
	return err
}

// connectOnce makes one attempt.
func (cfg *config) connectOnce(ctx context.Context, deadline time.Time) (*conn, string, error) {
	expired := &timeoutError{"the dial timeout", cfg.DialTimeout}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, expired)
	defer cancel()
	resolving, expected := withExpectation(ctx)
	path, err := cfg.findPath(resolving)
	var nc net.Conn
	var file fileID
	if err == nil {
		if cfg.PeerCheck {
			file = findFile(path) // before the dial, so that it is not that of a later arbiter
		}
		nc, err = cfg.dialPath(ctx, path)
	}
	if err != nil {
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, ErrHookFailed):
		case ctx.Err() != nil:
			err = contextError(ctx)
		case errors.Is(err, context.DeadlineExceeded), isTimeout(err): // the context will say so in a moment
			err = expired
		}
		return nil, path, err
	}
	var c *conn
	if err := cfg.hooks.guard(hookConn, func() error { c = newConn(nc, path, cfg); return nil }); err != nil {
		_ = cfg.hooks.guard(hookConn, nc.Close)
		return nil, path, err
	}
	if err := expected.check(c); err != nil {
		c.close()
		return nil, path, err
	}
	c.peer.file = file
	if c.peer.dead() {
		if !c.peer.wasTakenOver() {
			c.close()
			return nil, path, fmt.Errorf("%w: stale socket %s: its arbiter, process %d, is dead", ErrUnavailable, path, c.peer.pid)
		}
		c.peer.pid = 0 // it is not the process that serves
	}
	return c, path, nil
}

// findPath calls the Resolver.
func (cfg *config) findPath(ctx context.Context) (path string, err error) {
	err = cfg.hooks.guard(hookResolver, func() error {
		var err error
		path, err = cfg.resolve(ctx)
		return err
	})
	return path, err
}

// dialPath calls the Dialer.
func (cfg *config) dialPath(ctx context.Context, path string) (nc net.Conn, err error) {
	err = cfg.hooks.guard(hookDialer, func() error {
		var err error
		nc, err = cfg.dial(ctx, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if v := reflect.ValueOf(nc); nc == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		cfg.hooks.failures.Add(1)
		return nil, &hookError{hookDialer + " returned no connection and no error"}
	}
	return nc, nil
}

// isAbsent reports whether nobody listens at the address, for now.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrUnavailable)
}

// sleep waits, and reports whether the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
