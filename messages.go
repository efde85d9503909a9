package dirty

import "hash/fnv"

// Message is a typed message: one of [*Request], [*Response], [*ErrorReply],
// [*Chunk], [*End], [*StashRequest], [*StatusRequest] and [*ManageRequest], and nothing else.
//
// Messages are plain structs; decoded ones own their memory. They may be
// read concurrently.
type Message interface {
	Type() MessageType
	RequestID() uint64

	// appendPayload appends what follows the header.
	appendPayload(e *encoder, b []byte) ([]byte, *MarshalError)
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

// Response is the result of a request, a stash operation, a status query or
// a manage operation.
type Response struct {
	ID     uint64
	Result any
}

// ErrorReply says that a call failed. It also ends a stream.
type ErrorReply struct {
	ID  uint64
	Err *RemoteError // never nil after decoding
}

// Chunk is one value of a stream.
type Chunk struct {
	ID   uint64
	Data any
}

// End says that a stream is complete.
type End struct{ ID uint64 }

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

// StatusRequest asks for the state of the arbiter and its workers.
type StatusRequest struct{ ID uint64 }

// ManageRequest adds or removes workers.
type ManageRequest struct {
	ID    uint64
	Op    ManageOp
	Count int // the arbiter takes less than 1 as 1
}

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

// NewRequest returns a request (encode_request). Nil args and kwargs are
// sent as an empty list and an empty dict.
func NewRequest(id uint64, appPath, action string, args []any, kwargs map[string]any) *Request {
	return &Request{ID: id, AppPath: appPath, Action: action, Args: args, Kwargs: kwargs}
}

// NewResponse returns a response (encode_response).
func NewResponse(id uint64, result any) *Response { return &Response{ID: id, Result: result} }

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

// NewChunk returns a chunk (encode_chunk).
func NewChunk(id uint64, data any) *Chunk { return &Chunk{ID: id, Data: data} }

// NewEnd returns an end (encode_end).
func NewEnd(id uint64) *End { return &End{ID: id} }

// NewStashRequest returns a stash operation (encode_stash). A nil key, a nil value
// and an empty pattern are left out.
func NewStashRequest(id uint64, op StashOp, table string, key, value any, pattern string) *StashRequest {
	return &StashRequest{ID: id, Op: op, Table: table, Key: key, Value: value, Pattern: pattern}
}

// NewStatusRequest returns a status query (encode_status).
func NewStatusRequest(id uint64) *StatusRequest { return &StatusRequest{ID: id} }

// NewManageRequest returns a manage operation (encode_manage).
func NewManageRequest(id uint64, op ManageOp, count int) *ManageRequest {
	return &ManageRequest{ID: id, Op: op, Count: count}
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

// Type returns TypeRequest.
func (*Request) Type() MessageType { return TypeRequest }

// Type returns TypeResponse.
func (*Response) Type() MessageType { return TypeResponse }

// Type returns TypeError.
func (*ErrorReply) Type() MessageType { return TypeError }

// Type returns TypeChunk.
func (*Chunk) Type() MessageType { return TypeChunk }

// Type returns TypeEnd.
func (*End) Type() MessageType { return TypeEnd }

// Type returns TypeStash.
func (*StashRequest) Type() MessageType { return TypeStash }

// Type returns TypeStatus.
func (*StatusRequest) Type() MessageType { return TypeStatus }

// Type returns TypeManage.
func (*ManageRequest) Type() MessageType { return TypeManage }

// RequestID returns ID.
func (m *Request) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *Response) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *ErrorReply) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *Chunk) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *End) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *StashRequest) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *StatusRequest) RequestID() uint64 { return m.ID }

// RequestID returns ID.
func (m *ManageRequest) RequestID() uint64 { return m.ID }
