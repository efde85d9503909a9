package dirty

import (
	"encoding/binary"
	"reflect"
)

// AppendMessage appends the frame of a message, header and payload, to b and
// returns the extended slice. It checks the default limits, which are those of
// the peer. The error is a [*MarshalError] with a path such as
// "kwargs.image[3]", and then b is returned as it was. Like [Append] it may
// overwrite the bytes between the length and the capacity of b. It may be used
// concurrently.
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

// message appends the frame of a message. All frames of messages are made here. It
// appends the header first, and fills in the length when the payload is complete
// and checked.
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

// field appends a key of a payload and its value.
func (e *encoder) field(b []byte, key string, v any) ([]byte, *MarshalError) {
	b, err := e.any(AppendString(b, key), v, 1)
	if err != nil {
		return b, err.inDict(key)
	}
	return b, nil
}

// textField is like field, for a string. It needs no box.
func (e *encoder) textField(b []byte, key, text string) ([]byte, *MarshalError) {
	b, err := e.string(AppendString(b, key), text)
	if err != nil {
		return b, err.inDict(key)
	}
	return b, nil
}

// DecodeMessage decodes the frame at the start of data. It returns the message and
// the size n of the frame in bytes. The message owns its memory. DecodeMessage may
// be used concurrently.
//
// A fault of the frame itself is a Fatal [*ProtocolError], and n is 0. If it is an
// [io.ErrUnexpectedEOF], the frame is incomplete and more data may help. Other
// faults are those of [ParseHeader].
//
// A fault of the payload is a [*ProtocolError] that is not Fatal. Its Header tells
// the request, and n is the size of the frame, so that the caller can go on with
// the data after it.
//
// A key that the payload leaves out has gunicorn's default. Unknown keys are
// skipped. The type and the id come from the header only, whatever the payload
// says.
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

// DecodeFrame decodes a frame, as [DecodeMessage] does. The length in the header
// does not matter. With AliasBytes the message may refer to the payload.
func (o DecodeOptions) DecodeFrame(f Frame) (Message, error) {
	m, _, err := o.decodeFrame(f)
	return m, err
}

// decodeFrame is DecodeFrame. aliased reports whether m refers to the payload.
func (o DecodeOptions) decodeFrame(f Frame) (m Message, aliased bool, err error) {
	if m = newMessage(f.Header); m == nil {
		return nil, false, f.unknownType()
	}
	var c checker
	if len(f.Payload) > 0 {
		if err = o.check(&c, f.Payload, true); err != nil {
			return nil, false, inFrame(err, f.Header)
		}
	}
	d := newBuilder(f.Payload, &c, o)
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
// [Unmarshal] does. So the result of a [Response] or the data of a [Chunk] can go
// into a Go type at once, with a struct such as
//
//	struct { Result Prediction `dirty:"result"` }
//
// An empty payload leaves v as it is. A payload that is no dict is a fault of the
// payload, as for [DecodeMessage]. Offsets in errors count from the start of the
// frame. With AliasBytes v may refer to the payload.
func (o DecodeOptions) UnmarshalPayload(f Frame, v any) error {
	_, err := o.unmarshalPayload(f, v)
	return err
}

// unmarshalPayload is UnmarshalPayload. aliased reports whether something in v
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

// The following methods read payloads. In a decodePayload method they call back with
// each key, and the callback reads or skips its value.

// fields calls read for each key of the payload. An empty payload has none.
func (d *builder) fields(read func(key string) error) error {
	if len(d.data) == 0 {
		return nil
	}
	return d.entries(read)
}

// entries is like fields, for the next value, which must be a dict.
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

// noFields reads a payload all of whose keys are skipped.
func (d *builder) noFields() error {
	return d.fields(func(string) error {
		d.skip()
		return nil
	})
}

// anyField reads a payload of which only one key counts.
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

// wantKind returns the error for the next value, which is not what was wanted.
func (d *builder) wantKind(what string) error { return d.errorAt(d.off, ErrMalformed, nil, what) }

// field reads the value of a key into what v points to. None sets it to zero.
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
