package dirty

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The functions of this file append one value, or the header of one, to b
// and return the extended slice. They box nothing and check nothing: whether
// text is UTF-8, sizes are within the peer's limits and a header is followed
// by what it announces is up to the caller. [Validate] tells.

// AppendNone appends None.
func AppendNone(b []byte) []byte { return append(b, byte(KindNone)) }

// AppendBool appends a bool.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, byte(KindBool), 1)
	}
	return append(b, byte(KindBool), 0)
}

// AppendInt64 appends an int64.
func AppendInt64(b []byte, v int64) []byte { return appendNumber(b, KindInt64, uint64(v)) }

// AppendFloat64 appends a float64; every bit of a NaN is kept.
func AppendFloat64(b []byte, v float64) []byte {
	return appendNumber(b, KindFloat64, math.Float64bits(v))
}

// AppendBytes appends bytes. It panics if v is longer than 4 GiB, which has
// no encoding; peers accept at most [MaxPayloadSize].
func AppendBytes(b, v []byte) []byte { return append(appendPrefix(b, KindBytes, len(v)), v...) }

// AppendString appends a string, which should be valid UTF-8. It panics if
// v is longer than 4 GiB, which has no encoding; peers accept at most
// [MaxPayloadSize].
func AppendString(b []byte, v string) []byte {
	return append(appendPrefix(b, KindString, len(v)), v...)
}

// AppendListHeader appends the header of a list; n values must follow. It
// panics if n is negative or has no encoding; peers accept at most
// [MaxElements].
func AppendListHeader(b []byte, n int) []byte { return appendPrefix(b, KindList, n) }

// AppendDictHeader appends the header of a dict; n entries must follow, each
// a string (AppendString) and a value. It panics if n is negative or has no
// encoding; peers accept at most [MaxElements].
func AppendDictHeader(b []byte, n int) []byte { return appendPrefix(b, KindDict, n) }

// appendNumber is one append, so that it costs one check of the capacity.
func appendNumber(b []byte, k Kind, u uint64) []byte {
	return append(b, byte(k), byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32),
		byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

func appendPrefix(b []byte, k Kind, n int) []byte {
	if uint64(n) > math.MaxUint32 { // negative ones too
		panicLength(k, n)
	}
	return appendChecked(b, k, n)
}

// appendChecked is appendPrefix for a length that is known to be in range; it
// is inlined.
func appendChecked(b []byte, k Kind, n int) []byte {
	return append(b, byte(k), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func panicLength(k Kind, n int) {
	panic(fmt.Sprintf("dirty: a %s of length %d has no encoding", k, n))
}

// setCount fills in the count of the list or dict header at b[at:].
func setCount(b []byte, at, n int) { binary.BigEndian.PutUint32(b[at+1:], uint32(n)) }
