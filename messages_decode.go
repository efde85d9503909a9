package dirty

import (
	"io"
	"reflect"
)

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
	h, err := ParseHeader(data)
	if err != nil {
		return nil, 0, err
	}
	if err := h.check(o.Limits.forDecode().MaxPayload); err != nil {
		return nil, 0, err
	}
	size := HeaderSize + int(h.Length)
	if len(data) < size {
		return nil, 0, shortFrame(h, len(data)-HeaderSize)
	}
	m, err = o.DecodeFrame(Frame{h, data[HeaderSize:size:size]})
	return m, size, err
}

// shortFrame is the error for a frame of which only some payload bytes are
// there.
func shortFrame(h Header, got int) *ProtocolError {
	err := framingError(io.ErrUnexpectedEOF, "payload length", HeaderSize, int64(h.Length), int64(got))
	err.Header = h
	return err
}

// Message decodes the frame with the default options, as [DecodeMessage]
// does.
func (f Frame) Message() (Message, error) { return DecodeOptions{}.DecodeFrame(f) }

// UnmarshalPayload decodes the payload of the frame with the default options, as
// [DecodeOptions.UnmarshalPayload] does.
func (f Frame) UnmarshalPayload(v any) error { return DecodeOptions{}.UnmarshalPayload(f, v) }

// DecodeFrame decodes a frame. The payload counts, not the header's length. With
// AliasBytes the message may refer to the payload.
func (o DecodeOptions) DecodeFrame(f Frame) (Message, error) {
	m, _, err := o.decodeFrame(f)
	return m, err
}

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

// decodeFrame is DecodeFrame; aliased reports whether m refers to the payload.
func (o DecodeOptions) decodeFrame(f Frame) (m Message, aliased bool, err error) {
	if !f.Type.valid() {
		return nil, false, f.check(MaxPayloadSize)
	}
	var s scanner
	if len(f.Payload) > 0 {
		if err = o.scan(&s, f.Payload, true); err != nil {
			return nil, false, inFrame(err, f.Header)
		}
	}
	d := newDecoder(f.Payload, &s, o)
	defer d.release()
	m, err = d.message(f.Header)
	if err != nil {
		return nil, false, inFrame(d.locate(err), f.Header)
	}
	return m, d.aliased, nil
}

// inFrame makes an error in a payload one in its frame.
func inFrame(err error, h Header) error {
	switch e := err.(type) {
	case *ProtocolError:
		e.Offset += HeaderSize
		e.Header = h
	case *UnmarshalTypeError:
		return &ProtocolError{Err: ErrMalformed, Rule: "type of a payload field", Path: e.Path,
			Offset: HeaderSize + e.Offset, Header: h, hint: "found " + e.Kind.String() + ", want " + e.Reason}
	}
	return err
}

// message builds a message from a payload that is well-formed or empty.
func (d *decoder) message(h Header) (Message, error) {
	switch h.Type {
	case TypeRequest:
		m := &Request{ID: h.RequestID}
		return m, d.fields(func(key string) error {
			switch key {
			case "app_path":
				return d.field(&m.AppPath)
			case "action":
				return d.field(&m.Action)
			case "args":
				return d.args(m)
			case "kwargs":
				return d.kwargs(m)
			}
			d.skip()
			return nil
		})
	case TypeResponse:
		m := &Response{ID: h.RequestID}
		return m, d.anyField("result", &m.Result)
	case TypeError:
		m := &ErrorReply{ID: h.RequestID, Err: &RemoteError{Type: ClassError, Message: unknownError}}
		return m, d.fields(func(key string) error {
			if key == "error" {
				return d.remoteError(m.Err)
			}
			d.skip()
			return nil
		})
	case TypeChunk:
		m := &Chunk{ID: h.RequestID}
		return m, d.anyField("data", &m.Data)
	case TypeEnd:
		return &End{ID: h.RequestID}, d.anyField("", nil)
	case TypeStash:
		m := &StashRequest{ID: h.RequestID}
		return m, d.fields(func(key string) error {
			switch key {
			case "op":
				return d.field(&m.Op)
			case "table":
				return d.field(&m.Table)
			case "key":
				m.Key = d.any()
			case "value":
				m.Value = d.any()
			case "pattern":
				return d.field(&m.Pattern)
			default:
				d.skip()
			}
			return nil
		})
	case TypeStatus:
		return &StatusRequest{ID: h.RequestID}, d.anyField("", nil)
	default: // TypeManage: other types have no header
		m := &ManageRequest{ID: h.RequestID, Count: 1}
		return m, d.fields(func(key string) error {
			switch key {
			case "op":
				return d.field(&m.Op)
			case "count":
				if d.none() {
					m.Count = 1
					return nil
				}
				return d.field(&m.Count)
			}
			d.skip()
			return nil
		})
	}
}

