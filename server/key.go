package server

import (
	"math"
	"strconv"
)

// KeyIdentity returns a text that stands for a key of the stash. Two keys are one
// key in Python if and only if their texts are equal. So a store of your own can
// keep keys in a Go map, or as fields of a hash in Redis.
//
//	"n"       None
//	"i:5"     a whole number from -2^63 to 2^63-1, or a bool, which is 0 or 1
//	"f:0.5"   any other float, in the fewest digits; "f:+Inf", "f:-Inf" and "f:NaN"
//	"s:text"  a string: the text itself
//	"b:\xff"  bytes: the bytes themselves, so that the result may be no valid UTF-8
//
// These texts stay as they are in later versions, so that they can be stored. 5 and
// "5" are two keys, and so are "k" and the bytes of "k". True, 1 and 1.0 are one, and
// so are 0, 0.0 and -0.0.
//
// Unlike in Python, all NaN are one key. In Python a NaN equals nothing, not even
// itself, so that what is stored under it could be listed, but never found or deleted.
//
// A key is nil, a bool, an int or int64, a float64, a string, or a []byte. Anything
// else is an error in Python's words: unhashable type: 'list'. The result does not
// refer to the memory of key.
func KeyIdentity(key any) (string, error) {
	if n, ok := wholeNumber(key); ok {
		return "i:" + strconv.FormatInt(n, 10), nil
	}
	switch k := key.(type) {
	case nil:
		return "n", nil
	case float64:
		return "f:" + strconv.FormatFloat(k, 'g', -1, 64), nil
	case string:
		return "s:" + k, nil
	case []byte:
		return "b:" + string(k), nil
	}
	return "", dirtyError("unhashable type: '" + pythonType(key) + "'")
}

// wholeNumber returns the int64 that equals a value in Python, if there is one.
func wholeNumber(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		if v == math.Trunc(v) && v >= -1<<63 && v < 1<<63 {
			return int64(v), true
		}
	}
	return 0, false
}
