package dirty

// EncodeOptions are the options of encoding; the zero value is what the
// functions [Marshal], [Append] and [AppendMessage] use. It may be used
// concurrently.
type EncodeOptions struct {
	Limits Limits // MaxDepth is DefaultMaxEncodeDepth by default
}

// DecodeOptions are the options of decoding; the zero value is what the
// functions [Unmarshal], [UnmarshalFirst], [Validate] and [DecodeMessage] use.
// It may be used concurrently.
type DecodeOptions struct {
	Limits Limits

	// UseDict makes every dict that goes into an any a Dict instead of a
	// map[string]any. It is faster, and keeps the order.
	UseDict bool

	// AliasBytes lets byte slices refer to the data instead of copying it, if
	// they have 64 KiB or more and are at least an eighth of the data. The
	// data must not be changed or used for anything else afterwards.
	AliasBytes bool

	// RawArgs keeps the arguments and keyword arguments of a Request as they
	// are: each is a RawValue that nothing was decoded of. It is for code that
	// decodes them into Go types of its own. It has no effect on other
	// messages and values.
	RawArgs bool

	// DisallowUnknownFields makes a key that has no struct field an
	// ErrUnknownField; by default it is skipped.
	DisallowUnknownFields bool
}

// Option is an option of [NewReader], [NewWriter] and [NewConn].
type Option func(*streamOptions)

type streamOptions struct {
	limits     Limits
	useDict    bool
	bufferSize int
}

// WithLimits sets the limits of what is read and written. Limits out of
// range are reported by every call that would need them.
func WithLimits(l Limits) Option { return func(o *streamOptions) { o.limits = l } }

// WithDict makes ReadMessage decode dicts to [Dict], as
// DecodeOptions.UseDict does.
func WithDict() Option { return func(o *streamOptions) { o.useDict = true } }

// WithBufferSize sets the size of the read buffer in bytes; by default it
// grows from 4 KiB to 64 KiB as frames demand. Frames that fit are read with
// as few calls as possible. Less than [HeaderSize] means HeaderSize.
func WithBufferSize(n int) Option {
	return func(o *streamOptions) { o.bufferSize = max(n, HeaderSize) }
}

func newStreamOptions(opts []Option) streamOptions {
	var o streamOptions
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
