package dirty

import (
	"encoding/binary"
	"unicode/utf8"
)

// The functions of this file look at text in words of 8 or 4 bytes. That is for speed
// alone: utf8.Valid gives the same results.

// asciiString returns the length of the string that data begins with. ok is false
// if there is none, or if it is incomplete, longer than most or not ASCII.
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

// notASCII has the bits that are set only in bytes that are not ASCII.
const notASCII = 0x8080808080808080

// isASCII reports whether all of s is ASCII. It looks at words, of which the last
// two may overlap. utf8.Valid looks at short text byte by byte.
func isASCII[T string | []byte](s T) bool {
	var bits uint64
	switch n := len(s); {
	case n >= 8:
		for i := 0; i < n-8; i += 8 {
			bits |= word(s[i : i+8])
		}
		bits |= word(s[n-8:])
	case n >= 4:
		bits = uint64(halfWord(s) | halfWord(s[n-4:]))
	case n > 0:
		bits = uint64(s[0] | s[n/2] | s[n-1])
	}
	return bits&notASCII == 0
}

// word returns the first 8 bytes. The compiler turns it into a single load.
func word[T string | []byte](s T) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// halfWord returns the first 4 bytes, also as a single load.
func halfWord[T string | []byte](s T) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// isText reports whether b is UTF-8.
func isText(b []byte) bool { return isASCII(b) || utf8.Valid(b) }

// badText returns the offset of the first string in b that is not UTF-8, or -1. b
// is a series of encoded strings. If all of b is ASCII, prefixes included, so is
// each string; otherwise it looks at one string after the other.
func badText(b []byte) int {
	if isASCII(b) {
		return -1
	}
	for c := (cursor{data: b}); c.left() > 0; {
		at := c.off
		if !isText(c.body()) {
			return at
		}
	}
	return -1
}

// validPrefix returns how many bytes at the start of b are valid UTF-8.
func validPrefix[T string | []byte](b T) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRuneInString(string(b[n:min(n+utf8.UTFMax, len(b))]))
		if r == utf8.RuneError && size <= 1 {
			break
		}
		n += size
	}
	return n
}
