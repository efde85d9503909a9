package dirty

import (
	"encoding/binary"
	"math"
	"reflect"
)

// Everything in this file is there for speed alone. Without it the same values
// are encoded and decoded, by simpler code in tlv_encode.go, tlv_decode.go and
// tlv_typed.go. It has these parts (maps are in tlv_fast_map.go):
//
//   - boxes of numbers and strings, when a list is decoded into an any;
//   - caches of dict keys and short strings, when a dict is decoded;
//   - the names of struct fields, ready to be appended;
//   - loops over runs of numbers and strings, in both directions.

// A number or a string in an any needs a box, which is memory of its own. To
// allocate the boxes is most of the work of decoding a list of them. So a run of
// them is boxed as one array: reflect turns an element of an array into an any
// without a copy if the array itself is in an any, because neither can change any
// more. A caller that keeps one element keeps the whole array, so arrays are small.
const (
	largeArray  = 256 // elements
	mediumArray = 64  // elements; also the most strings in an array
	smallArray  = 8   // elements; fewer are boxed one by one
)

// boxRun is working memory for the values of a run.
type boxRun struct {
	ints   [largeArray]int64
	floats [largeArray]float64
	texts  [mediumArray]string
}

// box stores the values in the list, which has the same length.
func box[T any](list []any, values []T) {
	for len(values) > 0 {
		var array reflect.Value
		switch n := len(values); {
		case n >= largeArray:
			array = reflect.ValueOf(*(*[largeArray]T)(values))
		case n >= mediumArray:
			array = reflect.ValueOf(*(*[mediumArray]T)(values))
		case n >= smallArray:
			array = reflect.ValueOf(*(*[smallArray]T)(values))
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

// ints decodes the integers that are next into the list and returns how many there
// were. It stops when the list or the working memory is full.
func (d *builder) ints(list []any) int {
	n := integers(&d.cursor, d.run.ints[:min(len(list), largeArray)])
	box(list[:n], d.run.ints[:n])
	return n
}

// floats is like ints, for floats.
func (d *builder) floats(list []any) int {
	n := d.float64s(d.run.floats[:min(len(list), largeArray)])
	box(list[:n], d.run.floats[:n])
	return n
}

// strings is like ints, for short strings. Long ones are boxed one by one, because
// a caller that keeps one of an array keeps them all. So are empty ones, which
// need no memory.
func (d *builder) strings(list []any) int {
	n := 0
	for n < min(len(list), mediumArray) && d.kind() == KindString && d.prefix()-1 < sharedText {
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

// nameCache remembers dict keys, which repeat from row to row and from message to
// message. The zero value is empty. A key that belongs in the place of another
// replaces it.
//
// Where all keys differ, looking them up costs more than it gains. So after some keys in
// a row that are not there, most are passed over.
type nameCache struct {
	names  [256]string
	misses int // how many keys there were since the last one that was there
}

const (
	maxCachedName  = 64 // the most bytes of a key that is remembered
	maxNameMisses  = 64 // after how many misses in a row most keys are passed over
	namePassedOver = 32 // from then on one of so many is looked up
)

// slot returns the place of a text in a cache. The text must not be empty. Texts
// that differ in their length, at their ends or in the middle mostly have different
// places.
func slot(b []byte) byte {
	return byte(len(b)*7) ^ b[0] ^ b[len(b)-1]<<3 ^ b[len(b)/2]<<1
}

// get returns b as a string. ok is false if b is passed over.
func (c *nameCache) get(b []byte) (name string, ok bool) {
	if len(b) == 0 || len(b) > maxCachedName {
		return "", false
	}
	if c.misses++; c.misses > maxNameMisses && c.misses%namePassedOver != 0 {
		return "", false
	}
	s := &c.names[slot(b)]
	if *s == string(b) {
		c.misses = 0
	} else {
		*s = string(b)
	}
	return *s, true
}

// textCache remembers short strings that are values of dicts, such as the names of
// applications and actions, states and roles. It returns them in an any that
// exists already. The zero value is empty.
//
// Where all texts differ, looking them up costs more than it gains. So a text that
// is found gives credit for looking up more of them, and without credit most are
// passed over.
type textCache struct {
	texts  [256]any
	credit int // rises with a text that is there, falls with each other
}

const (
	maxCachedText = 32 // the most bytes of a text that is remembered
	creditOfHit   = 5  // for how many more texts a text that is found gives credit
	maxCredit     = 64 // how many texts are looked up at most after the last one that is found
	maxPassedOver = 64 // how many texts in a row are passed over at most
)

// shouldLook reports whether to look up the next text.
func (c *textCache) shouldLook() bool {
	if c.credit--; c.credit < -maxPassedOver {
		c.credit = 0
	}
	return c.credit >= 0
}

// get returns b as a string in an any. b has 1 to maxCachedText bytes.
func (c *textCache) get(b []byte) any {
	t := &c.texts[slot(b)]
	if s, ok := (*t).(string); ok && s == string(b) {
		c.credit = min(c.credit+creditOfHit, maxCredit)
		return *t
	}
	*t = string(b)
	return *t
}

// fieldKey is the encoded name of a struct field. If it is short and there is room
// for it, append copies a block of fixed size, which takes a move or two instead
// of a call. The bytes after the name are overwritten by what follows. accept
// compares a short name as two words, also without a call.
type fieldKey struct {
	encoded []byte
	block   [fieldBlockSize]byte // the start of encoded
	masks   [2]uint64            // the bits of the first two words of block that belong to the name
}

const (
	fieldBlockSize = 24 // the most bytes of an encoded name that is copied as a block
	fieldWordsSize = 16 // the most bytes of an encoded name that is compared as words
)

func newFieldKey(name string) fieldKey {
	k := fieldKey{encoded: AppendString(nil, name)}
	copy(k.block[:], k.encoded)
	var mask [fieldWordsSize]byte
	for i := range min(len(mask), len(k.encoded)) {
		mask[i] = 0xff
	}
	k.masks = [2]uint64{word(mask[:]), word(mask[8:])}
	return k
}

// accept moves behind the encoded name if it comes next. It reports whether it did.
func (k *fieldKey) accept(c *cursor) bool {
	rest := c.data[c.off:]
	if len(k.encoded) > fieldWordsSize || len(rest) < fieldWordsSize {
		return c.accept(k.encoded)
	}
	if (word(rest)^word(k.block[:]))&k.masks[0]|(word(rest[8:])^word(k.block[8:]))&k.masks[1] != 0 {
		return false
	}
	c.off += len(k.encoded)
	return true
}

// append appends the encoded name.
func (k *fieldKey) append(b []byte) []byte {
	n := len(b)
	if len(k.encoded) <= fieldBlockSize && cap(b)-n >= fieldBlockSize {
		*(*[fieldBlockSize]byte)(b[n : n+fieldBlockSize]) = k.block
		return b[:n+len(k.encoded)]
	}
	return append(b, k.encoded...)
}

// usual decodes the next value into v if it is of kind k, which is the usualKind of
// v's type. It reports whether it did.
func (d *builder) usual(k Kind, v reflect.Value) bool {
	if d.kind() != k {
		return false
	}
	switch k {
	case KindInt64:
		v.SetInt(d.int64())
	case KindFloat64:
		v.SetFloat(d.float64())
	case KindString:
		v.SetString(d.string())
	default:
		return false
	}
	return true
}

// float64s reads the floats that are next into the list and returns how many there
// were. It stops when the list is full. Long lists of numbers are common, and a
// loop over four of them at a time takes half the time.
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

// numbers moves over the numbers of kind k that are next, at most most of them, and
// returns how many there were.
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

// integers is like float64s, for integers. It stops before one that T cannot hold.
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

// fourOf reports whether the data begins with four numbers of kind k.
func fourOf(k Kind, data []byte) bool {
	return len(data) >= 4*numberSize &&
		(data[0]^byte(k))|(data[numberSize]^byte(k))|(data[2*numberSize]^byte(k))|(data[3*numberSize]^byte(k)) == 0
}

// oneOf reports whether the data begins with a number of kind k.
func oneOf(k Kind, data []byte) bool { return len(data) >= numberSize && Kind(data[0]) == k }

// float64At returns the float whose 8 bytes the data begins with.
func float64At(data []byte) float64 { return math.Float64frombits(binary.BigEndian.Uint64(data)) }

// appendFloats appends the floats that the list begins with and returns how many
// there were. A loop for nothing else keeps everything in registers, so that long
// lists of floats take a third of the time.
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

// string appends a string. It copies short ASCII in two words that may overlap, and looks
// at these words on the way. text, which does the same for all strings, takes half as
// long again.
func (e *encoder) string(b []byte, s string) ([]byte, *MarshalError) {
	n, at := len(s), len(b)
	if n < 4 || n > 16 || n > e.end-at || cap(b)-at < prefixSize+16 {
		return e.text(b, s)
	}
	out := b[at : at+prefixSize+16]
	out[0] = byte(KindString)
	binary.BigEndian.PutUint32(out[1:], uint32(n))
	text := out[prefixSize:]
	var bits uint64
	if n >= 8 {
		first, last := word(s), word(s[n-8:])
		binary.LittleEndian.PutUint64(text, first)
		binary.LittleEndian.PutUint64(text[n-8:], last)
		bits = first | last
	} else {
		first, last := halfWord(s), halfWord(s[n-4:])
		binary.LittleEndian.PutUint32(text, first)
		binary.LittleEndian.PutUint32(text[n-4:], last)
		bits = uint64(first | last)
	}
	if bits&notASCII != 0 {
		return e.text(b, s)
	}
	return b[:at+prefixSize+n], nil
}

// strings is like appendFloats, for strings. An error is about the string v[n].
func (e *encoder) strings(b []byte, v []any) (_ []byte, n int, err *MarshalError) {
	for i, x := range v {
		s, ok := x.(string)
		if !ok {
			return b, i, nil
		}
		if b, err = e.string(b, s); err != nil {
			return b, i, err
		}
	}
	return b, len(v), nil
}
