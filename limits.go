package dirty

import (
	"fmt"
	"math"
)

// The defaults of [Limits] that are not gunicorn's own numbers.
const (
	// DefaultMaxDepth is how deep lists and dicts may nest in what is
	// decoded. CPython cannot encode deeper: its recursion limit is 1000.
	DefaultMaxDepth = 1000

	// DefaultMaxEncodeDepth is how deep lists and dicts may nest in what is
	// encoded. The arbiter reads a payload of 962 levels on every supported
	// CPython and closes the connection without a word on a deeper one; the
	// margin is for what runs below it on the stack.
	DefaultMaxEncodeDepth = 900

	// DefaultMaxMemory is how many bytes a payload may decode to: 512 MiB,
	// 8.6 times a payload of 60 MiB. See [Limits.MaxMemory].
	DefaultMaxMemory = 512 << 20

	// maxDepth bounds Limits.MaxDepth, because the decoder and the encoder
	// recurse.
	maxDepth = 100_000

	// maxMemory bounds Limits.MaxMemory.
	maxMemory = min(16<<30, math.MaxInt/2+1)
)

// Limits bound what is decoded and encoded. The zero value of each field is
// the documented default; there is no value for "unlimited". With the
// defaults everything that gunicorn can send is accepted, except payloads
// that would decode to more than 512 MiB.
//
// Limits are plain values: copy and share them freely.
type Limits struct {
	// MaxPayload is the largest payload of a frame, and the largest bytes or
	// string value, in bytes. At most and by default [MaxPayloadSize].
	MaxPayload int

	// MaxDepth is how deep lists and dicts may nest; a list of scalars has
	// depth 1. By default [DefaultMaxDepth] for decoding and
	// [DefaultMaxEncodeDepth] for encoding; at most 100,000.
	MaxDepth int

	// MaxElements is the largest number of elements of one list, or entries
	// of one dict. At most and by default [MaxElements].
	MaxElements int

	// MaxMemory bounds the memory that a decoded payload takes, in bytes. It
	// does not apply to encoding. The memory is estimated before anything is
	// built, for the any form on a 64-bit machine: 16 bytes an element of a
	// list, and besides 8 a number, 16 and its bytes a string, 24 a list or
	// bytes, 336 a dict of up to eight entries. By default [DefaultMaxMemory];
	// at most 16 GiB, on 32-bit machines 1 GiB.
	//
	// The default refuses only payloads of tens of MiB that hold almost
	// nothing but None, empty or one-element lists and dicts.
	//
	// A typed destination may take more memory for an element than the any
	// form does. To bound that, lower MaxElements or MaxPayload.
	MaxMemory int
}

// Validate says whether each field is in its range. The functions and types
// that take limits call it; a caller needs it only to report a wrong
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

// forDecode returns the limits with every default filled in.
func (l Limits) forDecode() Limits { return l.withDefaults(DefaultMaxDepth) }

// forEncode is forDecode for the encoder, whose default depth is smaller.
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
// Limits.MaxMemory. TestAmplification holds them against what is allocated.
const (
	slotSize  = 16 // an interface value: an element of a list
	numberBox = 8
	stringBox = 16
	sliceBox  = 24
	mapBox    = 48  // a map's header
	smallMap  = 288 // the one group of a map of 1 to 8 entries; a Dict takes less
	mapEntry  = 80  // an entry of a larger map, at its least load
	mapGroup  = 8   // entries
)

// allocated returns about what the allocator takes for n bytes: it has steps
// of up to an eighth, and from 32 KiB on pages of 8 KiB.
func allocated(n int64) int64 {
	if n <= 32<<10 {
		return n + n/8
	}
	return (n + 8191) &^ 8191
}

// roundUp is n in whole words, the least step of the allocator.
func roundUp(n int) int64 { return (int64(n) + 7) &^ 7 }

// What decoded values share. A small part of a message that is kept keeps at
// most that much of its neighbours, and what those refer to.
const (
	sharedList = 32      // elements: lists of up to so many share memory
	slabSize   = 255     // elements: the memory that lists share; with a word of the allocator 4 KiB
	sharedText = 128     // bytes: strings of up to so many share memory
	arenaSize  = 4 << 10 // bytes: the memory that strings share

	// aliasedSize is from how many bytes on a bytes value may refer to the
	// payload instead of being copied, see DecodeOptions.AliasBytes. It must
	// also be at least an aliasedPart-th of the payload, because it keeps all
	// of it.
	aliasedSize = 64 << 10
	aliasedPart = 8
)
