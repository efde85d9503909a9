package dirty

import (
	"encoding/binary"
	"math"
)

// cursor reads encoded values; every access to their bytes goes through it, or
// through the functions of this file.
// It does not check: its methods are for bytes that scanner.value has found
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
	}
	return prefixSize
}

// The methods below read the next value, which must be of that kind, and
// move behind it.

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

// float64s reads the floats that are next, at most as many as the list is
// long, and returns their number. Long lists of numbers are common: a loop
// that moves nothing but the data, four at a time, takes half of the time.
func (c *cursor) float64s(list []float64) int {
	data, n := c.data[c.off:], 0
	for n+4 <= len(list) && fourOf(KindFloat64, data) {
		four := list[n : n+4]
		four[0], four[1] = float64At(data[1:]), float64At(data[numberSize+1:])
		four[2], four[3] = float64At(data[2*numberSize+1:]), float64At(data[3*numberSize+1:])
		data = data[4*numberSize:]
		n += 4
	}
	for n < len(list) && oneOf(KindFloat64, data) {
		list[n] = float64At(data[1:])
		data = data[numberSize:]
		n++
	}
	c.off += n * numberSize
	return n
}

// fourOf reports whether the data begins with four numbers of the kind.
func fourOf(k Kind, data []byte) bool {
	return len(data) >= 4*numberSize &&
		(data[0]^byte(k))|(data[numberSize]^byte(k))|(data[2*numberSize]^byte(k))|(data[3*numberSize]^byte(k)) == 0
}

func oneOf(k Kind, data []byte) bool { return len(data) >= numberSize && Kind(data[0]) == k }

func float64At(data []byte) float64 { return math.Float64frombits(binary.BigEndian.Uint64(data)) }

// integers is float64s for integers. It stops before one that T has no room
// for.
func integers[T int | int64](c *cursor, list []T) int {
	data, n := c.data[c.off:], 0
	for n < len(list) && oneOf(KindInt64, data) {
		x := int64(binary.BigEndian.Uint64(data[1:numberSize]))
		list[n] = T(x)
		if int64(list[n]) != x {
			break
		}
		data = data[numberSize:]
		n++
	}
	c.off += n * numberSize
	return n
}

// numbers moves over the numbers of a kind that are next, at most n of them,
// and returns how many there were.
func (c *cursor) numbers(k Kind, most int) int {
	data, n := c.data[c.off:], 0
	for n+4 <= most && fourOf(k, data) {
		data = data[4*numberSize:]
		n += 4
	}
	for n < most && oneOf(k, data) {
		data = data[numberSize:]
		n++
	}
	c.off += n * numberSize
	return n
}

// body reads bytes or a string. The result aliases the data; its capacity is
// its length.
func (c *cursor) body() []byte {
	begin := c.off + prefixSize
	c.off = begin + int(c.prefix())
	return c.data[begin:c.off:c.off]
}

// asciiString returns the length of the string that data begins with, if it is
// complete, not longer than most, and ASCII.
func asciiString(data []byte, most int) (n int, ok bool) {
	if len(data) < prefixSize || Kind(data[0]) != KindString {
		return 0, false
	}
	size := int64(binary.BigEndian.Uint32(data[1:]))
	if size > int64(min(len(data)-prefixSize, most)) || !isASCII(data[prefixSize:prefixSize+size]) {
		return 0, false
	}
	return int(size), true
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

// count reads the header of a list or a dict.
func (c *cursor) count() int {
	n := int(c.prefix())
	c.off += prefixSize
	return n
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
