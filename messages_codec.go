package dirty

import (
	"encoding/binary"
	"reflect"
)

// AppendMessage appends a whole frame, header and payload, to b and returns
// the extended slice. Every limit of the peer is checked; on an error b is
// returned as it was. A payload over [MaxPayloadSize] is an [ErrTooLarge], a
// value that has no encoding a [*MarshalError] with a path such as
// "kwargs.image[3]". As [Append] it may overwrite what b has behind the result.
func AppendMessage(b []byte, m Message) ([]byte, error) { return EncodeOptions{}.AppendMessage(b, m) }

// AppendMessage is [AppendMessage] with options.
func (o EncodeOptions) AppendMessage(b []byte, m Message) ([]byte, error) {
	if err := o.Limits.Validate(); err != nil {
		return b, err
	}
	e := newEncoder(o.Limits, len(b))
	defer e.release()
	out, err := e.message(b, m)
	if err != nil {
		return b, err
	}
	return out, nil
}

// message appends a frame. It is the one place where frames of messages are
// made: it reserves the header, and fills it in when all is known and checked.
func (e *encoder) message(b []byte, m Message) ([]byte, error) {
	if m == nil || reflect.ValueOf(m).IsNil() {
		return b, &MarshalError{Err: ErrUnsupportedType, Type: reflect.TypeOf(m), Reason: "the message is nil"}
	}
	begin := len(b)
	b = Header{Type: m.Type(), RequestID: m.RequestID()}.append(b)
	e.begin(len(b))
	b, err := m.appendPayload(e, b)
	if err == nil {
		err = e.checkSize(b)
	}
	if err != nil {
		return b, err.locate()
	}
	binary.BigEndian.PutUint32(b[begin+4:], uint32(e.size(b)))
	return b, nil
}

// field appends a key and a value of a payload.
func (e *encoder) field(b []byte, key string, v any) ([]byte, *MarshalError) {
	b, err := e.any(AppendString(b, key), v, 1)
	if err != nil {
		return b, err.inDict(key)
	}
	return b, nil
}

// textField is field for strings, which spares boxing them.
func (e *encoder) textField(b []byte, key, text string) ([]byte, *MarshalError) {
	b, err := e.string(AppendString(b, key), text)
	if err != nil {
		return b, err.inDict(key)
	}
	return b, nil
}

// DecodeMessage decodes the frame at the start of data and returns the
// message and the number of bytes it took; what follows is the caller's. The
// message owns its memory.
//
// A fault of the frame itself is a Fatal [*ProtocolError] and n is 0: around
// [io.ErrUnexpectedEOF] if there is less than a frame, in which case more
// data may help, or what [ParseHeader] returns. A fault of the payload is one
// that is not Fatal; its Header tells the request, and n is the size of the
// frame, so that the caller can go on behind it.
//
// What a payload leaves out has gunicorn's default, unknown keys are
// skipped, and keys that are named like header fields are data: the header
// decides.
func DecodeMessage(data []byte) (m Message, n int, err error) {
	return DecodeOptions{}.DecodeMessage(data)
}

// DecodeMessage is [DecodeMessage] with options.
func (o DecodeOptions) DecodeMessage(data []byte) (m Message, n int, err error) {
	if err := o.Limits.Validate(); err != nil {
		return nil, 0, err
	}
	h, err := parseHeader(data, o.Limits.forDecode().MaxPayload)
	if err != nil {
		return nil, 0, err
	}
	size := HeaderSize + int(h.Length)
	if len(data) < size {
		return nil, 0, shortFrame(h, len(data)-HeaderSize)
	}
	m, err = o.DecodeFrame(Frame{h, data[HeaderSize:size:size]})
	return m, size, err
}

// Message decodes the frame with the default options, as [DecodeMessage]
// does.
func (f Frame) Message() (Message, error) { return DecodeOptions{}.DecodeFrame(f) }

