package dirty

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// sentinel is an error that callers compare with. Errors that wrap it use its
// text without the prefix, so that no message has the prefix twice.
type sentinel string

func (s sentinel) Error() string { return "dirty: " + string(s) }

// What can be wrong with bytes or values, for [errors.Is]. The functions of this
// package return one of them wrapped in a [*ProtocolError], [*MarshalError] or
// [*UnmarshalTypeError], which says where the fault is. A frame that is cut short
// is an [io.ErrUnexpectedEOF]. A malformed payload never is, nor an [io.EOF].
const (
	ErrBadMagic        = sentinel("bad magic")            // the header does not begin with "GD"
	ErrBadVersion      = sentinel("unsupported version")  // a protocol version other than 1
	ErrUnknownType     = sentinel("unknown message type") // a type byte or a type name that is not in use
	ErrTooLarge        = sentinel("too large")            // a length, a count or a decoded size over its limit
	ErrTooDeep         = sentinel("nested too deep")      // lists and dicts over Limits.MaxDepth
	ErrMalformed       = sentinel("malformed")            // a value cut short, an unknown type code, a dict key or a payload field of a wrong type
	ErrTrailingData    = sentinel("trailing data")        // bytes after the value, the header or the frame
	ErrInvalidUTF8     = sentinel("invalid UTF-8")        // a string that is not UTF-8, encoded or decoded
	ErrUnsupportedType = sentinel("unsupported type")     // a Go value that has no encoding
	ErrOverflow        = sentinel("overflow")             // a number or a list that its destination cannot hold
	ErrTypeMismatch    = sentinel("type mismatch")        // a value of another type than its Go destination
	ErrUnknownField    = sentinel("unknown field")        // a key without a struct field, see DecodeOptions.DisallowUnknownFields
)

// ProtocolError is a fault of bytes that were read, or of a frame that was to
// be written. It says which rule was broken, where, what was found and what is
// allowed. It never holds payload bytes or values.
//
// There are two kinds of faults. After a framing fault (Fatal) nobody knows
// where the next frame begins, so the connection can only be closed. With a
// payload fault the frame was consumed whole and its Header is known, so the
// connection can still be used.
type ProtocolError struct {
	// Err is the sentinel: ErrBadMagic, ErrBadVersion, ErrUnknownType,
	// ErrTooLarge, ErrTooDeep, ErrMalformed, ErrTrailingData, ErrInvalidUTF8,
	// or io.ErrUnexpectedEOF for a header or a frame that is cut short.
	Err error

	// Rule names what was checked, such as "magic" or "list count".
	Rule string

	// Offset is where the fault is, in bytes. It counts from the start of the
	// value that was given (Unmarshal, Validate, Decoder) or from the start of
	// the frame's header (ParseHeader, DecodeMessage, Reader).
	Offset int64

	// Path leads to the fault inside the payload, such as "kwargs.image[3]".
	// It is empty if the outermost value is at fault, and for framing faults.
	Path string

	// Limit is what is allowed and Found what was found, in the unit of the
	// rule. Both are 0 for rules without numbers, such as UTF-8.
	Limit, Found int64

	// Header is that of the frame whose payload or length is at fault. It is
	// zero if it is not known.
	Header Header

	// Fatal is set for a framing fault.
	Fatal bool

	hint string // more for people, at the end of the line
}

var _ error = (*ProtocolError)(nil)

// Error returns a line for people. Programs should not parse it.
func (e *ProtocolError) Error() string {
	var b strings.Builder
	b.WriteString("dirty: " + unprefixed(e.Err) + ": " + e.Rule + " at offset " + strconv.FormatInt(e.Offset, 10))
	if e.Path != "" {
		b.WriteString(" (" + e.Path + ")")
	}
	switch e.Rule {
	case ruleMagic, ruleType, ruleKind:
		fmt.Fprintf(&b, ": found 0x%02x", e.Found)
		if e.Limit != 0 {
			fmt.Fprintf(&b, ", want 0x%02x", e.Limit)
		}
	default:
		if e.Limit != 0 || e.Found != 0 {
			fmt.Fprintf(&b, ": found %d, want %d", e.Found, e.Limit)
		}
	}
	if e.hint != "" {
		b.WriteString("; " + e.hint)
	}
	return b.String()
}

// Unwrap returns the sentinel.
func (e *ProtocolError) Unwrap() error { return e.Err }

// framingError returns an error after which the connection cannot be used.
func framingError(err error, rule string, offset, limit, found int64) *ProtocolError {
	return &ProtocolError{Err: err, Rule: rule, Offset: offset, Limit: limit, Found: found, Fatal: true}
}

// MarshalError is a Go value that cannot be encoded. It names the place and
// the type, never the value.
type MarshalError struct {
	Path   string       // leads to the value, such as "args[0].Image"; empty for the outermost value
	Type   reflect.Type // of the value; nil if it does not matter or is not known
	Reason string       // which rule was broken, with the limit and what was found; may be empty
	Err    error        // ErrUnsupportedType, ErrOverflow, ErrTooDeep, ErrTooLarge, ErrInvalidUTF8, or what a method of the value returned

	// While the error is on its way up, these grow; locate turns them into
	// Path. The innermost come first.
	steps   []step
	visited []visit // the containers around the value, to find a cycle
}

