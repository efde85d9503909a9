package dirty

import (
	"hash/fnv"
	"slices"
)

// Message is a typed message: one of [*Request], [*Response], [*ErrorReply],
// [*Chunk], [*End], [*StashRequest], [*StatusRequest] and [*ManageRequest], and
// nothing else.
//
// Messages are plain structs; decoded ones own their memory. They may be
// read concurrently.
type Message interface {
	Type() MessageType
	RequestID() uint64

	// appendPayload appends what follows the header: a dict with gunicorn's
	// keys in gunicorn's order, without the keys that gunicorn leaves out. For
	// equal input the bytes are gunicorn's.
	appendPayload(e *encoder, b []byte) ([]byte, *MarshalError)

	// decodePayload sets the message, which newMessage has made, from a
	// payload that was checked.
	decodePayload(d *builder) error
}

// newMessage returns an empty message with what gunicorn takes for keys that
// are left out, or nil if there is no message of the type.
func newMessage(h Header) Message {
	switch h.Type {
	case TypeRequest:
		return &Request{ID: h.RequestID}
	case TypeResponse:
		return &Response{ID: h.RequestID}
	case TypeError:
		return &ErrorReply{ID: h.RequestID, Err: &RemoteError{Type: ClassError, Message: unknownError}}
	case TypeChunk:
		return &Chunk{ID: h.RequestID}
	case TypeEnd:
		return &End{ID: h.RequestID}
	case TypeStash:
		return &StashRequest{ID: h.RequestID}
	case TypeStatus:
		return &StatusRequest{ID: h.RequestID}
	case TypeManage:
		return &ManageRequest{ID: h.RequestID, Count: 1}
	}
	return nil
}

// Request asks for the result of an action of an app. It is answered by a
// [*Response], by [*Chunk] messages and an [*End] if the action streams, or by an
// [*ErrorReply].
type Request struct {
	ID      uint64
	AppPath string // "module:Class", as in gunicorn's dirty_apps
	Action  string
	Args    []any
	Kwargs  map[string]any // sent with sorted keys

	// OrderedKwargs, if it is not nil, is sent in place of Kwargs: Python
	// functions that take **kwargs see their order. Decoding fills it in place
	// of Kwargs if DecodeOptions.UseDict is set.
	OrderedKwargs Dict
}

// NewRequest returns a request (encode_request). Nil args and kwargs are
// sent as an empty list and an empty dict.
func NewRequest(id uint64, appPath, action string, args []any, kwargs map[string]any) *Request {
	return &Request{ID: id, AppPath: appPath, Action: action, Args: args, Kwargs: kwargs}
}

// Type returns TypeRequest.
func (*Request) Type() MessageType { return TypeRequest }

// RequestID returns ID.
func (m *Request) RequestID() uint64 { return m.ID }

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
		b, err = e.dict(b, m.OrderedKwargs, 1)
	case m.Kwargs != nil:
		b, err = e.mapAny(b, m.Kwargs, 1)
	default:
		b = AppendDictHeader(b, 0)
	}
	if err != nil {
		return b, err.inDict("kwargs")
	}
	return b, nil
}