// DecodeFrame decodes a frame. The payload counts, not the header's length. With
// AliasBytes the message may refer to the payload.
func (o DecodeOptions) DecodeFrame(f Frame) (Message, error) {
	m, _, err := o.decodeFrame(f)
	return m, err
}

// decodeFrame is DecodeFrame; aliased reports whether m refers to the payload.
func (o DecodeOptions) decodeFrame(f Frame) (m Message, aliased bool, err error) {
	if m = newMessage(f.Header); m == nil {
		return nil, false, f.unknownType()
	}
	var s checker
	if len(f.Payload) > 0 {
		if err = o.check(&s, f.Payload, true); err != nil {
			return nil, false, inFrame(err, f.Header)
		}
	}
	d := newBuilder(f.Payload, &s, o)
	defer d.release()
	if err = m.decodePayload(d); err != nil {
		return nil, false, inFrame(d.locate(err), f.Header)
	}
	return m, d.aliased, nil
}

// UnmarshalPayload decodes the payload of the frame with the default options, as
// [DecodeOptions.UnmarshalPayload] does.
func (f Frame) UnmarshalPayload(v any) error { return DecodeOptions{}.UnmarshalPayload(f, v) }

// UnmarshalPayload decodes the payload of a frame into what v points to, as
// [Unmarshal] does: for who wants the result of a [Response] or the data of a
// [Chunk] in a Go type at once, with a struct such as
//
//	struct { Result Prediction `dirty:"result"` }
//
// An empty payload leaves v as it is; one that is no dict is a fault of the
// payload, as for [DecodeMessage]. Offsets in errors count from the start of the
// frame.
func (o DecodeOptions) UnmarshalPayload(f Frame, v any) error {
	_, err := o.unmarshalPayload(f, v)
	return err
}

// unmarshalPayload is UnmarshalPayload; aliased reports whether something in v
// refers to the payload.
func (o DecodeOptions) unmarshalPayload(f Frame, v any) (aliased bool, err error) {
	if len(f.Payload) == 0 {
		return false, o.Limits.Validate()
	}
	if k := Kind(f.Payload[0]); k != KindDict {
		err := o.Validate(f.Payload)
		if err == nil {
			err = &UnmarshalTypeError{Kind: k, Reason: "dict"}
		}
		return false, inFrame(err, f.Header)
	}
	_, aliased, err = o.unmarshal(f.Payload, v, true)
	if e, ok := err.(*UnmarshalTypeError); ok {
		e.Offset += HeaderSize
		return aliased, e
	}
	return aliased, inFrame(err, f.Header)
}

// fields calls read for each key of the payload, before its value. An empty
// payload has none.
func (d *builder) fields(read func(key string) error) error {
	if len(d.data) == 0 {
		return nil
	}
	return d.entries(read)
}

// entries is fields for the next value, which must be a dict.
func (d *builder) entries(read func(key string) error) error {
	if d.kind() != KindDict {
		return d.wantKind("dict")
	}
	for range d.count() {
		if err := read(d.name()); err != nil {
			return err
		}
	}
	return nil
}

// noFields skips a payload of which no field counts.
func (d *builder) noFields() error {
	return d.fields(func(string) error {
		d.skip()
		return nil
	})
}

// anyField reads the one field of a payload that counts.
func (d *builder) anyField(name string, v *any) error {
	return d.fields(func(key string) error {
		if key == name {
			*v = d.any()
		} else {
			d.skip()
		}
		return nil
	})
}

// wantKind is the error for the next value, which has the wrong kind.
func (d *builder) wantKind(what string) error { return d.errorAt(d.off, ErrMalformed, nil, what) }

// field reads a field of a payload into what v points to. None is zero.
func (d *builder) field(v any) error {
	rv := reflect.ValueOf(v).Elem()
	rv.SetZero() // the last of equal keys wins
	at := d.off
	if planOf(rv.Type()).decode(d, rv) != nil {
		d.off = at
		return d.wantKind(rv.Kind().String())
	}
	return nil
}
