package dirty

// EncodeOptions are the options of encoding. The functions [Marshal], [Append] and
// [AppendMessage] use the zero value. EncodeOptions may be used concurrently.
type EncodeOptions struct {
	Limits Limits // the default of MaxDepth is DefaultMaxEncodeDepth
}

// DecodeOptions are the options of decoding. The functions [Unmarshal],
// [UnmarshalFirst], [Validate] and [DecodeMessage] use the zero value.
// DecodeOptions may be used concurrently.
type DecodeOptions struct {
	Limits Limits

	// UseDict makes every dict that goes into an any a Dict instead of a
	// map[string]any. A Dict keeps the order and is faster to decode.
	UseDict bool

	// AliasBytes lets large byte slices refer to the data instead of copying
	// it: those of 64 KiB or more that are at least an eighth of the data.
	// Afterwards the data must not be changed, for as long as they are used.
	AliasBytes bool

	// RawArgs leaves the arguments and keyword arguments of a Request encoded:
	// each of them is a RawValue. It is for code that decodes them into Go
	// types of its own. It has no effect on other messages and values.
	RawArgs bool

	// DisallowUnknownFields makes a key without a struct field an
	// ErrUnknownField. By default such a key is skipped.
	DisallowUnknownFields bool
}

// Option is an option of [NewReader], [NewWriter] and [NewConn].
type Option func(*streamOptions)

// streamOptions are what the Options of a Reader, a Writer or a Conn set.
type streamOptions struct {
	limits     Limits
	useDict    bool
	bufferSize int
	sendBuffer int
}

// WithLimits sets the limits of what is read and written. If they are out of
// range, every call that reads or writes returns that error.
func WithLimits(l Limits) Option { return func(o *streamOptions) { o.limits = l } }

// WithDict makes ReadMessage decode dicts to [Dict], as DecodeOptions.UseDict
// says.
func WithDict() Option { return func(o *streamOptions) { o.useDict = true } }

// WithBufferSize fixes the size of the read buffer, in bytes. Frames that fit into it
// are read with few calls. A size below [HeaderSize] means HeaderSize. By default a
// Unix or TCP connection has one of 64 KiB while bytes come, and none while it waits
// for a frame (but on Windows); that of another stream grows from 4 KiB to 64 KiB as
// frames demand.
func WithBufferSize(n int) Option {
	return func(o *streamOptions) { o.bufferSize = max(n, HeaderSize) }
}

// WithSendBuffer sets the size of the system's send buffer of a Unix or TCP
// connection to n bytes, once a frame of 256 KiB or more is written. The system
// may allow less. By default, and for other writers, nothing is set. A peer that
// reads in small pieces, as gunicorn's client does, gets larger ones. A peer that
// does not read can make the system hold up to twice the size.
func WithSendBuffer(n int) Option {
	return func(o *streamOptions) { o.sendBuffer = max(n, 0) }
}

func newStreamOptions(opts []Option) streamOptions {
	var o streamOptions
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
