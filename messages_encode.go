package dirty

import (
	"encoding/binary"
	"reflect"
	"slices"
)

// The payloads are dicts with gunicorn's keys in gunicorn's order, and leave
// out what gunicorn leaves out: for equal input the bytes are equal.

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

func (m *Request) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	b = AppendDictHeader(b, 4)
	b, err := e.textField(b, "app_path", m.AppPath)
	if err != nil {
		return b, err
	}
	if b, err = e.textField(b, "action", m.Action); err != nil {
		return b, err
	}
	b = AppendString(b, "args")
	if m.Args == nil {
		b = AppendListHeader(b, 0)
	} else if b, err = e.list(b, m.Args, 1); err != nil {
		return b, err.inDict("args")
	}
	b = AppendString(b, "kwargs")
	switch {
	case m.OrderedKwargs != nil:
		b, err = e.ordered(b, m.OrderedKwargs, 1)
	case m.Kwargs != nil:
		b, err = e.dict(b, m.Kwargs, 1)
	default:
		b = AppendDictHeader(b, 0)
	}
	if err != nil {
		return b, err.inDict("kwargs")
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

func (m *Response) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	return e.field(AppendDictHeader(b, 1), "result", m.Result)
}

func (m *Chunk) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	return e.field(AppendDictHeader(b, 1), "data", m.Data)
}

func (*End) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) { return b, nil }

func (*StatusRequest) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) { return b, nil }

func (m *ManageRequest) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) {
	b = AppendDictHeader(b, 2)
	b = AppendInt64(AppendString(b, "op"), int64(m.Op))
	return AppendInt64(AppendString(b, "count"), int64(m.Count)), nil
}

func (m *StashRequest) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	header, n := len(b), 2
	b = AppendDictHeader(b, 0)
	b = AppendInt64(AppendString(b, "op"), int64(m.Op))
	b, err := e.textField(b, "table", m.Table)
	if err == nil && m.Key != nil {
		n++
		b, err = e.field(b, "key", m.Key)
	}
	if err == nil && m.Value != nil {
		n++
		b, err = e.field(b, "value", m.Value)
	}
	if err == nil && m.Pattern != "" {
		n++
		b, err = e.textField(b, "pattern", m.Pattern)
	}
	setCount(b, header, n)
	return b, err
}

func (m *ErrorReply) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	remote := m.Err
	if remote == nil {
		remote = asRemoteError(nil)
	}
	b = AppendString(AppendDictHeader(b, 1), "error")
	b, err := e.remoteError(b, remote)
	if err != nil {
		return b, err.inDict("error")
	}
	return b, nil
}

func (e *encoder) remoteError(b []byte, r *RemoteError) ([]byte, *MarshalError) {
	typ := r.Type
	if typ == "" {
		typ = ClassError
	}
	b = AppendDictHeader(b, 3)
	b, err := e.textField(b, "error_type", typ)
	if err != nil {
		return b, err
	}
	if b, err = e.textField(b, "message", r.Message); err != nil {
		return b, err
	}
	if b, err = e.details(AppendString(b, "details"), r.Details); err != nil {
		return b, err.inDict("details")
	}
	return b, nil
}

// detailOrder is the order in which gunicorn's error classes fill in their
// details. Other details follow, sorted.
var detailOrder = [...]string{
	"timeout", "socket_path", "worker_id", "app_path", "action", "traceback",
}

func (e *encoder) details(b []byte, details map[string]any) ([]byte, *MarshalError) {
	if err := e.enter(b, KindDict, len(details), 2); err != nil {
		return b, err
	}
	base := len(e.keys)
	for _, key := range detailOrder {
		if _, ok := details[key]; ok {
			e.keys = append(e.keys, key)
		}
	}
	known := len(e.keys)
	for key := range details {
		if !slices.Contains(e.keys[base:known], key) {
			e.keys = append(e.keys, key)
		}
	}
	slices.Sort(e.keys[known:])
	b = AppendDictHeader(b, len(details))
	var err *MarshalError
	for _, key := range e.keys[base:] {
		if b, err = e.string(b, key); err == nil {
			b, err = e.any(b, details[key], 3)
		}
		if err != nil {
			return b, err.inDict(key)
		}
	}
	clear(e.keys[base:])
	e.keys = e.keys[:base]
	return b, nil
}
