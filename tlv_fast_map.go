package dirty

import (
	"math/bits"
	"reflect"
	"slices"
)

// Everything in this file is there for the speed of encoding maps alone: the keys of
// the last maps, and the sorting of keys.

// The next row or message mostly has the same keys as one before. To look up known
// keys takes less than half the time of ranging over a map and sorting its keys. So
// an encoder remembers the shapes of the last small maps.

const (
	maxShapeDepth = 8    // how deep in lists and dicts maps have shapes
	maxShapeKeys  = 32   // the most entries of a map that has a shape
	maxShapeBytes = 1024 // the most bytes of the encoded keys of a shape
	maxShapeWays  = 4    // how many shapes of one set are remembered
	shapeSets     = 8    // how many sets of shapes a depth has; maps of n entries use set n%shapeSets

	// Where all maps differ, looking for shapes costs more than it gains. So
	// after maxShapeMisses maps in a row without a known shape, minShapeRest maps
	// are passed over. If that happens again without a map of a known shape, it
	// is twice as many, and so on up to maxShapeRest.
	maxShapeMisses = 8
	minShapeRest   = 120
	maxShapeRest   = 1920

	// fewKeys is the most entries of a map that needs little room, and that is sorted
	// by appendFew.
	fewKeys = 8
)

// shapes are the shapes of the last maps, by their depth and size. Because of the
// depth a map and a map inside it never use the same ones. The zero value is empty.
type shapes [maxShapeDepth][shapeSets]shapeSet

// of returns the shapes of maps with n entries, or nil if they have none.
func (s *shapes) of(depth, n int) *shapeSet {
	if depth < maxShapeDepth && 0 < n && n <= maxShapeKeys {
		return &s[depth][n%shapeSets]
	}
	return nil
}

// shapeSet is the shapes of one depth and of some sizes.
type shapeSet struct {
	ways     [maxShapeWays]shape
	last     int // the shape that was found or learned last
	newest   int // the shape that was learned last
	misses   int // how many maps in a row had none of the shapes
	rest     int // how many maps are still to be passed over
	lastRest int // how many were passed over the last time; 0 if a shape was found since
}

// shouldLook reports whether to look for the shape of the next map.
func (s *shapeSet) shouldLook() bool {
	if s.rest > 0 {
		s.rest--
		return false
	}
	return true
}

// find looks for the shape of a map, and stores the values in the order of its keys.
// It returns nil if it finds none. It begins with the shape that came after the last
// one before, because maps of several shapes often come in turn.
func (s *shapeSet) find(m map[string]any, values []any) *shape {
	expected := s.ways[s.last].next
	if way := &s.ways[expected]; way.values(m, values) {
		s.last, s.misses, s.lastRest = expected, 0, 0
		return way
	}
	return s.findOther(m, values, expected)
}

// findOther is find for the other shapes than the expected one.
func (s *shapeSet) findOther(m map[string]any, values []any, expected int) *shape {
	for i := 1; i < maxShapeWays; i++ {
		at := (expected + i) % maxShapeWays
		if way := &s.ways[at]; way.values(m, values) {
			s.ways[s.last].next = at
			s.last, s.misses, s.lastRest = at, 0, 0
			return way
		}
	}
	if s.misses++; s.misses == maxShapeMisses {
		s.lastRest = min(max(minShapeRest, 2*s.lastRest), maxShapeRest)
		s.misses, s.rest = 0, s.lastRest
	}
	return nil
}

// next returns a shape for the keys of the map that was not found, in place of an older
// one. It returns nil if nothing should be learned.
func (s *shapeSet) next() *shape {
	if s == nil || s.rest > 0 {
		return nil
	}
	s.newest = (s.newest + 1) % maxShapeWays
	s.ways[s.last].next, s.last = s.newest, s.newest
	way := &s.ways[s.newest]
	way.keys, way.ends, way.next = way.keys[:0], way.ends[:0], s.newest
	return way
}

// shape has the sorted keys of a map. It is empty if there is none.
type shape struct {
	keys []byte   // encoded, one after the other
	ends []uint16 // where each key ends
	next int      // the shape that came after this one the last time
}

