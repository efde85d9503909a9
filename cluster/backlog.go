package cluster

import (
	"io"
	"sync"
)

// This file is for large answers alone. An agent passes them on while they come. But it
// reads them as fast as the arbiter writes: gunicorn keeps a worker busy until then. What
// the front cannot take yet waits here.

// pieceSize is how many bytes of an answer are read at one time.
const pieceSize = 64 << 10

// pieces are memory for one piece each.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// backlog is the part of a payload that was read and not taken yet. Read takes it.
type backlog struct {
	mu      sync.Mutex
	changed sync.Cond // of mu: something has come
	waiting []piece   // in order
	err     error     // why nothing more comes
	left    bool      // nobody takes any more
}

// piece is some bytes in memory of pieces.
type piece struct {
	memory *[pieceSize]byte
	bytes  []byte
}

// passThrough calls take with a payload that reads as the given one of n bytes does, which
// it reads to its end meanwhile, also if take returns before that. It calls end when all
// of it was read, before take gets the last piece.
func passThrough(payload io.Reader, n int, end func(), take func(io.Reader) error) error {
	b := new(backlog)
	b.changed.L = &b.mu
	var reading sync.WaitGroup
	reading.Go(func() { b.fill(payload, n, end) })
	defer reading.Wait()
	defer b.leave()
	return take(b)
}

// fill reads n bytes.
func (b *backlog) fill(payload io.Reader, n int, end func()) {
	for n > 0 {
		p := piece{memory: pieces.Get().(*[pieceSize]byte)}
		m, err := io.ReadFull(payload, p.memory[:min(n, pieceSize)])
		p.bytes = p.memory[:m]
		n -= m
		if n == 0 {
			end()
		}
		b.put(p, err)
		if err != nil {
			return
		}
	}
	b.put(piece{}, io.EOF)
}

// put adds a piece, or the reason for which none comes any more.
func (b *backlog) put(p piece, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil || b.left:
		p.free()
	default:
		b.waiting = append(b.waiting, p)
	}
	b.err = err
	b.changed.Signal()
}

// Read takes what has come, for which it waits.
func (b *backlog) Read(to []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.waiting) == 0 && b.err == nil {
		b.changed.Wait()
	}
	if len(b.waiting) == 0 {
		return 0, b.err
	}
	p := &b.waiting[0]
	n = copy(to, p.bytes)
	p.bytes = p.bytes[n:]
	if len(p.bytes) == 0 {
		p.free()
		b.waiting = b.waiting[1:]
	}
	return n, nil
}

// leave drops all that waits and all that comes.
func (b *backlog) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	for _, p := range b.waiting {
		p.free()
	}
	b.waiting = nil
}

// free gives the memory back.
func (p *piece) free() {
	if p.memory != nil {
		pieces.Put(p.memory)
		p.memory = nil
	}
}
