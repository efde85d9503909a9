package dirty

import "sync"

// The memory of payloads has one rule, and this file is its home. A payload is
// read into memory that is used again. What is decoded from it owns its memory.
// Only large bytes are not copied: they take the memory of the payload with
// them, and then it is not used again. From which size on is said in limits.go.

const (
	// keptPayload is the largest memory, in bytes, that a FrameBuffer keeps
	// from one frame to the next. Larger memory is shared by all, so that
	// idle connections hold none of it.
	keptPayload = 4 << 10

	// sharedMemory is the largest memory, in bytes, that is shared.
	sharedMemory = 1 << 20
)

// FrameBuffer is memory for frames that are read one after the other and
// decoded: [Reader.ReadFrameTo] fills it. The zero value is ready to use. It
// keeps at most 4 KiB between frames, and must not be used concurrently nor be
// copied.
type FrameBuffer struct {
	frame   Frame
	small   []byte  // of up to keptPayload; kept
	large   *[]byte // of more; shared, while a frame lies in it
	aliased bool    // something that was decoded refers to the payload
}

// take returns memory for a payload of n bytes, or nil if there is none.
func (b *FrameBuffer) take(n int) []byte {
	switch {
	case n <= keptPayload:
		return b.small
	case n <= sharedMemory:
		b.large = payloads.get()
		return (*b.large)[:0]
	}
	return nil
}

// hold notes the frame, and where its payload lies.
func (b *FrameBuffer) hold(f Frame) {
	b.frame = f
	switch {
	case cap(f.Payload) <= keptPayload:
		b.small = f.Payload[:0]
	case b.large == nil:
		payload := []byte(f.Payload)
		b.large = &payload
	default:
		*b.large = f.Payload
	}
}

// Release drops the frame and lets others use the memory of a large payload.
// Do it as soon as the frame was decoded, or before a wait. b can be filled
// again.
func (b *FrameBuffer) Release() {
	if b.aliased {
		b.small, b.large, b.aliased = nil, nil, false
	}
	if b.large != nil {
		payloads.put(b.large)
		b.large = nil
	}
	b.frame = Frame{}
}

// DecodeFrame decodes the frame as [DecodeOptions.DecodeFrame] does. The
// message owns its memory; o.AliasBytes has no effect.
func (b *FrameBuffer) DecodeFrame(o DecodeOptions) (m Message, err error) {
	err = b.decode(&o, func() (aliased bool, err error) {
		m, aliased, err = o.decodeFrame(b.frame)
		return aliased, err
	})
	return m, err
}

// UnmarshalPayload decodes the payload of the frame as
// [DecodeOptions.UnmarshalPayload] does. What it stores in v owns its memory;
// o.AliasBytes has no effect.
func (b *FrameBuffer) UnmarshalPayload(o DecodeOptions, v any) error {
	return b.decode(&o, func() (aliased bool, err error) { return o.unmarshalPayload(b.frame, v) })
}

// decode lets bytes refer to the payload, unless they would keep much more
// memory than themselves, and notes whether some do. If user code panics while
// it decodes, some may.
func (b *FrameBuffer) decode(o *DecodeOptions, decode func() (aliased bool, err error)) error {
	n := len(b.frame.Payload)
	o.AliasBytes = cap(b.frame.Payload) <= n+n/aliasedPart
	before := b.aliased
	b.aliased = true
	aliased, err := decode()
	b.aliased = before || aliased
	return err
}

// scratch is memory for frames or payloads that Readers and Writers share.
type scratch struct{ pool sync.Pool }

var (
	payloads scratch // taken on the word of a header
	frames   scratch // a small frame may wait in it for its reader
)

func (s *scratch) get() *[]byte {
	if b, ok := s.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// put takes memory back, to which nothing refers any more.
func (s *scratch) put(b *[]byte) {
	if cap(*b) > sharedMemory {
		*b = nil
	}
	s.pool.Put(b)
}
