// Package capture reads and writes recorded sessions of gunicorn's dirty-worker
// protocol: the bytes of both directions of one or more connections, in the
// order in which they were seen.
//
// A capture is eight bytes of [Magic], then records until the end of the file:
//
//	1 byte  direction: '>' client to arbiter, '<' arbiter to client
//	uint32  number of the connection, from 1, big-endian
//	uint32  n, 1 to 1 MiB, big-endian
//	n bytes as they were on the wire
//
// Where one record ends and the next begins has no meaning: a frame can span
// several records, and a record can hold several frames. The package does not
// look at frames, so a capture can hold broken ones too.
//
// "dirty decode" prints the frames of a capture. The folder testdata/sessions
// of this module holds captures of real gunicorn.
package capture

import "fmt"

const (
	// Magic is how a capture begins. A frame begins with the same two bytes;
	// the third one differs, so a reader can tell them apart. The two bytes
	// before the newline are the version of the format.
	Magic = "GDCAP\x00\x01\n"

	// MaxRecord is the largest number of bytes in one record. A [Writer]
	// splits longer data into several records.
	MaxRecord = 1 << 20

	// headerSize is the number of bytes before the data of a record.
	headerSize = 1 + 4 + 4
)

// Direction tells who sent the bytes of a record. The zero value is not a
// direction.
type Direction byte

// The two directions.
const (
	ToArbiter   Direction = '>' // from a client to the arbiter
	FromArbiter Direction = '<' // from the arbiter to a client
)

func (d Direction) valid() bool { return d == ToArbiter || d == FromArbiter }

// String returns ">" or "<", or for another value a text such as
// "Direction(0x3f)".
func (d Direction) String() string {
	if !d.valid() {
		return fmt.Sprintf("Direction(0x%02x)", byte(d))
	}
	return string(rune(d))
}

// Record is a piece of one direction of one connection.
type Record struct {
	Direction Direction
	Conn      uint32 // number of the connection, from 1
	Data      []byte // 1 to MaxRecord bytes

	// Offset is where Data begins, in bytes from the start of the capture.
	Offset int64
}

// FormatError tells that a capture breaks the format. It matches
// [io.ErrUnexpectedEOF] if the capture is cut short.
type FormatError struct {
	Offset int64  // where the fault is, in bytes from the start of the capture
	Reason string // what is wrong, without any bytes of a session
	Err    error  // io.ErrUnexpectedEOF or nil
}

var _ error = (*FormatError)(nil)

// Error returns one line for people.
func (e *FormatError) Error() string {
	return fmt.Sprintf("capture: offset %d: %s", e.Offset, e.Reason)
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }
