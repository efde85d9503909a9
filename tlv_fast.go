package dirty

import (
	"encoding/binary"
	"math"
	"reflect"
	"unicode/utf8"
)

// The sizes of the arrays: an element that is kept keeps so many alive.
const (
	boxMost = 256
	boxMany = 64
	boxFew  = 8
)

// boxRun is working memory for the values of a run.
type boxRun struct {
	ints   [boxMost]int64
	floats [boxMost]float64
	texts  [boxMany]string
}

// box stores the values in the list, which is as long.
func box[T any](list []any, values []T) {
	for len(values) > 0 {
		var array reflect.Value
		switch n := len(values); {
		case n >= boxMost:
			array = reflect.ValueOf(*(*[boxMost]T)(values))
		case n >= boxMany:
			array = reflect.ValueOf(*(*[boxMany]T)(values))
		case n >= boxFew:
			array = reflect.ValueOf(*(*[boxFew]T)(values))
		default:
			for i, v := range values {
				list[i] = v
			}
			return
		}
		n := array.Len()
		for i := range n {
			list[i] = array.Index(i).Interface()
		}
		list, values = list[n:], values[n:]
	}
}

// ints decodes the integers that are next, as many as the list and the
// working memory have room for, and returns their number.
func (d *builder) ints(list []any) int {
	n := integers(&d.cursor, d.run.ints[:min(len(list), boxMost)])
	box(list[:n], d.run.ints[:n])
	return n
}

// floats is ints for floats.
func (d *builder) floats(list []any) int {
	n := d.float64s(d.run.floats[:min(len(list), boxMost)])
	box(list[:n], d.run.floats[:n])
	return n
}

// strings is ints for short strings. Others are boxed alone: an array of long
// ones would keep them all, and an empty one needs no memory.
func (d *builder) strings(list []any) int {
	n := 0
	for n < min(len(list), boxMany) && d.kind() == KindString && d.prefix()-1 < sharedText {
		d.run.texts[n] = d.string()
		n++
	}
	if n == 0 {
		list[0] = d.string()
		return 1
	}
	box(list[:n], d.run.texts[:n])
	clear(d.run.texts[:n])
	return n
}

// nameCache remembers dict keys, which repeat from row to row and from
// message to message.
type nameCache [256]string

// longestName is the longest key that is remembered.
const longestName = 64

// slot returns where text that is not empty belongs. Texts that differ in
// length, or at the ends or in the middle, mostly differ in it.
func slot(b []byte) byte {
	return byte(len(b)*7) ^ b[0] ^ b[len(b)-1]<<3 ^ b[len(b)/2]<<1
}

func (c *nameCache) get(b []byte) string {
	if len(b) == 0 || len(b) > longestName {
		return string(b)
	}
	s := &c[slot(b)]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}

// textCache remembers short strings that are values of dicts: names of
// applications, actions and models, states, roles. They come out in an any
// that exists already.
type textCache struct {
	texts [256]any
	hits  int // rises with a text that is there, falls with each other
}

const (
	longestText = 32
	maxHits     = 64
	lookEvery   = 64 // without luck, one of so many texts is looked up
)

// shouldLook reports whether to look up the next text: where all texts differ
// there is nothing to win.
func (c *textCache) shouldLook() bool {
	if c.hits--; c.hits < -lookEvery {
		c.hits = 0
	}
	return c.hits >= 0
}

// get returns a text that is not empty nor longer than longestText.
func (c *textCache) get(b []byte) any {
	t := &c.texts[slot(b)]
	if s, ok := (*t).(string); ok && s == string(b) {
		c.hits = min(c.hits+5, maxHits)
		return *t
	}
	*t = string(b)
	return *t
}

// Rows have the same keys one after the other, and so do messages. To look up
// known keys takes less than half of the time of ranging over a map and sorting
// what is found. So the encoder remembers the shapes of the last small maps.

const (
	shapeDepth   = 8  // maps that lie deeper are not remembered
	shapeKeys    = 8  // nor maps with more keys
	shapeKeySize = 64 // nor maps with a longer key, in bytes
	shapeWays    = 4  // shapes of one depth and size that are remembered

	// After maxShapeMisses maps in a row that have none of the shapes, shapeRest
	// maps are not looked at: where all maps differ there is nothing to win.
	maxShapeMisses = 16
	shapeRest      = 240
)

// shapes are the shapes of the last maps, by their depth and number of keys. A
// map and what is inside it have different depths, so that they share none.
type shapes [shapeDepth][shapeKeys]shapeSet