// fields calls read for each key of the payload, before its value. An empty
// payload has none.
func (d *decoder) fields(read func(key string) error) error {
	if len(d.data) == 0 {
		return nil
	}
	return d.entries(read)
}

// entries is fields for the next value, which must be a dict.
func (d *decoder) entries(read func(key string) error) error {
	if d.kind() != KindDict {
		return d.want("dict")
	}
	for range d.count() {
		if err := read(d.name()); err != nil {
			return err
		}
	}
	return nil
}

// anyField reads the one field of a payload that counts; "" is none.
func (d *decoder) anyField(name string, v *any) error {
	return d.fields(func(key string) error {
		if key == name && v != nil {
			*v = d.any()
		} else {
			d.skip()
		}
		return nil
	})
}

// want is the error for the next value, which has the wrong kind.
func (d *decoder) want(what string) error { return d.errorAt(d.off, ErrMalformed, nil, what) }

// field reads a field of a payload into what v points to. None is zero.
func (d *decoder) field(v any) error {
	rv := reflect.ValueOf(v).Elem()
	rv.SetZero() // the last of equal keys wins
	at := d.off
	if planOf(rv.Type()).decode(d, rv) != nil {
		d.off = at
		return d.want(rv.Kind().String())
	}
	return nil
}

func (d *decoder) args(m *Request) error {
	switch d.kind() {
	case KindNone:
		d.off++
		m.Args = nil
	case KindList:
		if d.opts.RawArgs {
			m.Args = d.rawArgs()
		} else {
			m.Args = d.list()
		}
	default:
		return d.want("list")
	}
	return nil
}

func (d *decoder) kwargs(m *Request) error {
	m.Kwargs, m.OrderedKwargs = nil, nil
	switch {
	case d.kind() == KindNone:
		d.off++
	case d.kind() != KindDict:
		return d.want("dict")
	case d.opts.RawArgs:
		d.rawKwargs(m)
	case d.opts.UseDict:
		m.OrderedKwargs = d.dict()
	default:
		m.Kwargs = d.mapAny()
	}
	return nil
}

// rawArgs reads a list whose elements are not decoded.
func (d *decoder) rawArgs() []any {
	args := make([]any, d.count())
	for i := range args {
		args[i] = d.rawArg()
	}
	return args
}

// rawKwargs reads a dict whose values are not decoded.
func (d *decoder) rawKwargs(m *Request) {
	n := d.count()
	if d.opts.UseDict {
		b := newDictBuilder(n)
		for range n {
			v := b.value(d.name())
			*v = d.rawArg()
		}
		m.OrderedKwargs = b.dict
		return
	}
	m.Kwargs = make(map[string]any, n)
	for range n {
		key := d.name()
		m.Kwargs[key] = d.rawArg()
	}
}

// rawArg reads an argument that is not decoded. As bytes do, it may refer to
// the payload; but only if it is almost all of it, because bytes inside it may
// refer to it in turn.
func (d *decoder) rawArg() RawValue {
	raw := d.value()
	if d.opts.AliasBytes && len(raw) >= aliasedSize && len(raw) >= len(d.data)-len(d.data)/aliasedPart {
		d.aliased = true
		return raw
	}
	return append(RawValue(nil), raw...)
}

// remoteError reads the dict of an ERROR frame as gunicorn's from_dict does:
// an unknown type name is kept, one that is no string is a DirtyError.
func (d *decoder) remoteError(r *RemoteError) error {
	*r = RemoteError{Type: ClassError, Message: unknownError}
	return d.entries(func(key string) error {
		switch key {
		case "error_type":
			r.Type = ClassError
			if d.kind() == KindString {
				r.Type = d.string()
				return nil
			}
			d.skip()
		case "message":
			if d.kind() == KindString {
				r.Message = d.string()
				return nil
			}
			r.Message = Diagnose(d.value())
		case "details":
			if d.none() {
				r.Details = nil
				return nil
			}
			if d.kind() != KindDict {
				return d.want("dict")
			}
			r.Details = d.mapAny()
		default:
			d.skip()
		}
		return nil
	})
}
