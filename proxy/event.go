package proxy

import (
	"fmt"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
)

// Kind says what an [Event] tells of.
type Kind int

// The kinds of events.
const (
	Opened Kind = iota + 1 // a client has connected
	Frame                  // a frame has passed
	Bytes                  // bytes have passed that are no frames, or not a whole one; see Err
	Closed                 // a client's connection has ended; see Err
)

// String returns "opened", "frame", "bytes" or "closed".
func (k Kind) String() string {
	switch k {
	case Opened:
		return "opened"
	case Frame:
		return "frame"
	case Bytes:
		return "bytes"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Event is what a tap is told of. The receiver owns it.
type Event struct {
	Kind Kind
	Time time.Time // when its last byte came
	Conn uint32    // number of the client's connection, from 1

	// Missed is how many events before this one the tap was not told of, because
	// it was too slow.
	Missed uint64

	// Of a frame, and of bytes.
	Direction capture.Direction

	// Of a frame.
	Header dirty.Header

	// App and Action are what a request asks for, and what an answer belongs to.
	// For a stash operation App is empty and Action is "stash get" and so on; for
	// status and manage it is "status", "manage add" and "manage remove". They are
	// empty if the request tells it behind its first 4 KiB, or not at all.
	App, Action string

	// Answer tells of an answer: a frame from the arbiter whose id is that of the
	// oldest request on the connection that is not yet answered. It is nil for other
	// frames, also for one from the arbiter that answers no request.
	Answer *Answer

	// Payload is a copy of a frame's payload, or of bytes, if the proxy was asked
	// for payloads. Of a frame for which there was no room it is nil.
	Payload []byte

	// Err says why bytes are no frame, and why a connection has ended; nil is the
	// usual end.
	Err error
}

// Answer tells how a frame answers a request.
type Answer struct {
	Since time.Duration // from the last byte of the request to the last byte of this frame
	First bool          // it is the first frame of the answer
	Last  bool          // it is the last one
	Chunk int           // the number of the chunk, from 1; 0 if it is none
}

// String returns a line for people, such as
// "conn 3 > request 0000000000000007 app:App/act 52 bytes".
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "conn %d", e.Conn)
	switch e.Kind {
	case Opened, Closed:
		fmt.Fprintf(&b, " %s", e.Kind)
	case Frame:
		fmt.Fprintf(&b, " %s %s %016x", e.Direction, e.Header.Type, e.Header.RequestID)
		if e.App != "" {
			fmt.Fprintf(&b, " %q", e.App)
		}
		if e.Action != "" {
			fmt.Fprintf(&b, " %q", e.Action)
		}
		fmt.Fprintf(&b, " %d bytes", e.Header.Length)
		if e.Answer != nil {
			fmt.Fprintf(&b, " after %s", e.Answer.Since.Round(time.Microsecond))
		}
	case Bytes:
		fmt.Fprintf(&b, " %s %s", e.Direction, e.Kind)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %s", e.Err)
	}
	if e.Missed > 0 {
		fmt.Fprintf(&b, " (%d events before this one were missed)", e.Missed)
	}
	return b.String()
}