func (m *Request) decodePayload(d *builder) error {
	return d.fields(func(key string) error {
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
}

func (d *builder) args(m *Request) error {
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
		return d.wantKind("list")
	}
	return nil
}

func (d *builder) kwargs(m *Request) error {
	m.Kwargs, m.OrderedKwargs = nil, nil
	switch {
	case d.kind() == KindNone:
		d.off++
	case d.kind() != KindDict:
		return d.wantKind("dict")
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
func (d *builder) rawArgs() []any {
	args := make([]any, d.count())
	for i := range args {
		args[i] = d.rawArg()
	}
	return args
}

// rawKwargs reads a dict whose values are not decoded.
func (d *builder) rawKwargs(m *Request) {
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
func (d *builder) rawArg() RawValue {
	raw := d.value()
	if d.opts.AliasBytes && len(raw) >= aliasedSize && len(raw) >= len(d.data)-len(d.data)/aliasedPart {
		d.aliased = true
		return raw
	}
	return append(RawValue(nil), raw...)
}

// Response is the result of a request, a stash operation, a status query or
// a manage operation.
type Response struct {
	ID     uint64
	Result any
}

// NewResponse returns a response (encode_response).
func NewResponse(id uint64, result any) *Response { return &Response{ID: id, Result: result} }

// Type returns TypeResponse.
func (*Response) Type() MessageType { return TypeResponse }

// RequestID returns ID.
func (m *Response) RequestID() uint64 { return m.ID }

func (m *Response) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	return e.field(AppendDictHeader(b, 1), "result", m.Result)
}

func (m *Response) decodePayload(d *builder) error { return d.anyField("result", &m.Result) }

// ErrorReply says that a call failed. It also ends a stream.
type ErrorReply struct {
	ID  uint64
	Err *RemoteError // never nil after decoding
}

// NewErrorReply returns an error reply that says err in gunicorn's terms
// (encode_error):
//   - a [*RemoteError] in err's chain is sent as it is;
//   - a kind such as [ErrNoWorkers] in err's chain becomes gunicorn's type of
//     that kind;
//   - [context.DeadlineExceeded] and [os.ErrDeadlineExceeded] become a
//     DirtyTimeoutError, a [*ProtocolError] a DirtyProtocolError;
//   - any other error becomes a DirtyAppError, nil a DirtyError.
//
// The message is err's text, with U+FFFD in place of what is no UTF-8.
func NewErrorReply(id uint64, err error) *ErrorReply {
	return &ErrorReply{ID: id, Err: asRemoteError(err)}
}

// Type returns TypeError.
func (*ErrorReply) Type() MessageType { return TypeError }

// RequestID returns ID.
func (m *ErrorReply) RequestID() uint64 { return m.ID }

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

func (m *ErrorReply) decodePayload(d *builder) error {
	return d.fields(func(key string) error {
		if key == "error" {
			return d.remoteError(m.Err)
		}
		d.skip()
		return nil
	})
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

// remoteError reads the dict of an ERROR frame as gunicorn's from_dict does:
// an unknown type name is kept, one that is no string is a DirtyError.
func (d *builder) remoteError(r *RemoteError) error {
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
			if d.acceptNone() {
				r.Details = nil
				return nil
			}
			if d.kind() != KindDict {
				return d.wantKind("dict")
			}
			r.Details = d.mapAny()
		default:
			d.skip()
		}
		return nil
	})
}

// Chunk is one value of a stream.
type Chunk struct {
	ID   uint64
	Data any
}

// NewChunk returns a chunk (encode_chunk).
func NewChunk(id uint64, data any) *Chunk { return &Chunk{ID: id, Data: data} }

// Type returns TypeChunk.
func (*Chunk) Type() MessageType { return TypeChunk }

// RequestID returns ID.
func (m *Chunk) RequestID() uint64 { return m.ID }

func (m *Chunk) appendPayload(e *encoder, b []byte) ([]byte, *MarshalError) {
	return e.field(AppendDictHeader(b, 1), "data", m.Data)
}

func (m *Chunk) decodePayload(d *builder) error { return d.anyField("data", &m.Data) }

// End says that a stream is complete.
type End struct{ ID uint64 }

// NewEnd returns an end (encode_end).
func NewEnd(id uint64) *End { return &End{ID: id} }

// Type returns TypeEnd.
func (*End) Type() MessageType { return TypeEnd }

// RequestID returns ID.
func (m *End) RequestID() uint64 { return m.ID }

func (*End) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) { return b, nil }

func (*End) decodePayload(d *builder) error { return d.noFields() }

// StashRequest is an operation on a table of the arbiter; [StashOp] says which
// fields each one reads. The arbiter takes None for fields that are left out.
type StashRequest struct {
	ID      uint64
	Op      StashOp
	Table   string
	Key     any    // left out if it is nil; a scalar
	Value   any    // left out if it is nil
	Pattern string // of keys, as Python's fnmatch; left out if it is empty
}