// of returns the shapes of maps with n entries, or nil.
func (s *shapes) of(depth, n int) *shapeSet {
	if depth < shapeDepth && 0 < n && n <= shapeKeys {
		return &s[depth][n-1]
	}
	return nil
}

// shapeSet is the shapes of one depth and number of keys.
type shapeSet struct {
	ways   [shapeWays]shape
	last   int // the one that was found or learned last
	misses int // in a row
	rest   int // maps that are not looked at
}

// find looks for the shape of the map, and stores the values in the order of the
// shape's keys. It is called where the last shape was tried already.
func (s *shapeSet) find(m map[string]any, values []any) *shape {
	if s.rest > 0 {
		s.rest--
		return nil
	}
	for i := 1; i < shapeWays; i++ {
		at := (s.last + shapeWays - i) % shapeWays // shapes that take turns were learned in this order
		if s.ways[at].values(m, values) {
			s.last, s.misses = at, 0
			return &s.ways[at]
		}
	}
	if s.misses++; s.misses == maxShapeMisses {
		s.misses, s.rest = 0, shapeRest
	}
	return nil
}

// learn remembers a shape in place of the one that was not met for longest.
func (s *shapeSet) learn(keys []string) {
	if s.rest > 0 {
		return
	}
	s.last = (s.last + shapeWays - 1) % shapeWays
	s.ways[s.last].learn(keys)
}

// shape is the sorted keys of a map.
type shape struct {
	keys []byte            // encoded, one behind the other
	ends [shapeKeys]uint16 // of the keys
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
		if len(k) > shapeKeySize || !utf8.ValidString(k) {
			s.keys = s.keys[:0]
			return
		}
		s.keys = AppendString(s.keys, k)
		s.ends[i] = uint16(len(s.keys))
	}
}

// appendShaped appends the entries of a map whose shape is known. If it is not,
// ok is false.
func (e *encoder) appendShaped(b []byte, m map[string]any, set *shapeSet, depth int) (_ []byte, ok bool, err *MarshalError) {
	var few [shapeKeys]any
	values := few[:len(m)]
	s := &set.ways[set.last]
	if s.values(m, values) {
		set.misses = 0
	} else if s = set.find(m, values); s == nil {
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

// fieldKey is the encoded name of a field. Where it is short and there is
// room, a block of fixed size is written, which takes a move or two instead
// of a call.
type fieldKey struct {
	encoded []byte
	block   [fieldBlock]byte // begins with it, if it is short
}

const fieldBlock = 24

func newFieldKey(name string) fieldKey {
	k := fieldKey{encoded: AppendString(nil, name)}
	copy(k.block[:], k.encoded)
	return k
}

func (k *fieldKey) append(b []byte) []byte {
	n := len(b)
	if len(k.encoded) <= fieldBlock && cap(b)-n >= fieldBlock {
		*(*[fieldBlock]byte)(b[n : n+fieldBlock]) = k.block
		return b[:n+len(k.encoded)]
	}
	return append(b, k.encoded...)
}

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

// fourOf reports whether the data begins with four numbers of the kind.
func fourOf(k Kind, data []byte) bool {
	return len(data) >= 4*numberSize &&
		(data[0]^byte(k))|(data[numberSize]^byte(k))|(data[2*numberSize]^byte(k))|(data[3*numberSize]^byte(k)) == 0
}

func oneOf(k Kind, data []byte) bool { return len(data) >= numberSize && Kind(data[0]) == k }

func float64At(data []byte) float64 { return math.Float64frombits(binary.BigEndian.Uint64(data)) }

// appendFloats appends the floats that the list begins with and returns their
// number. A loop of its own keeps everything in registers: long lists of
// floats take a third of the time.
func appendFloats(b []byte, v []any) ([]byte, int) {
	for i, x := range v {
		f, ok := x.(float64)
		if !ok {
			return b, i
		}
		b = AppendFloat64(b, f)
	}
	return b, len(v)
}

// strings is appendFloats for strings. An error is about the one behind those
// that it counts.
func (e *encoder) strings(b []byte, v []any) (_ []byte, n int, err *MarshalError) {
	for i, x := range v {
		s, ok := x.(string)
		if !ok {
			return b, i, nil
		}
		if len(s) > e.end-len(b) {
			b, err = e.string(b, s) // makes the error
			return b, i, err
		}
		out, ascii := appendText(b, s)
		if !ascii && !utf8.ValidString(s) {
			b, err = e.string(b, s)
			return b, i, err
		}
		b = out
	}
	return b, len(v), nil
}
