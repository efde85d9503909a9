package dirty

import (
	"hash/fnv"
	"slices"
)

// Message is a typed message: one of [*Request], [*Response], [*ErrorReply],
// [*Chunk], [*End], [*StashRequest], [*StatusRequest] and [*ManageRequest], and
// nothing else.
//
// Messages are plain structs. Those that were decoded own their memory. They may
// be used concurrently as long as nobody changes them.
type Message interface {
	Type() MessageType
	RequestID() uint64

	// appendPayload appends the payload: a dict of gunicorn's keys in
	// gunicorn's order, without those that gunicorn leaves out. Equal messages
	// get the same bytes as in gunicorn.
	appendPayload(e *encoder, b []byte) ([]byte, *MarshalError)

	// decodePayload sets the message, which comes from newMessage, from a
	// payload that was checked.
	decodePayload(d *builder) error
}

// newMessage returns a message of the header's type, or nil if there is no such
// type. The fields are as gunicorn takes them if the payload leaves them out.
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

// Request asks an app for the result of an action. The answer is a [*Response], or
// [*Chunk] messages and an [*End] if the action streams, or an [*ErrorReply].
type Request struct {
	ID      uint64
	AppPath string // "module:Class", as in gunicorn's dirty_apps
	Action  string
	Args    []any          // nil is sent as an empty list
	Kwargs  map[string]any // sent with sorted keys; nil is sent as an empty dict

	// OrderedKwargs, unless it is nil, is sent in place of Kwargs. Python
	// functions that take **kwargs see its order. With DecodeOptions.UseDict
	// decoding fills it in place of Kwargs.
	OrderedKwargs Dict
}

// NewRequest returns a request (encode_request).
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

// args reads the positional arguments. None is nil.
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

// kwargs reads the keyword arguments. None is nil.
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

// rawArgs reads a list and leaves its elements encoded.
func (d *builder) rawArgs() []any {
	args := make([]any, d.count())
	for i := range args {
		args[i] = d.rawArg()
	}
	return args
}

// rawKwargs reads a dict and leaves its values encoded.
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

// rawArg reads an argument and leaves it encoded. It may refer to the payload, as
// bytes may, but only if it is almost all of the payload. For bytes that are
// decoded from it later may refer to it in turn, and then keep all of that.
func (d *builder) rawArg() RawValue {
	raw := d.value()
	if d.opts.AliasBytes && len(raw) >= aliasedSize && len(raw) >= len(d.data)-len(d.data)/aliasedPart {
		d.aliased = true
		return raw
	}
	return append(RawValue(nil), raw...)
}

// Response is the answer to a [*Request], a [*StashRequest], a [*StatusRequest] or
// a [*ManageRequest].
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

// ErrorReply says that a request failed. It also ends a stream.
type ErrorReply struct {
	ID  uint64
	Err *RemoteError // nil is sent as an "Unknown error"; decoding never leaves it nil
}

// NewErrorReply returns an error reply with err in gunicorn's terms (encode_error):
//   - If err is or wraps a [*RemoteError], that is sent as it is.
//   - If it is or wraps a kind such as [ErrNoWorkers], it becomes gunicorn's
//     class of that kind.
//   - [context.DeadlineExceeded] and [os.ErrDeadlineExceeded] become a
//     DirtyTimeoutError, a [*ProtocolError] becomes a DirtyProtocolError.
//   - Any other error becomes a DirtyAppError, and nil a DirtyError.
//
// The message is the text of err. U+FFFD replaces bytes that are not UTF-8.
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

// remoteError appends the dict of an ERROR frame.
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

// detailOrder is the order of the details in gunicorn's error classes. Other details
// come after them, sorted by key.
var detailOrder = [...]string{
	"timeout", "socket_path", "worker_id", "app_path", "action", "traceback",
}

