package dirty

import (
	"encoding/binary"
	"io"
)

// Header is the 16-byte header of a frame, without the magic and the
// version, which are constant. All integers on the wire are big-endian.
//
//	 0      1      2       3      4             8                     16
//	+------+------+-------+------+-------------+----------------------+
//	| 'G'  | 'D'  | vers. | type | length      | request id           |
//	+------+------+-------+------+-------------+----------------------+
//
// A Header is a plain comparable value.
type Header struct {
	Type      MessageType
	Length    uint32 // of the payload in bytes, header excluded; at most MaxPayloadSize
	RequestID uint64 // chosen by who asks; every answer carries it
}

// Frame is a header and its payload, not decoded: all that a proxy or a
// router needs. The payload is the encoding of one value, in practice a
// dict, or empty.
type Frame struct {
	Header
	Payload RawValue
}

// ParseHeader reads a header from the first [HeaderSize] bytes of b and
// checks what gunicorn checks, in gunicorn's order: b is long enough, the
// magic, the version, the type, the length. The error is a [*ProtocolError]
// around [io.ErrUnexpectedEOF], [ErrBadMagic], [ErrBadVersion],
// [ErrUnknownType] or [ErrTooLarge]. For the last one the Header is returned
// as well, so that the request can be named.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, framingError(io.ErrUnexpectedEOF, "header length", 0, HeaderSize, int64(len(b)))
	}
	if string(b[:2]) != magic {
		return Header{}, magicError(b)
	}
	if b[2] != Version {
		return Header{}, framingError(ErrBadVersion, "version", 2, Version, int64(b[2]))
	}
	h := Header{
		Type:      MessageType(b[3]),
		Length:    binary.BigEndian.Uint32(b[4:]),
		RequestID: binary.BigEndian.Uint64(b[8:]),
	}
	if err := h.check(MaxPayloadSize); err != nil {
		if !h.Type.valid() {
			return Header{}, err
		}
		return h, err
	}
	return h, nil
}

// check validates the fields that are not constant, on both sides.
func (h Header) check(maxPayload int) error {
	if !h.Type.valid() {
		e := framingError(ErrUnknownType, "type", 3, 0, int64(h.Type))
		e.hint = "want 0x01 to 0x05 or 0x10 to 0x12"
		return e
	}
	if int64(h.Length) > int64(maxPayload) {
		e := framingError(ErrTooLarge, "payload length", 4, int64(maxPayload), int64(h.Length))
		e.Header = h
		return e
	}
	return nil
}

// magicError names the usual mistakes: another protocol on this socket. It
// shows no bytes, which may be anybody's.
func magicError(b []byte) error {
	e := framingError(ErrBadMagic, "magic", 0, int64('G')<<8|'D', int64(binary.BigEndian.Uint16(b)))
	switch {
	case string(b[:4]) == "HTTP" || string(b[:4]) == "GET " || string(b[:4]) == "POST":
		e.hint = "this looks like HTTP"
	case b[4] == '{':
		e.hint = "this looks like the JSON protocol of gunicorn 25.0; 25.1 or later is needed"
	}
	return e
}

// AppendBinary appends the 16 bytes of the header to b; it implements
// [encoding.BinaryAppender]. A type or a length that gunicorn would refuse
// is an error, and b is returned as it was.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	if err := h.check(MaxPayloadSize); err != nil {
		return b, err
	}
	return h.append(b), nil
}

// append is AppendBinary for a header that is known to be valid.
func (h Header) append(b []byte) []byte {
	b = append(b, magic[0], magic[1], Version, byte(h.Type))
	b = binary.BigEndian.AppendUint32(b, h.Length)
	return binary.BigEndian.AppendUint64(b, h.RequestID)
}

// MarshalBinary returns the 16 bytes of the header; it implements
// [encoding.BinaryMarshaler].
func (h Header) MarshalBinary() ([]byte, error) {
	return h.AppendBinary(make([]byte, 0, HeaderSize))
}

// UnmarshalBinary sets h from exactly 16 bytes; it implements
// [encoding.BinaryUnmarshaler]. h is unchanged on error.
func (h *Header) UnmarshalBinary(data []byte) error {
	parsed, err := ParseHeader(data)
	if err != nil {
		return err
	}
	if len(data) > HeaderSize {
		return framingError(ErrTrailingData, "header length", HeaderSize, HeaderSize, int64(len(data)))
	}
	*h = parsed
	return nil
}

// AppendBinary appends the whole frame to b; it implements
// [encoding.BinaryAppender]. The length in the header is that of the payload,
// whatever Length says. The payload is not decoded nor checked.
func (f Frame) AppendBinary(b []byte) ([]byte, error) {
	h, err := f.sized(MaxPayloadSize)
	if err != nil {
		return b, err
	}
	return append(h.append(b), f.Payload...), nil
}

// sized returns the header with the length of the payload.
func (f Frame) sized(maxPayload int) (Header, error) {
	if n := len(f.Payload); n > maxPayload {
		return f.Header, tooLarge(nil, "payload", "bytes", n, maxPayload)
	}
	f.Length = uint32(len(f.Payload))
	return f.Header, f.check(maxPayload)
}

// MarshalBinary returns the bytes of the whole frame; it implements
// [encoding.BinaryMarshaler].
func (f Frame) MarshalBinary() ([]byte, error) {
	return f.AppendBinary(make([]byte, 0, HeaderSize+len(f.Payload)))
}

// UnmarshalBinary sets f from exactly one frame, whose payload it copies
// and does not decode; it implements [encoding.BinaryUnmarshaler]. f is
// unchanged on error.
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
		return framingError(ErrTrailingData, "frame length", int64(len(data)-n), int64(len(data)-n), int64(len(data)))
	}
	*f = Frame{h, append(RawValue(nil), payload...)}
	return nil
}
