package dirty

import "unicode/utf8"

// isASCII looks at whole words, of which two may overlap. Most text is too
// short for utf8.Valid to do so.
func isASCII[T string | []byte](s T) bool {
	const high = 0x8080808080808080 // set in bytes that are not ASCII
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
	return bits&high == 0
}

// word returns the first 8 bytes; the compiler makes it one load.
func word[T string | []byte](s T) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func halfWord[T string | []byte](s T) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// badText returns the index and the offset of the first of the encoded
// strings b whose text is not UTF-8, or -1. It looks at all of b at once,
// prefixes included, and at each string only if not all is ASCII.
func badText(b []byte) (index, offset int) {
	if isASCII(b) {
		return -1, -1
	}
	c := cursor{data: b}
	for i := 0; c.left() > 0; i++ {
		at := c.off
		if text := c.body(); !isASCII(text) && !utf8.Valid(text) {
			return i, at
		}
	}
	return -1, -1
}

// validPrefix returns how many bytes of b are valid UTF-8.
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
