package dirty

import "fmt"

// The defaults of [Limits] that are not gunicorn's own numbers.
const (
	// DefaultMaxDepth is how deep lists and dicts may nest in what is
	// decoded. CPython cannot encode deeper: its recursion limit is 1000.
	DefaultMaxDepth = 1000

	// DefaultEncodeDepth is how deep lists and dicts may nest in what is
	// encoded. The arbiter reads a payload of 962 levels on every supported
	// CPython and closes the connection without a word on a deeper one; the
	// margin is for what runs below it on the stack.
	DefaultEncodeDepth = 900

	// DefaultMaxValues is the decoded size of one payload, in slots of 16
	// bytes: 512 MiB, at most 8.6 times a payload of 60 MiB. See
	// [Limits.MaxValues].
	DefaultMaxValues = 32 << 20

	// maxDepth bounds Limits.MaxDepth, because the decoder and the encoder
	// recurse.
	maxDepth = 100_000

	// maxValues bounds Limits.MaxValues.
	maxValues = 1 << 30

	// slotSize is the size in bytes of the unit of Limits.MaxValues: an
	// interface value on a 64-bit machine.
	slotSize = 16
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
	// [DefaultEncodeDepth] for encoding; at most 100,000.
	MaxDepth int

	// MaxElements is the largest number of elements of one list, or entries
	// of one dict. At most and by default [MaxElements].
	MaxElements int

	// MaxValues bounds the memory that a decoded payload takes, in slots of
	// 16 bytes, the size of an interface value; it does not apply to
	// encoding. Every element of a list and every key and value of a dict
	// takes at least one slot, so it bounds their number too. A number, text,
	// bytes, list or dict takes more, as the memory of its any form does:
	// about 1.5 slots a number, 2 or more a string, 2.5 a list, 21 a dict of
	// up to eight entries. By default [DefaultMaxValues].
	//
	// The shapes that the default refuses are tens of MiB of almost nothing
	// but None, empty or one-element containers, or one-entry dicts.
	//
	// A typed destination may take more memory an element than the any form;
	// then bound MaxElements or MaxPayload.
	MaxValues int
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
		{"MaxValues", l.MaxValues, maxValues},
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
func (l Limits) forEncode() Limits { return l.withDefaults(DefaultEncodeDepth) }

func (l Limits) withDefaults(depth int) Limits {
	l.MaxPayload = defaultTo(l.MaxPayload, MaxPayloadSize)
	l.MaxDepth = defaultTo(l.MaxDepth, depth)
	l.MaxElements = defaultTo(l.MaxElements, MaxElements)
	l.MaxValues = defaultTo(l.MaxValues, DefaultMaxValues)
	return l
}

func defaultTo(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
