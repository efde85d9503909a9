package server

import (
	"sync"
	"time"

	"github.com/gunicorn-go/dirty"
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
	out    *output
	limits dirty.Limits
	last   time.Time // when the last chunk was written or appended

	mu      sync.Mutex
	changed sync.Cond // of mu: bytes were written
	writing bool      // flush runs
	waiting []byte    // encoded chunks, of at most maxGathered bytes and one chunk more
	spare   []byte    // memory for the next ones
	err     error     // of the connection
}

func newGatherer(out *output, limits dirty.Limits) *gatherer {
	g := &gatherer{out: out, limits: limits}
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
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) >= maxGathered && g.err == nil {
		g.changed.Wait()
	}
	if g.err != nil {
		return g.err
	}
	waiting, err := dirty.EncodeOptions{Limits: g.limits}.AppendMessage(g.waiting, m)
	if err != nil {
		return err
	}
	g.waiting = waiting
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
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) > 0 && g.err == nil {
		b := g.waiting
		g.waiting, g.spare = g.spare[:0], nil
		g.mu.Unlock()
		err := g.out.writeBytes(b)
		g.mu.Lock()
		g.spare, g.err = b[:0], err
		g.changed.Broadcast()
	}
	g.writing = false
	g.changed.Broadcast()
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
