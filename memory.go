package dirty

import (
	"math/bits"
	"sync"
)

// The rule for the memory of payloads is in this file and nowhere else. Payloads
// are read into memory that is used again. What is decoded from a payload owns its
// memory, so it is copied. Large bytes are not copied: they refer to the payload,
// and then its memory is never used again. How large they must be is in limits.go.

const (
	// keptPayload is the most memory, in bytes, that a FrameBuffer keeps from
	// one frame to the next. Larger memory goes back to a pool, so that idle
	// connections hold none of it.
	keptPayload = 1 << 10

	// sharedMemory is the most memory, in bytes, that goes back to a pool, unless
	// FrameBuffer.ReuseLarge is set.
	sharedMemory = 1 << 20
)

// FrameBuffer is memory for frames that are read one after the other and decoded.
// [Reader.ReadFrameTo] fills it. The zero value is ready to use. Between frames it
// keeps at most 1 KiB. It must not be used concurrently, nor be copied.
type FrameBuffer struct {
	// ReuseLarge has the memory of payloads above 1 MiB used again, too. It is for
	// forwarders, which decode no large bytes: those would refer to that memory. The
	// collector frees what was not used for a while. Set it before the first frame.
	ReuseLarge bool

	frame   Frame
	small   []byte  // memory of up to keptPayload bytes, which stays
	large   *[]byte // more memory, from a pool; set while the frame is in it
	aliased bool    // something that was decoded refers to the payload
}

// Release drops the frame, so that others can use the memory of a large payload.
// Call it as soon as the frame is decoded, or at least before a wait. b can be
// filled again. ReadFrameTo releases the last frame by itself.
func (b *FrameBuffer) Release() {
	if b.aliased {
		b.small, b.large, b.aliased = nil, nil, false
	}
	switch {
	case b.large == nil:
	case b.ReuseLarge && cap(*b.large) > sharedMemory:
		largePayloads.put(b.large)
	default:
		payloads.put(b.large)
	}
	b.large = nil
	b.frame = Frame{}
}

// DecodeFrame decodes the frame as [DecodeOptions.DecodeFrame] does. The message owns
// its memory. o.AliasBytes has no effect.
func (b *FrameBuffer) DecodeFrame(o DecodeOptions) (Message, error) {
	before := b.lend(&o, b.frame.Payload)
	m, aliased, err := o.decodeFrame(b.frame)
	b.aliased = before || aliased
	return m, err
}

// UnmarshalPayload decodes the payload of the frame as [DecodeOptions.UnmarshalPayload]
// does. What it stores in v owns its memory. o.AliasBytes has no effect.
func (b *FrameBuffer) UnmarshalPayload(o DecodeOptions, v any) error {
	before := b.lend(&o, b.frame.Payload)
	aliased, err := o.unmarshalPayload(b.frame, v)
	b.aliased = before || aliased
	return err
}

// Unmarshal decodes data, which is a value inside the payload, into v as
// [DecodeOptions.Unmarshal] does. What it stores owns its memory. o.AliasBytes has no
// effect.
func (b *FrameBuffer) Unmarshal(o DecodeOptions, data []byte, v any) error {
	before := b.lend(&o, data)
	_, aliased, err := o.unmarshal(data, v, true)
	b.aliased = before || aliased
	return err
}

// UnmarshalField decodes data, which is a value inside the payload, into a field of
// the struct that v points to, as [DecodeOptions.UnmarshalField] does. What it stores
// owns its memory. o.AliasBytes has no effect.
func (b *FrameBuffer) UnmarshalField(o DecodeOptions, data []byte, v any, f Field) error {
	before := b.lend(&o, data)
	aliased, err := o.unmarshalField(data, v, f)
	b.aliased = before || aliased
	return err
}

// lend lets large bytes of data, which is the payload or lies in it, refer to the
// memory of the payload. It does not if that memory is much larger than data, because
// they keep all of it. Until the caller knows better some are taken to refer to it: a
// method of the destination may panic. It returns whether some did before.
func (b *FrameBuffer) lend(o *DecodeOptions, data []byte) (before bool) {
	n := cap(b.frame.Payload)
	o.AliasBytes = len(data) >= n-n/(aliasedPart+1)
	before, b.aliased = b.aliased, true
	return before
}

// take returns memory for a payload of n bytes. It may be too small, or nil.
func (b *FrameBuffer) take(n int) []byte {
	switch {
	case n <= keptPayload:
		return b.small
	case n <= sharedMemory:
		b.large = payloads.get()
		return (*b.large)[:0]
	case b.ReuseLarge:
		if b.large = largePayloads.get(n); b.large != nil {
			return (*b.large)[:0]
		}
	}
	return nil
}

// hold notes the frame and the memory in which its payload is.
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

// memoryPool is a pool of memory that Readers and Writers share.
type memoryPool struct{ pool sync.Pool }

var (
	payloads memoryPool // for payloads that are read; one is held until the whole payload has come
	frames   memoryPool // for frames that are written; one is held until the peer has taken the frame
)

// largePayloads is memory for the large payloads of forwarders. A header alone gets no
// new memory, only some of this.
var largePayloads sizedPools

// sizedPools are pools of memory by size: that of number i has memory of 2^i bytes or
// more, but less than 2^(i+1).
type sizedPools [bits.UintSize]sync.Pool

// get takes memory for n bytes. It is nil if there is none. Memory of about that size
// which is too small is dropped, so that larger memory takes its place.
func (p *sizedPools) get(n int) *[]byte {
	if b, ok := p.pool(n).Get().(*[]byte); ok && cap(*b) >= n {
		return b
	}
	return nil
}

// put gives memory back. Nothing may refer to it any more.
func (p *sizedPools) put(b *[]byte) { p.pool(cap(*b)).Put(b) }

// pool returns the pool for memory of n bytes, which is not 0.
func (p *sizedPools) pool(n int) *sync.Pool { return &p[bits.Len(uint(n))-1] }

// get takes memory from the pool. It may be empty.
func (p *memoryPool) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// put gives memory back to the pool. Nothing may refer to it any more.
func (p *memoryPool) put(b *[]byte) {
	if cap(*b) > sharedMemory {
		*b = nil
	}
	p.pool.Put(b)
}
