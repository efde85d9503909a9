package server

import "math"

// bytesID is the identity of a []byte key: Go cannot compare those.
type bytesID string

// KeyIdentity returns what makes a key of the stash the same as another: two
// keys are one in Python if their identities are equal in Go, so it can be the key
// of a Go map. 5 is not "5", but true, 1 and 1.0 are one key, and NaN is not even
// equal to itself.
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
