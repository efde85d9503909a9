package server

import "math"

// bytesID is the identity of a []byte key: Go cannot compare those.
type bytesID string

// KeyIdentity returns the identity of a key of the stash: two keys are one in
// Python if their identities are equal in Go, so that the identity can be the
// key of a Go map. It does not refer to the memory of key.
//
// 5 and "5" are two keys, and so are "k" and the bytes of "k"; true, 1 and 1.0
// are one. As in Python, NaN equals no key, not even itself: what is stored in a
// Go map under NaN can be listed, but never found or deleted one by one.
//
// A key is nil, a bool, an int or int64, a float64, a string, or a []byte.
// Anything else is an error in Python's words: unhashable type: 'list'.
func KeyIdentity(key any) (comparable any, err error) {
	switch k := key.(type) {
	case nil, string:
		return k, nil
	case bool:
		if k {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return k, nil
	case int:
		return int64(k), nil
	case float64:
		if k == math.Trunc(k) && k >= -1<<63 && k < 1<<63 {
			return int64(k), nil
		}
		return k, nil
	case []byte:
		return bytesID(k), nil
	}
	return nil, dirtyError("unhashable type: '" + pythonType(key) + "'")
}
