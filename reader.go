package dirty

import "io"

// Reader reads frames from a stream. It reads ahead: bytes of later frames
// may be in its buffer.
//
// Errors: [io.EOF] only at the border of two frames; a stream that ends
// inside a frame, and everything that [ParseHeader] refuses, is a Fatal
// [*ProtocolError], which every later call returns again. A payload that cannot
// be decoded is one that is not Fatal: the frame was consumed, and the next
// call reads the next frame. Errors of the stream are returned as they are;
// after one that is a timeout the next call goes on where this one stopped.
//
// A Reader must not be used concurrently.
type Reader struct {
	r     io.Reader
	opts  DecodeOptions
	exact bool  // read no byte more than the frame needs
	fixed bool  // the window does not grow for the sake of fewer reads
	err   error // sticky

	// window[begin:end] are the bytes that were read and not consumed.
	window     []byte
	begin, end int

	offset int64 // of the stream, of the next frame

	// The frame that is being read: its header, once inFrame is set, and of a
	// payload that does not fit into the window what has arrived.
	header  Header
	inFrame bool
	payload []byte
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader, opts ...Option) *Reader {
	o := newStreamOptions(opts)
	rd := newReader(r, o)
	return &rd
}

func newReader(r io.Reader, o streamOptions) Reader {
	rd := Reader{
		r:    r,
		opts: DecodeOptions{Limits: o.limits.forDecode(), UseDict: o.useDict},
		err:  o.limits.Validate(),
	}
	if o.bufferSize > 0 {
		rd.window, rd.fixed = make([]byte, o.bufferSize), true
	}
	return rd
}

// ReadMessage reads one message from r, and no byte more. For more than one
// use a [Reader], which needs fewer calls. The errors are those of Reader.
func ReadMessage(r io.Reader) (Message, error) {
	rd := newReader(r, streamOptions{bufferSize: HeaderSize})
	rd.exact = true
	return rd.ReadMessage()
}

// Limits returns the limits that are in force.
func (r *Reader) Limits() Limits { return r.opts.Limits }

// Offset returns the number of bytes of the stream that were consumed: the
// offset of the next frame, or of the one that could not be read.
func (r *Reader) Offset() int64 { return r.offset }

// Buffered returns the number of bytes that were read from the stream and
// not consumed. It is 0 if the peer has sent nothing after the last frame, as
// far as the Reader knows.
func (r *Reader) Buffered() int {
	n := r.end - r.begin + len(r.payload)
	if r.inFrame {
		n += HeaderSize
	}
	return n
}

// NextHeader waits for the next frame and returns its header, for who must know
// its size or what it is before it is read. The frame is read by one of the other
// methods; until then NextHeader returns the same.
func (r *Reader) NextHeader() (Header, error) {
	if err := r.readHeader(); err != nil {
		return Header{}, err
	}
	return r.header, nil
}

// ReadFrame reads the next frame without decoding it. The payload is the
// caller's.
func (r *Reader) ReadFrame() (Frame, error) { return r.ReadFrameInto(nil) }

// ReadFrameInto is [Reader.ReadFrame] with memory for the payload: the
// payload uses buf from its start if its capacity suffices, otherwise new
// memory. For the next frame pass f.Payload[:0], and no frame allocates. On
// an error the contents of buf are undefined, and buf is the caller's again.
func (r *Reader) ReadFrameInto(buf []byte) (Frame, error) {
	if err := r.readHeader(); err != nil {
		return Frame{}, err
	}
	foreign := r.payload == nil && buf != nil && cap(buf) >= int(r.header.Length)
	if foreign {
		r.payload = buf[:0]
	}
	if err := r.readLarge(); err != nil {
		if foreign { // the caller's memory again; keep what has arrived
			r.payload = append([]byte{}, r.payload...)
		}
		return Frame{}, err
	}
	f := Frame{r.header, r.payload}
	r.payload = nil
	r.finishFrame()
	return f, nil
}

// ReadFrameTo is [Reader.ReadFrame] into the memory of b. The payload is valid
// until b is filled again or released.
func (r *Reader) ReadFrameTo(b *FrameBuffer) (Frame, error) {
	b.Release()
	if err := r.readHeader(); err != nil {
		return Frame{}, err
	}
	f, err := r.ReadFrameInto(b.take(int(r.header.Length)))
	if err != nil {
		b.Release()
		return Frame{}, err
	}
	b.hold(f)
	return f, nil
}

