package dirty

import (
	"reflect"
	"unicode/utf8"
)

// shape is the sorted keys of a small map. Rows have the same keys one after
// the other, and messages do; to look these up takes less than half of the
// time of ranging over a map and sorting what is found.
type shape struct {
	keys []byte            // encoded, one behind the other
	ends [shapeKeys]uint16 // of the keys
}

// shapes are the shapes of the last maps, by their depth and size. A map and
// what is inside it never share one.
type shapes [shapeDepth][shapeKeys]shape

const (
	shapeDepth = 8
	shapeKeys  = 8
	shapeShort = 64 // the longest key that is worth remembering
)

// of returns the shape for maps of n entries, or nil.
func (s *shapes) of(depth, n int) *shape {
	if depth < shapeDepth && 0 < n && n <= shapeKeys {
		return &s[depth][n-1]
	}
	return nil
}

// values looks the keys up. It reports whether they are those of the map.
func (s *shape) values(m map[string]any, values []any) bool {
	if len(s.keys) == 0 {
		return false
	}
	begin := 0
	for i := range values {
		end := int(s.ends[i])
		v, ok := m[string(s.keys[begin+prefixSize:end])]
		if !ok {
			return false
		}
		values[i], begin = v, end
	}
	return true
}

// learn remembers keys, which are sorted, unless one is long or no text.
func (s *shape) learn(keys []string) {
	s.keys = s.keys[:0]
	for i, k := range keys {
		if len(k) > shapeShort || !utf8.ValidString(k) {
			s.keys = s.keys[:0]
			return
		}
		s.keys = AppendString(s.keys, k)
		s.ends[i] = uint16(len(s.keys))
	}
}

// shaped appends the entries of a map that has this shape; ok is false if it
// has another.
func (e *encoder) shaped(b []byte, m map[string]any, s *shape, depth int) (_ []byte, ok bool, err *MarshalError) {
	var few [shapeKeys]any
	values := few[:len(m)]
	if !s.values(m, values) {
		return b, false, nil
	}
	begin := 0
	for i, v := range values {
		key := s.keys[begin:s.ends[i]]
		begin += len(key)
		if err = e.fits(b, "string", len(key)-prefixSize); err == nil {
			b, err = e.any(append(b, key...), v, depth+1)
		}
		if err != nil {
			return b, true, err.inDict(string(key[prefixSize:])).visit(reflect.ValueOf(m))
		}
	}
	return b, true, nil
}