// details appends the details of an error.
func (e *encoder) details(b []byte, details map[string]any) ([]byte, *MarshalError) {
	if err := e.enter(b, KindDict, len(details), 2); err != nil {
		return b, err
	}
	base := len(e.entries)
	for _, key := range detailOrder {
		if v, ok := details[key]; ok {
			e.entries = append(e.entries, Entry{key, v})
		}
	}
	known := len(e.entries)
	for key, v := range details {
		if !slices.Contains(detailOrder[:], key) {
			e.entries = append(e.entries, Entry{key, v})
		}
	}
	entries := e.entries[base:]
	sortEntries(entries[known-base:])
	b = AppendDictHeader(b, len(details))
	var err *MarshalError
	for i := range entries {
		if b, err = e.string(b, entries[i].Key); err == nil {
			b, err = e.any(b, entries[i].Value, 3)
		}
		if err != nil {
			return b, err.inDict(entries[i].Key)
		}
	}
	clear(e.entries[base:])
	e.entries = e.entries[:base]
	return b, nil
}

// remoteError reads the dict of an ERROR frame, as gunicorn's from_dict does. Any
// name is kept as the type. If the type is no string, the error is a DirtyError.
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

// StashRequest is an operation on a table of the arbiter. Not every operation uses
// every field, see [StashOp]. The arbiter takes None for a field that is left out.
type StashRequest struct {
	ID      uint64
	Op      StashOp
	Table   string
	Key     any    // a scalar; left out if it is nil
	Value   any    // left out if it is nil
	Pattern string // matches keys as Python's fnmatch does; left out if it is empty
}

// NewStashRequest returns a stash operation (encode_stash).
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

// StatusRequest asks for the state of the arbiter and its workers. The answer is a
// [*Response] with a [StatusResult].
type StatusRequest struct{ ID uint64 }

// NewStatusRequest returns a status query (encode_status).
func NewStatusRequest(id uint64) *StatusRequest { return &StatusRequest{ID: id} }

// Type returns TypeStatus.
func (*StatusRequest) Type() MessageType { return TypeStatus }

// RequestID returns ID.
func (m *StatusRequest) RequestID() uint64 { return m.ID }

func (*StatusRequest) appendPayload(_ *encoder, b []byte) ([]byte, *MarshalError) { return b, nil }

func (*StatusRequest) decodePayload(d *builder) error { return d.noFields() }

// StatusResult is what the Result of the [Response] to a [StatusRequest] holds. It
// has gunicorn's keys: encode it, or decode a result into it.
type StatusResult struct {
	ArbiterPID  int            `dirty:"arbiter_pid"`
	Workers     []WorkerStatus `dirty:"workers"` // sorted by Age
	WorkerCount int            `dirty:"worker_count"`
	Apps        []string       `dirty:"apps"` // those that are configured
}

// WorkerStatus is a worker in a [StatusResult].
type WorkerStatus struct {
	PID    int      `dirty:"pid"`
	Age    int      `dirty:"age"`    // the arbiter numbers its workers in the order in which it starts them
	Apps   []string `dirty:"apps"`   // those that the worker runs
	Booted bool     `dirty:"booted"` // gunicorn always sends false

	// LastHeartbeat is how many seconds ago the worker has given a sign of
	// life. If it has given none yet, gunicorn sends a large negative number.
	LastHeartbeat *float64 `dirty:"last_heartbeat"`
}

// ManageRequest adds or removes workers. The answer is a [*Response] with a
// [ManageResult].
type ManageRequest struct {
	ID    uint64
	Op    ManageOp
	Count int // how many workers; the arbiter takes less than 1 as 1
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

// ManageResult is what the Result of the [Response] to a [ManageRequest] holds. It
// has gunicorn's keys: encode it, or decode a result into it.
type ManageResult struct {
	Success       bool   `dirty:"success"`
	Operation     string `dirty:"operation"` // "add" or "remove"
	Requested     int    `dirty:"requested"`
	Spawned       *int   `dirty:"spawned,omitempty"` // set if workers were to be added
	Removed       *int   `dirty:"removed,omitempty"` // set if workers were to be removed
	Reason        string `dirty:"reason,omitempty"`  // why none was added
	TotalWorkers  int    `dirty:"total_workers"`
	TargetWorkers int    `dirty:"target_workers"`
}

// HashRequestID returns a request id for a text such as a UUID: the 64-bit FNV-1a
// hash of s. It is the same in every process and release.
//
// gunicorn uses Python's hash for this, which differs from process to process.
// That does not matter, because an answer only repeats the id of its request.
func HashRequestID(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // cannot fail
	return h.Sum64()
}
