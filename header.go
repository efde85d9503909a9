package dirty

import (
	"encoding/binary"
	"io"
)

// Header is the 16-byte header of a frame, without the magic and the version,
// which never change. All integers on the wire are big-endian.
//
//	 0      1      2       3      4             8                     16
//	+------+------+-------+------+-------------+----------------------+
//	| 'G'  | 'D'  | vers. | type | length      | request id           |
//	+------+------+-------+------+-------------+----------------------+
//
// A Header is a plain comparable value.
type Header struct {
	Type      MessageType
	Length    uint32 // of the payload in bytes, without the header; at most MaxPayloadSize
	RequestID uint64 // the client chooses it, and every answer has it
}

// ParseHeader reads a header from the first [HeaderSize] bytes of b. It checks
// what gunicorn checks, in gunicorn's order: the length of b, the magic, the
// version, the type, the length of the payload. The error is a [*ProtocolError]
// around [io.ErrUnexpectedEOF], [ErrBadMagic], [ErrBadVersion],
// [ErrUnknownType] or [ErrTooLarge]. With ErrTooLarge the Header is returned as
// well, so that the caller can name the request.
func ParseHeader(b []byte) (Header, error) { return parseHeader(b, MaxPayloadSize) }

// parseHeader is [ParseHeader] with a limit for the payload. It is the only place
// that reads headers, so each header is checked once.
func parseHeader(b []byte, maxPayload int) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, framingError(io.ErrUnexpectedEOF, ruleHeaderLength, 0, HeaderSize, int64(len(b)))
	}
	if string(b[:2]) != magic {
		return Header{}, magicError(b)
	}
	if b[2] != Version {
		return Header{}, framingError(ErrBadVersion, ruleVersion, 2, Version, int64(b[2]))
	}
	h := Header{
		Type:      MessageType(b[3]),
		Length:    binary.BigEndian.Uint32(b[4:]),
		RequestID: binary.BigEndian.Uint64(b[8:]),
	}
	if err := h.checkType(); err != nil {
		return Header{}, err
	}
	return h, h.checkLength(maxPayload)
}

// checkType checks that there is such a type.
func (h Header) checkType() error {
	if h.Type.valid() {
		return nil
	}
	return h.unknownType()
}

// unknownType returns the error of checkType.
func (h Header) unknownType() error {
	e := framingError(ErrUnknownType, ruleType, 3, 0, int64(h.Type))
	e.hint = "want " + knownTypes()
	return e
}

// checkLength checks the length of the payload against a limit.
func (h Header) checkLength(maxPayload int) error {
	if int64(h.Length) <= int64(maxPayload) {
		return nil
	}
	e := framingError(ErrTooLarge, rulePayloadLength, 4, int64(maxPayload), int64(h.Length))
	e.Header = h
	return e
}

// magicError returns the error for bytes that do not begin with the magic. It
// recognises the protocols that are found on this socket by mistake. It shows no
// more than two bytes, because they may be a secret.
func magicError(b []byte) error {
	e := framingError(ErrBadMagic, ruleMagic, 0, int64(magic[0])<<8|int64(magic[1]), int64(binary.BigEndian.Uint16(b)))
	switch {
	case string(b[:4]) == "HTTP" || string(b[:4]) == "GET " || string(b[:4]) == "POST":
		e.hint = "this looks like HTTP"
	case b[4] == '{':
		e.hint = "this looks like the JSON protocol of gunicorn 25.0; 25.1 or later is needed"
	}
	return e
}

// AppendBinary appends the 16 bytes of the header to b. If gunicorn would refuse
// the type or the length, it returns an error, and b as it was. It implements
// [encoding.BinaryAppender].
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	if err := h.checkType(); err != nil {
		return b, err
	}
	if err := h.checkLength(MaxPayloadSize); err != nil {
		return b, err
	}
	return h.append(b), nil
}

// append is AppendBinary without the checks.
func (h Header) append(b []byte) []byte {
	b = append(b, magic[0], magic[1], Version, byte(h.Type))
	b = binary.BigEndian.AppendUint32(b, h.Length)
	return binary.BigEndian.AppendUint64(b, h.RequestID)
}

// MarshalBinary returns the 16 bytes of the header, or the error of AppendBinary.
// It implements [encoding.BinaryMarshaler].
func (h Header) MarshalBinary() ([]byte, error) {
	return h.AppendBinary(make([]byte, 0, HeaderSize))
}

// UnmarshalBinary sets h from exactly 16 bytes. More bytes are an
// [ErrTrailingData]; other errors are those of [ParseHeader]. On an error h stays
// as it was. It implements [encoding.BinaryUnmarshaler].
func (h *Header) UnmarshalBinary(data []byte) error {
	parsed, err := ParseHeader(data)
	if err != nil {
		return err
	}
	if len(data) > HeaderSize {
		return framingError(ErrTrailingData, ruleHeaderLength, HeaderSize, HeaderSize, int64(len(data)))
	}
	*h = parsed
	return nil
}

// Frame is a header and its payload, which is not decoded. That is all that a
// proxy or a router needs. The payload is empty or the encoding of one value,
// in practice a dict.
type Frame struct {
	Header
	Payload RawValue
}

// AppendBinary appends the whole frame to b. The header gets the length of the
// payload, whatever Length says. The payload is not checked, but for its length.
// On an error b is returned as it was. It implements [encoding.BinaryAppender].
func (f Frame) AppendBinary(b []byte) ([]byte, error) {
	h, err := f.finish(MaxPayloadSize)
	if err != nil {
		return b, err
	}
	return append(h.append(b), f.Payload...), nil
}

// finish returns the header as it is written: with the length of the payload,
// and checked.
func (f Frame) finish(maxPayload int) (Header, error) {
	n := len(f.Payload)
	if n > maxPayload {
		return f.Header, tooLarge(nil, "payload", "bytes", n, maxPayload)
	}
	f.Length = uint32(n)
	return f.Header, f.checkType()
}

// MarshalBinary returns the bytes of the whole frame, or the error of
// AppendBinary. It implements [encoding.BinaryMarshaler].
func (f Frame) MarshalBinary() ([]byte, error) {
	return f.AppendBinary(make([]byte, 0, HeaderSize+len(f.Payload)))
}

// UnmarshalBinary sets f from exactly one frame. It copies the payload and does
// not decode it. On an error f stays as it was. It implements
// [encoding.BinaryUnmarshaler].
func (f *Frame) UnmarshalBinary(data []byte) error {
	h, err := ParseHeader(data)
	if err != nil {
		return err
	}
	payload := data[HeaderSize:]
	switch n := len(payload) - int(h.Length); {
	case n < 0:
		return shortFrame(h, len(payload))
	case n > 0:
		size := int64(len(data) - n)
		return framingError(ErrTrailingData, ruleFrameLength, size, size, int64(len(data)))
	}
	*f = Frame{h, append(RawValue(nil), payload...)}
	return nil
}
