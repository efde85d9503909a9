// Package capture reads and writes recordings of connections: the bytes of
// both directions, in the order in which they were seen.
//
// A capture is eight bytes of [Magic], then records until the end of the
// file:
//
//	1 byte  direction: '>' client to arbiter, '<' arbiter to client
//	uint32  number of the connection, from 1, big-endian
//	uint32  n, 1 to 1 MiB, big-endian
//	n bytes as they were on the wire
//
// The borders of records mean nothing: a frame may span records, and a
// record may hold several frames. The package knows nothing of frames, so a
// capture can hold broken ones too.
package capture

import "fmt"

const (
	// Magic is how a capture begins. It differs from a frame in its third
	// byte, so that a reader can tell one from the other. The two bytes
	// before the newline are the version of the format.
	Magic = "GDCAP\x00\x01\n"

	// MaxRecord is the largest number of bytes in one record. A Writer
	// splits what is longer.
	MaxRecord = 1 << 20

	// headerSize is what stands before the bytes of a record.
	headerSize = 1 + 4 + 4
)

// Direction tells who sent the bytes of a record.
type Direction byte

// The two directions.
const (
	ToArbiter   Direction = '>'
	FromArbiter Direction = '<'
)

func (d Direction) valid() bool { return d == ToArbiter || d == FromArbiter }

// String returns ">" or "<".
func (d Direction) String() string {
	if !d.valid() {
		return fmt.Sprintf("Direction(0x%02x)", byte(d))
	}
	return string(rune(d))
}

// Record is a piece of one direction of one connection.
type Record struct {
	Direction Direction
	Conn      uint32 // from 1
	Data      []byte // 1 byte to MaxRecord

	// Offset is where Data begins in the capture, in bytes. A Writer ignores
	// it.
	Offset int64
}

// FormatError is a capture that breaks the format. It matches
// [io.ErrUnexpectedEOF] when the capture is cut short.
type FormatError struct {
	Offset int64 // of the field at fault, in bytes from the start
	Reason string
	Err    error // io.ErrUnexpectedEOF or nil
}

var _ error = (*FormatError)(nil)

// Error returns a line for people.
func (e *FormatError) Error() string {
	return fmt.Sprintf("capture: offset %d: %s", e.Offset, e.Reason)
}

// Unwrap returns io.ErrUnexpectedEOF for a capture that is cut short.
func (e *FormatError) Unwrap() error { return e.Err }
