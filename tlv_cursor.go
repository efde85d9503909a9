package dirty

import (
	"encoding/binary"
	"fmt"
	"math"
)

// cursor reads encoded values one after the other. It does not check them: its
// methods are for values that the checker has found well-formed. (The checker
// uses some of them after it has made sure that there are enough bytes.) After a
// mistake Go's bounds checks panic; nothing outside of the data is ever read.
//
// Always 0 <= off <= len(data).
//
// Loops in the tlv_fast files and in the checker read bytes by themselves, for
// speed.
type cursor struct {
	data []byte
	off  int // where the next value begins
}

// left returns how many bytes are left.
func (c *cursor) left() int { return len(c.data) - c.off }

// kind returns the kind of the next value, without moving.
func (c *cursor) kind() Kind { return Kind(c.data[c.off]) }

// prefix returns the length or the count of the next value, without moving.
func (c *cursor) prefix() uint32 { return binary.BigEndian.Uint32(c.data[c.off+1:]) }

// size returns the encoded size of the next value, without moving. The value must not
// be a list or a dict.
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
	}
	panicUnreadable(c.kind())
	return 0
}

// The following methods read the next value, which must be of that kind, and
// move behind it.

func (c *cursor) bool() bool {
	v := c.data[c.off+1] != 0
	c.off += 2
	return v
}

// number reads the bits of an int64 or a float64.
func (c *cursor) number() uint64 {
	u := binary.BigEndian.Uint64(c.data[c.off+1:])
	c.off += numberSize
	return u
}

func (c *cursor) int64() int64 { return int64(c.number()) }

func (c *cursor) float64() float64 { return math.Float64frombits(c.number()) }

// body reads bytes or a string. The result is a part of the data, not a copy. Its
// capacity is its length.
func (c *cursor) body() []byte {
	begin := c.off + prefixSize
	c.off = begin + int(c.prefix())
	return c.data[begin:c.off:c.off]
}

// count reads the header of a list or a dict and stops before its first element.
func (c *cursor) count() int {
	n := int(c.prefix())
	c.off += prefixSize
	return n
}

// accept moves behind an encoded value if just these bytes come next. It reports
// whether they did.
func (c *cursor) accept(value []byte) bool {
	rest := c.data[c.off:]
	if len(rest) < len(value) || string(rest[:len(value)]) != string(value) {
		return false
	}
	c.off += len(value)
	return true
}

// skip moves behind the next value and all that is in it. It recurses no deeper
// than the checker has allowed.
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

// value returns the bytes of the next value and moves behind it. The result is a
// part of the data, not a copy. Its capacity is its length.
func (c *cursor) value() RawValue {
	begin := c.off
	c.skip()
	return c.data[begin:c.off:c.off]
}

// appendNumber appends an int64 or a float64. It is a single append, which checks
// the capacity once.
func appendNumber(b []byte, k Kind, u uint64) []byte {
	return append(b, byte(k), byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32),
		byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

// appendPrefix appends a kind and a length or count. It panics if n is out of
// range.
func appendPrefix(b []byte, k Kind, n int) []byte {
	if uint64(n) > math.MaxUint32 { // or negative
		panicLength(k, n)
	}
	return appendChecked(b, k, n)
}

// appendChecked is appendPrefix for an n that is known to be in range.
func appendChecked(b []byte, k Kind, n int) []byte {
	return append(b, byte(k), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// panicLength is apart from appendPrefix so that that can be inlined.
func panicLength(k Kind, n int) {
	panic(fmt.Sprintf("dirty: a %s of length %d has no encoding", k, n))
}

// setCount fills in the count of the list or dict whose header is at b[at:].
func setCount(b []byte, at, n int) { binary.BigEndian.PutUint32(b[at+1:], uint32(n)) }