// values looks up the values of the keys, and reports whether the map has just these
// keys. There are as many values as entries of the map.
func (s *shape) values(m map[string]any, values []any) bool {
	if len(s.ends) != len(values) {
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

// add adds a key that is UTF-8. Where keys are too long, some are left out: that is the
// shape of another map.
func (s *shape) add(key string) {
	if len(s.keys)+prefixSize+len(key) <= maxShapeBytes {
		s.keys = AppendString(s.keys, key)
		s.ends = append(s.ends, uint16(len(s.keys)))
	}
}

// appendKnown appends the entries of a map if its shape is known. Otherwise ok is
// false and nothing was appended.
func (e *encoder) appendKnown(b []byte, m map[string]any, set *shapeSet, depth int) (_ []byte, ok bool, err *MarshalError) {
	if len(m) > fewKeys { // to clear a large array takes time
		var many [maxShapeKeys]any
		return e.appendShape(b, m, set, many[:len(m)], depth)
	}
	var few [fewKeys]any
	return e.appendShape(b, m, set, few[:len(m)], depth)
}

// appendShape is appendKnown with room for the values.
func (e *encoder) appendShape(b []byte, m map[string]any, set *shapeSet, values []any, depth int) (_ []byte, ok bool, err *MarshalError) {
	s := set.find(m, values)
	if s == nil {
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

// appendFew appends the entries of a map with at most fewKeys, sorted by key. Nothing in
// it depends on a guess of the processor which key is smaller: that would be wrong half of
// the time, since Go begins at a random entry of a map.
func (e *encoder) appendFew(b []byte, m map[string]any, set *shapeSet, depth int) (_ []byte, err *MarshalError) {
	var (
		entries [fewKeys]Entry
		firsts  [fewKeys]uint64 // the firstBytes of the keys
		order   uint64          // in each byte the number of an entry, the smallest key in the lowest
		n       int
	)
	for k, v := range m {
		first, place := firstBytes(k), uint64(0)
		for i, other := range firsts[:n%fewKeys] {
			_, before := bits.Sub64(other, first, 0) // 1 if other < first
			place += before
			if other == first && entries[i].Key < k {
				place++
			}
		}
		entries[n%fewKeys], firsts[n%fewKeys] = Entry{k, v}, first
		low := uint64(1)<<(8*place%64) - 1
		order = order&low | (order&^low)<<8 | uint64(n)<<(8*place%64)
		if n++; n == len(m) {
			break // to find out that there is no other entry takes time
		}
	}
	learned := set.next()
	for ; n > 0; n-- {
		entry := &entries[order%fewKeys]
		order >>= 8
		if b, err = e.string(b, entry.Key); err == nil {
			if learned != nil {
				learned.add(entry.Key)
			}
			b, err = e.any(b, entry.Value, depth+1)
		}
		if err != nil {
			return b, err.inDict(entry.Key).visit(reflect.ValueOf(m))
		}
	}
	return b, nil
}

// firstBytes returns the first 8 bytes of a text as a number. Texts with different
// numbers have the order of these. Behind a short text it takes zeros.
func firstBytes(s string) uint64 {
	n := len(s)
	if n < 4 {
		if n == 0 {
			return 0
		}
		return uint64(s[0])<<56 | uint64(s[n/2])<<(56-8*uint(n/2)) | uint64(s[n-1])<<(64-8*uint(n))
	}
	n = min(n, 8)
	last := bits.ReverseBytes32(halfWord(s[n-4:]))
	return uint64(bits.ReverseBytes32(halfWord(s)))<<32 | uint64(last<<(8*uint(8-n)))
}

// sorted sorts the entries of the stack from base on, of which there are some. It pushes
// them once more, in order, and returns these. To sort numbers takes less time than to
// sort entries. So it sorts one number for each entry: in the high bits the first bytes of
// the key, without what all keys have in common, in the low ones the place of the entry.
func (e *encoder) sorted(base int) []Entry {
	const places = 1 << 16
	entries := e.entries[base:]
	if len(entries) > places {
		sortEntries(entries)
		return entries
	}
	same := len(entries[0].Key)
	for i := range entries {
		same = commonPrefix(entries[0].Key[:same], entries[i].Key)
	}
	e.order = e.order[:0]
	for i := range entries {
		e.order = append(e.order, firstBytes(entries[i].Key[same:])/places*places+uint64(i))
	}
	slices.Sort(e.order)
	for _, x := range e.order {
		e.entries = append(e.entries, entries[x%places])
	}
	sorted := e.entries[base+len(entries):]
	for i, end := 0, 0; i < len(sorted); i = end {
		for end = i + 1; end < len(sorted) && e.order[end]/places == e.order[i]/places; {
			end++
		}
		if end-i > 1 { // keys with the same first bytes
			sortEntries(sorted[i:end])
		}
	}
	return sorted
}

// commonPrefix returns how many bytes at their start a and b have in common.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
