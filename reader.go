package dirty

import (
	"errors"
	"fmt"
	"io"
)

// Reader reads frames from a stream. It reads ahead, so its buffer may hold bytes of
// later frames. [NewReader] makes one. A Reader must not be used concurrently.
//
// Its methods return these errors:
//
//   - [io.EOF], if the stream ends between two frames.
//   - A Fatal [*ProtocolError], if the stream ends inside a frame or a header is
//     one that [ParseHeader] refuses. Every later call returns it again.
//   - A [*ProtocolError] that is not Fatal, if a payload cannot be decoded. The
//     frame was consumed, and the next call reads the next frame.
//   - An error that every later call returns again, if the stream says that it has
//     read more bytes than were asked for, or less than none.
//   - Errors of the stream, as they are. After a timeout the next call goes on
//     where this one stopped, even inside a frame.
type Reader struct {
	r     io.Reader
	opts  DecodeOptions
	exact bool  // read no more bytes than the frame has
	fixed bool  // keep the size of the window
	err   error // the first fatal fault, which every later call returns

	// window[begin:end] are the bytes that were read from the stream and that
	// no frame has taken yet. Always 0 <= begin <= end <= len(window).
	window     []byte
	begin, end int

	wait waiting // for a stream that is a socket

	offset int64 // where the frame that is next, or being read, begins in the stream

	// The frame that is being read. inFrame is set from when its header was
	// read until its payload was. A payload that does not fit the window is
	// collected in payload. It is nil until then; after that it holds what has
	// arrived, so 0 <= len(payload) <= header.Length. A timeout changes none of
	// this.
	header  Header
	inFrame bool
	payload []byte
	taken   int // bytes that ReadPayload has returned
}

const (
	minWindow = 4 << 10  // how small the window is at first, in bytes
	maxWindow = 64 << 10 // how large it may grow, in bytes

	// firstStep is the most bytes that are allocated for a payload before any
	// of it has arrived. After that the memory has at most growth times the
	// size of what has arrived.
	firstStep = 1 << 20
	growth    = 8

	// maxEmptyReads is how often in a row a stream may return no bytes and no
	// error.
	maxEmptyReads = 100
)

// errInPieces is for methods that cannot go on where [Reader.ReadPayload] or
// [Writer.WritePayload] has stopped.
var errInPieces = errors.New("dirty: only a part of the payload of a frame was read or written")

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
	} else {
		rd.wait.rawRead = findRawRead(r)
	}
	return rd
}

// ReadMessage reads one message from r with the default options. It reads no byte
// that follows the message. To read several messages use a [Reader], which calls
// r.Read less often. The errors are those of a Reader.
func ReadMessage(r io.Reader) (Message, error) {
	rd := newReader(r, streamOptions{bufferSize: HeaderSize})
	rd.exact = true
	return rd.ReadMessage()
}

// Limits returns the limits that are in force, with every default filled in.
func (r *Reader) Limits() Limits { return r.opts.Limits }

// Offset returns how many bytes of the stream were consumed. That is where the next
// frame begins, or the one that could not be read.
func (r *Reader) Offset() int64 { return r.offset }

// Buffered returns how many bytes were read from the stream and not consumed. It is
// 0 if the Reader has seen nothing after the last frame.
func (r *Reader) Buffered() int {
	n := r.end - r.begin + len(r.payload)
	if r.inFrame {
		n += HeaderSize
	}
	return n
}

// NextHeader waits for the next frame and returns its header. It is for callers that
// need the type or the size of the frame before they read it. The frame is not
// consumed: until another method reads it, NextHeader returns the same header.
func (r *Reader) NextHeader() (Header, error) {
	if err := r.readHeader(); err != nil {
		return Header{}, err
	}
	return r.header, nil
}

// ReadFrame reads the next frame and does not decode it. The payload belongs to the
// caller.
func (r *Reader) ReadFrame() (Frame, error) { return r.ReadFrameInto(nil) }

// ReadFrameInto is [Reader.ReadFrame] with memory for the payload. The payload is put
// at the start of buf if the capacity of buf suffices, otherwise into new memory.
// If the next call gets f.Payload[:0], it mostly allocates nothing. On an error
// buf belongs to the caller again, and may hold anything.
func (r *Reader) ReadFrameInto(buf []byte) (Frame, error) {
	if err := r.readHeader(); err != nil {
		return Frame{}, err
	}
	foreign := r.payload == nil && buf != nil && cap(buf) >= int(r.header.Length)
	if foreign {
		r.payload = buf[:0]
	}
	if err := r.readLarge(); err != nil {
		if foreign { // buf is the caller's again, so keep a copy of what has arrived
			r.payload = append([]byte{}, r.payload...)
		}
		return Frame{}, err
	}
	f := Frame{r.header, r.payload}
	r.payload = nil
	r.finishFrame()
	return f, nil
}

// ReadFrameTo is [Reader.ReadFrame] into the memory of b, which it releases first.
// The payload is valid until b is filled again or released. On an error b is
// empty.
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

// ReadMessage reads and decodes the next frame. The message owns its memory. Large
// byte slices in it are not copied but refer to the memory into which they were
// read.
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

// finishFrame notes that the whole frame was read.
func (r *Reader) finishFrame() {
	r.offset += HeaderSize + int64(r.header.Length)
	r.inFrame, r.taken = false, 0
	r.releaseWindow()
}

// readHeader reads the next header, unless that was done before a timeout.
func (r *Reader) readHeader() error {
	if r.err != nil {
		return r.err
	}
	if r.inFrame && r.taken > 0 {
		return errInPieces
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

// fail notes a fatal fault.
func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// failInPayload returns the error for a stream that stopped with err after got bytes
// of the payload.
func (r *Reader) failInPayload(err error, got int) error {
	if err == io.EOF {
		return r.fail(shortFrame(r.header, got))
	}
	return err
}

// fill reads until the window has n bytes, and makes it larger if it must.
func (r *Reader) fill(n int) error {
	if r.end-r.begin >= n {
		return nil
	}
	if r.window == nil && r.wait.rawRead != nil {
		if err := r.waitForWindow(); err != nil || r.end >= n {
			return err
		}
	}
	r.makeRoom(n)
	limit := len(r.window)
	if r.exact {
		limit = n
	}
	for empty := 0; ; {
		m, err := r.read(r.window[r.end:limit])
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
}

// read reads from the stream. A count that cannot be is an error, which stays: where
// in the stream the Reader is, nobody knows then.
func (r *Reader) read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if n < 0 || n > len(b) {
		return 0, r.fail(fmt.Errorf("dirty: the stream says that it has read %d bytes into %d", n, len(b)))
	}
	return n, err
}

// largestWindow returns how many bytes the window may have.
func (r *Reader) largestWindow() int {
	if r.fixed {
		return len(r.window)
	}
	return maxWindow
}

// makeRoom moves what is buffered to the start of the window. It makes the window
// larger if n bytes do not fit. It also does if the window was full, because then
// the peer sends faster than we read; but not if the window was full of a large
// frame, which is better read past it.
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

// readLarge reads the rest of the payload into r.payload, past the window. It trusts
// the length in the header up to firstStep. For more than that the memory grows
// by a factor as bytes arrive. The last step ends just at the length, and at most
// an eighth of the payload is copied once more.
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
		r.releaseWindow()
		m, err := r.read(free)
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

// firstSize returns how many bytes to allocate at first for a payload of n bytes,
// so that steps of growth lead to n.
func firstSize(n int) int {
	for n > firstStep {
		n = (n + growth - 1) / growth
	}
	return n
}
