package dirty

import (
	"fmt"
	"math"
)

// The defaults of [Limits] that are not gunicorn's own numbers.
const (
	// DefaultMaxDepth is how deep lists and dicts may nest in what is
	// decoded. gunicorn cannot encode anything deeper, because CPython's
	// recursion limit is 1000.
	DefaultMaxDepth = 1000

	// DefaultMaxEncodeDepth is how deep lists and dicts may nest in what is
	// encoded. On every supported CPython the arbiter can read 962 levels. If
	// a payload is deeper, it closes the connection without an answer. The
	// difference is a margin for Python functions that are on the stack
	// already.
	DefaultMaxEncodeDepth = 900

	// DefaultMaxMemory is how many bytes of memory a payload may decode to:
	// 512 MiB. See [Limits.MaxMemory].
	DefaultMaxMemory = 512 << 20

	// maxDepth is the largest Limits.MaxDepth. Encoding and decoding recurse,
	// and Go ends the process when a stack grows beyond 1 GB.
	maxDepth = 100_000

	// maxMemory is the largest Limits.MaxMemory.
	maxMemory = min(16<<30, math.MaxInt/2+1)
)

// Limits bound what is decoded and encoded. A field that is 0 has its default.
// There is no value for "unlimited". With the defaults everything that gunicorn
// can send is accepted, except payloads that would take more than 512 MiB of
// memory once they are decoded.
//
// Limits are plain values, which can be copied and used concurrently.
type Limits struct {
	// MaxPayload is the largest payload of a frame in bytes. It is also the
	// largest size of one bytes or string value. The default, which is also
	// the most, is [MaxPayloadSize].
	MaxPayload int

	// MaxDepth is how deep lists and dicts may nest. A list of scalars has
	// depth 1. The default is [DefaultMaxDepth] for decoding and
	// [DefaultMaxEncodeDepth] for encoding. The most is 100,000.
	MaxDepth int

	// MaxElements is the largest number of elements of one list, and of
	// entries of one dict. The default, which is also the most, is the
	// constant [MaxElements].
	MaxElements int

	// MaxMemory is how much memory a decoded payload may take, in bytes. It
	// has no effect on encoding. The default is [DefaultMaxMemory]. The most
	// is 16 GiB, and 1 GiB on 32-bit machines.
	//
	// The memory is estimated before anything is built, as that of an any on a
	// 64-bit machine. Each element of a list counts 16 bytes. In addition a
	// number counts 8 bytes, a string 16 and its length, bytes 24 and their
	// length, a list 24, and a dict of one to eight entries 336. The default
	// refuses only payloads of tens of MiB that hold hardly anything but None
	// and lists and dicts of no or one element.
	//
	// An element of a typed destination may take more memory than that. To
	// bound it, lower MaxElements or MaxPayload.
	MaxMemory int
}

// Validate returns an error if a field is out of its range. The functions and
// types that take limits call it themselves. Call it to find a wrong
// configuration early.
func (l Limits) Validate() error {
	if l == (Limits{}) {
		return nil
	}
	for _, f := range [...]struct {
		name     string
		got, max int
	}{
		{"MaxPayload", l.MaxPayload, MaxPayloadSize},
		{"MaxDepth", l.MaxDepth, maxDepth},
		{"MaxElements", l.MaxElements, MaxElements},
		{"MaxMemory", l.MaxMemory, maxMemory},
	} {
		if f.got < 0 || f.got > f.max {
			return fmt.Errorf("dirty: Limits.%s is %d, want 0 (the default) to %d", f.name, f.got, f.max)
		}
	}
	return nil
}

// forDecode returns the limits of decoding, with every default filled in.
func (l Limits) forDecode() Limits { return l.withDefaults(DefaultMaxDepth) }

// forEncode returns the limits of encoding, with every default filled in. They
// differ in the default depth.
func (l Limits) forEncode() Limits { return l.withDefaults(DefaultMaxEncodeDepth) }

func (l Limits) withDefaults(depth int) Limits {
	l.MaxPayload = defaultTo(l.MaxPayload, MaxPayloadSize)
	l.MaxDepth = defaultTo(l.MaxDepth, depth)
	l.MaxElements = defaultTo(l.MaxElements, MaxElements)
	l.MaxMemory = defaultTo(l.MaxMemory, DefaultMaxMemory)
	return l
}

func defaultTo(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// The memory of decoded values on a 64-bit machine, in bytes, for
// Limits.MaxMemory. TestAmplification compares these numbers with what is
// really allocated.
const (
	slotSize  = 16  // an element of a list: an interface value
	numberBox = 8   // an int64 or a float64 in an interface value
	stringBox = 16  // the header of a string
	sliceBox  = 24  // the header of a slice
	mapBox    = 48  // the header of a map
	smallMap  = 288 // the entries of a map of 1 to mapGroup entries; a Dict takes less
	mapEntry  = 80  // an entry of a larger map that has just grown
	mapGroup  = 8   // how many entries a group of Go's maps holds
)

// allocated returns about how much memory the allocator takes for n bytes. It
// rounds up, by up to an eighth. From 32 KiB on it takes whole pages of 8 KiB.
func allocated(n int64) int64 {
	if n <= 32<<10 {
		return n + n/8
	}
	return (n + 8191) &^ 8191
}

// roundUp returns n rounded up to words of 8 bytes, the smallest step of the
// allocator.
func roundUp(n int) int64 { return (int64(n) + 7) &^ 7 }

// Small decoded values share memory. A caller that keeps one of them keeps the
// values that share its memory, and what those refer to. These constants bound
// how much that is.
const (
	sharedList = 32      // the most elements of a list that shares memory
	slabSize   = 255     // how many elements share memory; with a word of the allocator 4 KiB
	sharedText = 128     // the most bytes of a string that shares memory
	arenaSize  = 4 << 10 // how many bytes of strings share memory
)

// A large bytes value may refer to the payload instead of being copied, see
// DecodeOptions.AliasBytes. It then keeps the memory of the whole payload.
const (
	aliasedSize = 64 << 10 // the fewest bytes of such a value
	aliasedPart = 8        // it must be at least this part (an eighth) of the payload
)
