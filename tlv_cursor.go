package dirty

import (
	"encoding/binary"
	"fmt"
	"math"
)

// cursor reads encoded values; every access to their bytes goes through it, or
// through the functions of this file.
// It does not check: its methods are for bytes that checker.value has found
// well-formed, or after left has told that there are enough. (A mistake
// would be a panic of Go's own bounds checks, never a wrong read.)
type cursor struct {
	data []byte
	off  int // of the next value
}

// left returns the number of bytes that are left.
func (c *cursor) left() int { return len(c.data) - c.off }

// kind returns the kind of the next value and stays before it.
func (c *cursor) kind() Kind { return Kind(c.data[c.off]) }

// prefix returns the length or count of the next value and stays before it.
func (c *cursor) prefix() uint32 { return binary.BigEndian.Uint32(c.data[c.off+1:]) }

// size returns the encoded size of the next value, of a list or a dict
// without what is in it.
func (c *cursor) size() int {
	switch c.kind() {
	case KindNone:
		return 1
	case KindBool:
		return 2
	case KindInt64, KindFloat64:
		return numberSize
	case KindBytes, KindString:
		return prefixSize + int(c.prefix())
	case KindList, KindDict:
		return prefixSize
	}
	neverChecked(c.kind())
	return 0
}

func (c *cursor) bool() bool {
	v := c.data[c.off+1] != 0
	c.off += 2
	return v
}

func (c *cursor) number() uint64 {
	u := binary.BigEndian.Uint64(c.data[c.off+1:])
	c.off += numberSize
	return u
}

func (c *cursor) int64() int64 { return int64(c.number()) }

func (c *cursor) float64() float64 { return math.Float64frombits(c.number()) }

// body reads bytes or a string. The result aliases the data; its capacity is
// its length.
func (c *cursor) body() []byte {
	begin := c.off + prefixSize
	c.off = begin + int(c.prefix())
	return c.data[begin:c.off:c.off]
}

// count reads the header of a list or a dict.
func (c *cursor) count() int {
	n := int(c.prefix())
	c.off += prefixSize
	return n
}

// accept moves behind an encoded value if it is next.
func (c *cursor) accept(value []byte) bool {
	rest := c.data[c.off:]
	if len(rest) < len(value) || string(rest[:len(value)]) != string(value) {
		return false
	}
	c.off += len(value)
	return true
}

// skip moves behind the next value and all that is in it. It recurses no
// deeper than the scan has allowed.
func (c *cursor) skip() {
	switch c.kind() {
	case KindList:
		for range c.count() {
			c.skip()
		}
	case KindDict:
		for range c.count() {
			c.body()
			c.skip()
		}
	default:
		c.off += c.size()
	}
}

// value returns the bytes of the next value and moves behind it. The result
// aliases the data; its capacity is its length.
func (c *cursor) value() RawValue {
	begin := c.off
	c.skip()
	return c.data[begin:c.off:c.off]
}

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