// ReadMessage reads and decodes the next frame. The message owns its memory:
// a large byte slice in it is the memory into which it was read.
func (r *Reader) ReadMessage() (Message, error) {
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	n := int(r.header.Length)
	if r.payload == nil && n <= r.largestWindow() {
		if err := r.fill(n); err != nil {
			return nil, r.failInPayload(err, r.end-r.begin)
		}
		payload := r.window[r.begin : r.begin+n : r.begin+n]
		m, err := r.opts.DecodeFrame(Frame{r.header, payload})
		r.begin += n
		r.finishFrame()
		return m, err
	}
	var b FrameBuffer
	defer b.Release()
	if _, err := r.ReadFrameTo(&b); err != nil {
		return nil, err
	}
	return b.DecodeFrame(r.opts)
}

// finishFrame notes that the frame was read whole.
func (r *Reader) finishFrame() {
	r.offset += HeaderSize + int64(r.header.Length)
	r.inFrame = false
}

// readHeader reads the next header, unless that was done before a timeout.
func (r *Reader) readHeader() error {
	if r.err != nil {
		return r.err
	}
	if r.inFrame {
		return nil
	}
	if err := r.fill(HeaderSize); err != nil {
		got := r.end - r.begin
		if err == io.EOF && got > 0 {
			return r.fail(framingError(io.ErrUnexpectedEOF, ruleHeaderLength, 0, HeaderSize, int64(got)))
		}
		return err
	}
	h, err := parseHeader(r.window[r.begin:r.end], r.opts.Limits.MaxPayload)
	if err != nil {
		return r.fail(err)
	}
	r.begin += HeaderSize
	r.header, r.inFrame = h, true
	return nil
}

// fail makes a fault of the frames sticky.
func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// failInPayload is the error for a stream that stopped after some bytes of a
// payload.
func (r *Reader) failInPayload(err error, got int) error {
	if err == io.EOF {
		return r.fail(shortFrame(r.header, got))
	}
	return err
}

const (
	minWindow = 4 << 10
	maxWindow = 64 << 10

	// firstStep is how much is allocated for a payload on the header's word
	// alone; then at most growth times of what has arrived.
	firstStep = 1 << 20
	growth    = 8
)

// fill reads until n bytes are in the window, which grows if it must.
func (r *Reader) fill(n int) error {
	if r.end-r.begin >= n {
		return nil
	}
	r.makeRoom(n)
	limit := len(r.window)
	if r.exact {
		limit = n
	}
	for empty := 0; r.end < n; {
		m, err := r.r.Read(r.window[r.end:limit])
		r.end += m
		switch {
		case r.end >= n:
			return nil
		case err != nil:
			return err
		case m > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// maxEmptyReads is how often in a row a stream may return nothing.
const maxEmptyReads = 100

// largestWindow returns how large a payload the window may hold.
func (r *Reader) largestWindow() int {
	if r.fixed {
		return len(r.window)
	}
	return maxWindow
}

// makeRoom moves what is buffered to the start of the window, and makes it
// larger if n bytes do not fit, or if it was full: then the peer sends faster
// than we read. A large frame fills it as well, and is read better past it.
func (r *Reader) makeRoom(n int) {
	size := len(r.window)
	if !r.fixed {
		if r.end == size && r.header.Length < maxWindow/2 {
			size = min(2*size, maxWindow)
		}
		size = max(size, n, minWindow)
	}
	window := r.window
	if len(window) < size {
		window = make([]byte, size)
	}
	r.end = copy(window, r.window[r.begin:r.end])
	r.window, r.begin = window, 0
}

// readLarge reads the rest of the payload to r.payload, past the window. It
// trusts the header no further than firstStep; beyond that the memory grows
// by a factor as bytes arrive, in steps that end just at the length, so that
// at most an eighth of the payload is copied again.
func (r *Reader) readLarge() error {
	n := int(r.header.Length)
	if r.payload == nil {
		r.payload = make([]byte, 0, firstSize(n))
	}
	for empty := 0; len(r.payload) < n; {
		got := len(r.payload)
		if got == cap(r.payload) {
			r.payload = append(make([]byte, 0, min(n, max(got*growth, firstSize(n)))), r.payload...)
		}
		free := r.payload[got:min(n, cap(r.payload))]
		if r.begin < r.end {
			m := copy(free, r.window[r.begin:r.end])
			r.begin += m
			r.payload = r.payload[:got+m]
			continue
		}
		m, err := r.r.Read(free)
		r.payload = r.payload[:got+m]
		switch {
		case got+m == n:
			return nil
		case err != nil:
			return r.failInPayload(err, got+m)
		case m > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// firstSize returns what to allocate at first for n bytes.
func firstSize(n int) int {
	for n > firstStep {
		n = (n + growth - 1) / growth
	}
	return n
}