// NewStashRequest returns a stash operation (encode_stash). A nil key, a nil value
// and an empty pattern are left out.
func NewStashRequest(id uint64, op StashOp, table string, key, value any, pattern string) *StashRequest {
	return &StashRequest{ID: id, Op: op, Table: table, Key: key, Value: value, Pattern: pattern}
}

// Type returns TypeStash.
func (*StashRequest) Type() MessageType { return TypeStash }

// RequestID returns ID.
func (m *StashRequest) RequestID() uint64 { return m.ID }

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

func (m *StashRequest) decodePayload(d *builder) error {
	return d.fields(func(key string) error {
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
}

// StatusRequest asks for the state of the arbiter and its workers.
type StatusRequest struct{ ID uint64 }

// NewStatusRequest returns a status query (encode_status).
func NewStatusRequest(id uint64) *StatusRequest { return &StatusRequest{ID: id} }

// Type returns TypeStatus.
func (*StatusRequest) Type() MessageType { return TypeStatus }

// RequestID returns ID.
func (m *StatusRequest) RequestID() uint64 { return m.ID }

func (*StatusRequest) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) { return b, nil }

func (*StatusRequest) decodePayload(d *builder) error { return d.noFields() }

// StatusResult is the Result of the [Response] to a [StatusRequest], in
// gunicorn's form.
type StatusResult struct {
	ArbiterPID  int            `dirty:"arbiter_pid"`
	Workers     []WorkerStatus `dirty:"workers"` // by age
	WorkerCount int            `dirty:"worker_count"`
	Apps        []string       `dirty:"apps"` // all that are configured
}

// WorkerStatus is a worker in a [StatusResult].
type WorkerStatus struct {
	PID    int      `dirty:"pid"`
	Age    int      `dirty:"age"` // a number that grows with each worker that is made
	Apps   []string `dirty:"apps"`
	Booted bool     `dirty:"booted"` // always false in gunicorn

	// LastHeartbeat is the time since the last sign of life in seconds. It is
	// negative, by decades, if there was none yet.
	LastHeartbeat *float64 `dirty:"last_heartbeat"`
}

// ManageRequest adds or removes workers.
type ManageRequest struct {
	ID    uint64
	Op    ManageOp
	Count int // the arbiter takes less than 1 as 1
}

// NewManageRequest returns a manage operation (encode_manage).
func NewManageRequest(id uint64, op ManageOp, count int) *ManageRequest {
	return &ManageRequest{ID: id, Op: op, Count: count}
}

// Type returns TypeManage.
func (*ManageRequest) Type() MessageType { return TypeManage }

// RequestID returns ID.
func (m *ManageRequest) RequestID() uint64 { return m.ID }

func (m *ManageRequest) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) {
	b = AppendDictHeader(b, 2)
	b = AppendInt64(AppendString(b, "op"), int64(m.Op))
	return AppendInt64(AppendString(b, "count"), int64(m.Count)), nil
}

func (m *ManageRequest) decodePayload(d *builder) error {
	return d.fields(func(key string) error {
		switch key {
		case "op":
			return d.field(&m.Op)
		case "count":
			if d.acceptNone() {
				m.Count = 1
				return nil
			}
			return d.field(&m.Count)
		}
		d.skip()
		return nil
	})
}

// ManageResult is the Result of the [Response] to a [ManageRequest], in
// gunicorn's form. Of Spawned and Removed the one of the operation is set.
type ManageResult struct {
	Success       bool   `dirty:"success"`
	Operation     string `dirty:"operation"` // "add" or "remove"
	Requested     int    `dirty:"requested"`
	Spawned       *int   `dirty:"spawned,omitempty"`
	Removed       *int   `dirty:"removed,omitempty"`
	Reason        string `dirty:"reason,omitempty"` // why nothing was spawned
	TotalWorkers  int    `dirty:"total_workers"`
	TargetWorkers int    `dirty:"target_workers"`
}

// HashRequestID returns a request id for a textual one, such as a UUID: the
// 64-bit FNV-1a hash of s. It is the same in every process and release.
// (gunicorn hashes textual ids with Python's hash, which differs from process
// to process; ids only need to come back, so this makes no difference to it.)
func HashRequestID(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // cannot fail
	return h.Sum64()
}