// Error returns a line for people. Programs should not parse it.
func (e *MarshalError) Error() string {
	var b strings.Builder
	b.WriteString("dirty: " + unprefixed(e.Err))
	if e.Type != nil {
		b.WriteString(": Go value of type " + e.Type.String())
	}
	if e.Path != "" {
		b.WriteString(" at " + e.Path)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *MarshalError) Unwrap() error { return e.Err }

// UnmarshalTypeError is a well-formed value that does not fit the Go
// destination. What was decoded before it stays in the destination.
type UnmarshalTypeError struct {
	Path   string       // leads to the value, such as "result.scores[3]"; empty for the outermost value
	Offset int64        // of the value, in bytes from the start of the data or, in UnmarshalPayload, of the frame
	Kind   Kind         // of the value
	Type   reflect.Type // of the destination; nil if there is none
	Reason string       // what Kind and Type do not say; may be empty
	Err    error        // ErrTypeMismatch, ErrOverflow, ErrUnknownField, ErrUnsupportedType, or what a method of the destination returned
}

// Error returns a line for people. Programs should not parse it.
func (e *UnmarshalTypeError) Error() string {
	s := fmt.Sprintf("dirty: %s: cannot decode %s at offset %d", unprefixed(e.Err), e.Kind, e.Offset)
	if e.Path != "" {
		s += " (" + e.Path + ")"
	}
	if e.Type != nil {
		s += " into Go value of type " + e.Type.String()
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Unwrap returns Err.
func (e *UnmarshalTypeError) Unwrap() error { return e.Err }

// NothingWritten reports whether err means that a [Writer] or a [Conn] refused a
// message before it wrote a byte: the message has no encoding or is over a
// limit. The connection can still be used.
func NothingWritten(err error) bool {
	var marshal *MarshalError
	return errors.As(err, &marshal)
}

// unprefixed returns the text of err without the prefix, for a line that has the
// prefix already.
func unprefixed(err error) string {
	if err == nil { // only in an error that does not come from this package
		return "unknown error"
	}
	return strings.TrimPrefix(err.Error(), "dirty: ")
}

// The rules, for ProtocolError.Rule: what was checked.
const (
	ruleMagic         = "magic"
	ruleVersion       = "version"
	ruleType          = "type"
	ruleHeaderLength  = "header length"
	rulePayloadLength = "payload length"
	ruleFrameLength   = "frame length"

	ruleKind     = "type code"
	ruleKeyKind  = "type code of a dict key"
	ruleValue    = "bytes left for a value"
	ruleBool     = "bytes left for a bool"
	ruleNumber   = "bytes left for a number"
	rulePrefix   = "bytes left for a length"
	ruleUTF8     = "UTF-8"
	ruleDepth    = "nesting depth"
	ruleMemory   = "decoded size (Limits.MaxMemory)"
	ruleTrailing = "bytes after the value"
	ruleField    = "type of a payload field"
)

// The rules about the length or the count of a value of a kind.
func ruleLength(k Kind) string     { return k.String() + " length" }
func ruleCount(k Kind) string      { return k.String() + " count" }
func ruleLengthLeft(k Kind) string { return "bytes left for " + k.String() + " of this length" }
func ruleCountLeft(k Kind) string  { return "bytes left for a " + k.String() + " of this count" }

// tooLarge returns the error for a Go value that is over a limit.
func tooLarge(typ reflect.Type, what, unit string, n, limit int) *MarshalError {
	return &MarshalError{Err: ErrTooLarge, Type: typ,
		Reason: what + " of " + strconv.Itoa(n) + " " + unit + ", allowed " + strconv.Itoa(limit)}
}

// step is one step of a path into a value: a key of a dict or an index of a
// list.
type step struct {
	key   string
	index int
	isKey bool
}

// visit identifies a container that an error has passed on its way up.
type visit struct {
	at  uintptr // its address
	len int     // of a slice: slices of different lengths may share an address
}

// inList notes that the value at fault is at index i.
func (e *MarshalError) inList(i int) *MarshalError {
	e.steps = append(e.steps, step{index: i})
	return e
}

// inDict notes that the value at fault is under the key.
func (e *MarshalError) inDict(key string) *MarshalError {
	e.steps = append(e.steps, step{key: key, isKey: true})
	return e
}

// visit notes the map, slice or pointer that holds the value at fault. That is
// needed only to tell a value that contains itself from one that is merely too
// deep.
func (e *MarshalError) visit(v reflect.Value) *MarshalError {
	if e.Err == ErrTooDeep {
		at := visit{at: v.Pointer()}
		if v.Kind() == reflect.Slice {
			at.len = v.Len()
		}
		e.visited = append(e.visited, at)
	}
	return e
}

// shortFrame returns the error for a frame that ends after got bytes of its
// payload.
func shortFrame(h Header, got int) *ProtocolError {
	err := framingError(io.ErrUnexpectedEOF, rulePayloadLength, HeaderSize, int64(h.Length), int64(got))
	err.Header = h
	return err
}

// inFrame turns an error of a payload into one of its frame: offsets count from
// the header, and the error names the header.
func inFrame(err error, h Header) error {
	switch e := err.(type) {
	case *ProtocolError:
		e.Offset += HeaderSize
		e.Header = h
	case *UnmarshalTypeError:
		return &ProtocolError{Err: ErrMalformed, Rule: ruleField, Path: e.Path,
			Offset: HeaderSize + e.Offset, Header: h, hint: "found " + e.Kind.String() + ", want " + e.Reason}
	}
	return err
}
