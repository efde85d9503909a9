package main

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/gunicorn-go/dirty"
)

// keepBuffer is the largest buffer of a payload, in bytes, that is kept for the
// next frame.
const keepBuffer = 1 << 20

// unknownDirection stands for the direction of a frame that no record and no
// type tells.
const unknownDirection = '?'

// frame is what decode prints: a whole frame, or what there is of one.
type frame struct {
	conn      uint32 // 0 in plain frames, which have no connections
	dir       byte   // '>', '<' or unknownDirection
	offset    int64  // of the header in the input
	head      []byte // the header's bytes, as many as there are
	header    dirty.Header
	hasHeader bool   // the header could be read
	payload   []byte // as much as there is; valid until the stream is fed again

	err    error // what is broken, or nil
	errPos int   // where, in bytes from the start of the frame
	stream *stream
}

// inputOffset returns where in the input the byte pos of the frame is. The
// bytes of a frame can lie apart in a capture.
func (f *frame) inputOffset(pos int) int64 {
	marks := f.stream.marks
	if len(marks) == 0 {
		return f.offset + int64(pos)
	}
	// The last piece that begins at pos or before. Of a frame that is cut
	// short, pos is just behind the last piece: there the rest is missing.
	i := sort.Search(len(marks), func(i int) bool { return marks[i].pos > pos })
	m := marks[max(i-1, 0)]
	return m.input + int64(pos-m.pos)
}

// message returns the text of the frame's error. It has the offset in the
// input, not the one in the frame: two numbers would be one too many.
func (f *frame) message() string {
	var pe *dirty.ProtocolError
	if !errors.As(f.err, &pe) {
		return f.err.Error()
	}
	moved := *pe
	moved.Offset = f.inputOffset(f.errPos)
	return moved.Error()
}

// stream joins the bytes of one direction of one connection into frames. It
// holds at most one frame, in a buffer that grows as bytes arrive. The zero
// value is ready for plain frames.
type stream struct {
	conn uint32
	dir  byte // 0: the type of each frame tells it

	head      []byte
	header    dirty.Header
	hasHeader bool
	payload   []byte
	marks     []mark
	skip      int  // bytes to come of a frame that was given up
	dead      bool // after a broken header nobody knows where the next frame begins
}

// mark says that from its byte pos on, the frame lies at input.
type mark struct {
	pos   int
	input int64
}

// markSize is the memory that a mark takes, in bytes.
const markSize = 16

// idle says whether the stream is between two frames.
func (s *stream) idle() bool { return !s.dead && len(s.head) == 0 }

// feed takes bytes that lie at the offset at of the input. It calls emit for
// each frame that becomes whole or turns out to be broken. The error is emit's.
func (s *stream) feed(data []byte, at int64, emit func(*frame) error) error {
	for len(data) > 0 && !s.dead {
		n := s.take(data, at)
		data, at = data[n:], at+int64(n)
		if err := s.advance(emit); err != nil {
			return err
		}
	}
	return nil
}

// take keeps the bytes that belong to the current part of the current frame,
// and returns how many they are.
func (s *stream) take(data []byte, at int64) int {
	if s.skip > 0 {
		n := min(len(data), s.skip)
		s.skip -= n
		if s.skip == 0 {
			s.reset()
		}
		return n
	}
	pos := len(s.head) + len(s.payload)
	if n := len(s.marks); n == 0 || s.marks[n-1].input+int64(pos-s.marks[n-1].pos) != at {
		s.marks = append(s.marks, mark{pos, at})
	}
	if !s.hasHeader {
		n := min(len(data), dirty.HeaderSize-len(s.head))
		s.head = append(s.head, data[:n]...)
		return n
	}
	n := min(len(data), int(s.header.Length)-len(s.payload))
	s.payload = append(s.payload, data[:n]...)
	return n
}

// advance reads a header that has become whole, and emits a frame that has.
func (s *stream) advance(emit func(*frame) error) error {
	if !s.hasHeader {
		if len(s.head) < dirty.HeaderSize {
			return nil
		}
		h, err := dirty.ParseHeader(s.head)
		if err != nil {
			s.dead = true
			f := s.frame()
			f.err, f.errPos = err, faultOffset(err)
			// A header with a length that is too large can be read.
			f.header, f.hasHeader = h, errors.Is(err, dirty.ErrTooLarge)
			return s.done(f, emit)
		}
		s.header, s.hasHeader = h, true
	}
	if s.skip > 0 || len(s.payload) < int(s.header.Length) {
		return nil
	}
	return s.done(s.frame(), emit)
}

// finish emits what there is of a frame that the end of the input has cut
// short. The stream takes nothing more.
func (s *stream) finish(emit func(*frame) error) error {
	if s.dead || len(s.head) == 0 || s.skip > 0 {
		return nil
	}
	s.dead = true
	f := s.frame()
	f.errPos = len(s.head) + len(s.payload)
	what, got, want := "header", len(s.head), dirty.HeaderSize
	if s.hasHeader {
		what, got, want = "payload", len(s.payload), int(s.header.Length)
	}
	f.err = fmt.Errorf("%w: %s cut short: %d of %d bytes", io.ErrUnexpectedEOF, what, got, want)
	return s.done(f, emit)
}

// giveUp emits what there is of a frame whose payload is not whole yet, frees
// its memory, and lets the stream skip the rest.
func (s *stream) giveUp(emit func(*frame) error) error {
	f := s.frame()
	f.errPos = len(s.head) + len(s.payload)
	f.err = fmt.Errorf("given up after %d of %d bytes of the payload: no memory is left for unfinished frames", len(s.payload), s.header.Length)
	rest := int(s.header.Length) - len(s.payload)
	err := emit(f)
	s.payload, s.marks, s.skip = nil, nil, rest
	return err
}

func (s *stream) frame() *frame {
	return &frame{
		conn: s.conn, dir: s.dir, offset: s.marks[0].input,
		head: s.head, header: s.header, hasHeader: s.hasHeader, payload: s.payload,
		stream: s,
	}
}

// done emits f and makes the stream ready for the next frame.
func (s *stream) done(f *frame, emit func(*frame) error) error {
	if f.dir == 0 {
		f.dir = unknownDirection
		if f.hasHeader {
			f.dir = direction(f.header.Type)
		}
	}
	err := emit(f)
	s.reset()
	return err
}

// reset makes the stream forget its frame. It keeps small buffers.
func (s *stream) reset() {
	s.head, s.hasHeader = s.head[:0], false
	s.payload, s.marks = s.payload[:0], s.marks[:0]
	if cap(s.payload) > keepBuffer || s.dead {
		s.payload = nil
	}
	if cap(s.marks) > keepBuffer/markSize || s.dead {
		s.marks = nil
	}
}

// direction returns who sends messages of a type.
func direction(t dirty.MessageType) byte {
	switch t {
	case dirty.TypeRequest, dirty.TypeStash, dirty.TypeStatus, dirty.TypeManage:
		return '>'
	case dirty.TypeResponse, dirty.TypeError, dirty.TypeChunk, dirty.TypeEnd:
		return '<'
	}
	return unknownDirection
}

// faultOffset returns where a fault is, in bytes from the start of what was
// parsed.
func faultOffset(err error) int {
	var pe *dirty.ProtocolError
	if errors.As(err, &pe) {
		return int(pe.Offset)
	}
	return 0
}
