package main

import (
	"sort"

	"github.com/gunicorn-go/dirty/capture"
)

const (
	// defaultMemory bounds what streams hold, in MiB.
	defaultMemory = 256

	// maxMemoryFlag is the largest bound that can be asked for, in MiB. It
	// fits into an int of 32 bits.
	maxMemoryFlag = 2047

	// streamSize is the memory of a stream besides its payload and marks, and
	// deadSize that of one that is dead, in bytes. Both are rounded up.
	streamSize = 256
	deadSize   = 64
)

// streamKey names one direction of one connection.
type streamKey struct {
	conn uint32
	dir  capture.Direction
}

// streams are the streams of a capture that are within a frame or dead. The
// others are not kept: an endless capture can have endless connections.
//
// What they hold is bounded. Beyond the bound, the frames of those streams are
// given up that have been silent for longest. Streams remain then that wait for
// the rest of a header, that skip a frame that was given up, or that are dead.
// They are small, but if they are too many the capture is refused.
type streams struct {
	max  int // bytes
	held int // bytes, as size tells them
	all  map[streamKey]*keptStream
	free *keptStream // an idle one, to be used again
	emit func(*frame) error
}

// keptStream is a stream of a capture. In place of a dead one nil is kept.
type keptStream struct {
	stream
	fed int64 // where its last bytes lie in the input
}

// size returns the memory of a stream in bytes, about.
func (s *keptStream) size() int {
	if s == nil {
		return deadSize
	}
	return streamSize + cap(s.payload) + cap(s.marks)*markSize
}

// shrink frees the large buffers of a stream without payload. It may stay so: then
// it must be small, because there is no frame to give up.
func (s *keptStream) shrink() {
	if len(s.payload) == 0 && s.size() > 2*streamSize {
		s.payload, s.marks = nil, append([]mark(nil), s.marks...)
	}
}

func newStreams(maxBytes int, emit func(*frame) error) *streams {
	return &streams{max: maxBytes, all: map[streamKey]*keptStream{}, emit: emit}
}

// feed gives a record to its stream.
func (t *streams) feed(rec capture.Record) error {
	key := streamKey{rec.Conn, rec.Direction}
	s, known := t.all[key]
	if known {
		if s == nil {
			return nil // dead
		}
		t.held -= s.size()
	} else {
		s = t.newStream(key)
	}
	if err := s.feed(rec.Data, rec.Offset, t.emit); err != nil {
		return err
	}
	s.shrink()
	switch {
	case s.idle():
		delete(t.all, key)
		t.free = s
		return nil
	case s.dead:
		s = nil
	default:
		s.fed = rec.Offset
	}
	t.all[key] = s
	t.held += s.size()
	if t.held > t.max {
		return t.makeRoom(rec.Offset)
	}
	return nil
}

func (t *streams) newStream(key streamKey) *keptStream {
	s := t.free
	t.free = nil
	if s == nil {
		s = &keptStream{}
	}
	s.conn, s.dir = key.conn, byte(key.dir)
	return s
}

// makeRoom gives up frames until half of the memory is free: so the work is
// rare. at is where the input has been read up to.
func (t *streams) makeRoom(at int64) error {
	within := t.choose(func(s *keptStream) bool { return s.hasHeader && s.skip == 0 && s.size() > 2*streamSize })
	sort.Slice(within, func(i, j int) bool { return within[i].fed < within[j].fed })
	for _, s := range within {
		if t.held <= t.max/2 {
			return nil
		}
		t.held -= s.size()
		if err := s.giveUp(t.emit); err != nil {
			return err
		}
		t.held += s.size()
	}
	if t.held > t.max/2 {
		return faultf("decode: offset %d: %d connections are within a frame or broken, too many for %d MiB of memory (--memory)", at, len(t.all), t.max>>20)
	}
	return nil
}

// finish emits the frames that the end has cut short, in the order of their
// beginnings.
func (t *streams) finish() error {
	cut := t.choose(func(s *keptStream) bool { return s.skip == 0 })
	sort.Slice(cut, func(i, j int) bool { return cut[i].marks[0].input < cut[j].marks[0].input })
	for _, s := range cut {
		if err := s.finish(t.emit); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the streams that are not dead and for which want is true.
func (t *streams) choose(want func(*keptStream) bool) []*keptStream {
	var some []*keptStream
	for _, s := range t.all {
		if s != nil && want(s) {
			some = append(some, s)
		}
	}
	return some
}
