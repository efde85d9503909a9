package server

import (
	"context"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/usercode"
)

// This file exists for speed alone: it gathers small chunks of a stream into one
// write, as long as they come faster than they can be written one by one.

const (
	// gatherPause bounds the time between two chunks that are gathered. After a
	// longer pause a chunk is written at once, by its own goroutine.
	gatherPause = 50 * time.Microsecond

	// maxGathered is how many bytes wait at most. Then Chunk waits as well.
	maxGathered = 64 << 10

	// maxGatheredValue is the largest text or bytes that is gathered, in bytes.
	// Larger ones are better written without a copy.
	maxGatheredValue = 8 << 10
)

// gatherer writes the chunks of one stream. A chunk is never held back: it is
// written at once, or behind those that are being written. One goroutine at a time
// calls write and drain.
type gatherer struct {
	conn   *conn
	out    *output // of conn
	limits dirty.Limits
	cancel context.CancelCauseFunc // ends the handler's context
	last   time.Time               // when the last chunk was written or appended
	buffer []byte                  // the chunk that is being encoded

	mu      sync.Mutex
	changed sync.Cond // of mu: bytes were written
	writing bool      // flush runs
	waiting []byte    // encoded chunks, of at most maxGathered bytes and one chunk more
	spare   []byte    // memory for the next ones
	err     error     // of the connection
}

func newGatherer(c *conn, cancel context.CancelCauseFunc) *gatherer {
	g := &gatherer{conn: c, out: &c.out, limits: c.cfg.limits, cancel: cancel}
	g.changed.L = &g.mu
	return g
}

// write writes a chunk, now or soon. An error of the connection may be that of an
// earlier chunk.
func (g *gatherer) write(m *dirty.Chunk) error {
	now := time.Now()
	pause := now.Sub(g.last)
	if pause > gatherPause || isLarge(m.Data) {
		if g.isIdle() || isLarge(m.Data) {
			if err := g.drain(); err != nil {
				return err
			}
			err := g.out.write(m)
			g.last = time.Now()
			return err
		}
	}
	g.last = now
	// No lock is held here: the value may encode itself.
	b, err := dirty.EncodeOptions{Limits: g.limits}.AppendMessage(g.buffer[:0], m)
	if err != nil {
		return err
	}
	g.buffer = b
	if cap(b) > maxGathered {
		g.buffer = nil // large memory is not kept
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) >= maxGathered && g.err == nil {
		g.changed.Wait()
	}
	if g.err != nil {
		return g.err
	}
	g.waiting = append(g.waiting, b...)
	if !g.writing {
		g.writing = true
		go g.flush()
	}
	return nil
}

// isLarge reports whether a value is better not copied.
func isLarge(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) > maxGatheredValue
	case []byte:
		return len(v) > maxGatheredValue
	case dirty.RawValue:
		return len(v) > maxGatheredValue
	}
	return false
}

func (g *gatherer) isIdle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.writing
}

// flush writes what waits, until nothing does.
func (g *gatherer) flush() {
	for {
		b := g.take()
		if b == nil {
			return
		}
		g.writeOut(b)
	}
}

// take takes what waits to be written. It is nil if flush is over.
func (g *gatherer) take() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 || g.err != nil {
		g.writing = false
		g.changed.Broadcast()
		return nil
	}
	b := g.waiting
	g.waiting, g.spare = g.spare[:0], nil
	return b
}

// writeOut writes bytes to a connection whose methods may end this goroutine. A
// failure ends the handler's context, for the handler may write no more.
func (g *gatherer) writeOut(b []byte) {
	err := error(errPanic)
	defer func() {
		if err == errPanic {
			g.out.err = err
		}
		if err != nil {
			g.cancel(g.conn.cause(err))
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.spare, g.err = b[:0], err
		g.writing = g.writing && err == nil
		g.changed.Broadcast()
	}()
	if e := g.conn.server.journal.Try(whereConnection, func() error { return g.out.writeBytes(b) }); !usercode.IsFailure(e) {
		err = e
	}
}

// drain waits until everything is written.
func (g *gatherer) drain() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.writing {
		g.changed.Wait()
	}
	return g.err
}
