package dirty

import (
	"reflect"
	"strings"
	"sync"
)

// decoder builds Go values from bytes that the scanner has found well-formed.
// The scanner's counts tell it how much to allocate at once.
type decoder struct {
	cursor
	opts DecodeOptions

	// aliased is set once a value refers to the data (DecodeOptions.AliasBytes).
	aliased bool

	slots int             // elements of lists that are still to come
	slab  []any           // memory for small lists
	text  int             // bytes of short strings that are still to come
	chunk strings.Builder // memory for short strings

	run boxRun

	// These outlive the message, because the next one is often like it.
	names    nameCache
	texts    textCache
	lastType reflect.Type // of a destination, a pointer
	lastPlan *plan        // of what it points to
}

// The sizes up to which values share memory, and how much they share: a part
// of a message that is kept keeps at most that much, and what that refers to.
const (
	sharedList = 32      // elements
	slabSize   = 255     // elements: with a word of the allocator 4 KiB
	sharedText = 128     // bytes
	chunkSize  = 4 << 10 // bytes
)

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// newDecoder takes a decoder for scanned data from the pool.
func newDecoder(data []byte, s *scanner, opts DecodeOptions) *decoder {
	d := decoders.Get().(*decoder)
	d.cursor = cursor{data: data}
	d.opts = opts
	d.slots, d.text = s.slots, s.text
	return d
}

// release gives the decoder back to the pool, without what it refers to but
// for the names and short texts.
func (d *decoder) release() {
	d.cursor, d.aliased, d.slab = cursor{}, false, nil
	d.chunk.Reset()
	decoders.Put(d)
}

// Unmarshal is [Unmarshal] with options.
func (o DecodeOptions) Unmarshal(data []byte, v any) error {
	_, _, err := o.unmarshal(data, v, true)
	return err
}

// UnmarshalFirst is [UnmarshalFirst] with options.
func (o DecodeOptions) UnmarshalFirst(data []byte, v any) (rest []byte, err error) {
	n, _, err := o.unmarshal(data, v, false)
	return data[n:], err
}

// unmarshal decodes the first value of data into v and returns its size.
// aliased reports whether something in v refers to the data.
func (o DecodeOptions) unmarshal(data []byte, v any, whole bool) (n int, aliased bool, err error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return 0, false, &UnmarshalTypeError{Err: ErrUnsupportedType, Type: reflect.TypeOf(v), Reason: "the destination must be a pointer that is not nil"}
	}
	var s scanner
	if err := o.scan(&s, data, whole); err != nil {
		return 0, false, err
	}
	d := newDecoder(data, &s, o)
	defer d.release()
	if p, ok := v.(*any); ok && *p == nil {
		*p = d.any()
		return d.off, d.aliased, nil
	}
	if t := rv.Type(); d.lastType != t {
		d.lastType, d.lastPlan = t, planOf(t.Elem())
	}
	if err := d.lastPlan.decode(d, rv.Elem()); err != nil {
		return 0, d.aliased, d.locate(err)
	}
	return d.off, d.aliased, nil
}

// any builds the next value.
func (d *decoder) any() any {
	switch d.kind() {
	case KindBool:
		return d.bool()
	case KindInt64:
		return d.int64()
	case KindFloat64:
		return d.float64()
	case KindBytes:
		return d.bytes(nil)
	case KindString:
		return d.string()
	case KindList:
		return d.list()
	case KindDict:
		if d.opts.UseDict {
			return d.dict()
		}
		return d.mapAny()
	}
	d.off++
	return nil
}

// bytes copies bytes to dst, or to new memory where it does not fit; unless
// they may alias the data.
func (d *decoder) bytes(dst []byte) []byte {
	b := d.body()
	if d.opts.AliasBytes && len(b) >= aliasedSize && len(b) >= len(d.data)/aliasedPart {
		d.aliased = true
		return b
	}
	if dst == nil || cap(dst) < len(b) {
		dst = make([]byte, len(b)) // with copy behind it, it is not cleared
		copy(dst, b)
		return dst
	}
	return append(dst[:0], b...)
}

// string copies a string. Short ones share memory, of just the size that is
// needed or chunkSize.
func (d *decoder) string() string {
	b := d.body()
	if len(b) <= 1 || len(b) > sharedText {
		return string(b)
	}
	begin := d.chunk.Len()
	if d.chunk.Cap()-begin < len(b) {
		d.chunk.Reset()
		d.chunk.Grow(max(len(b), min(d.text, chunkSize)))
		begin = 0
	}
	d.text -= len(b)
	d.chunk.Write(b)
	return d.chunk.String()[begin:]
}

// name reads a dict key.
func (d *decoder) name() string { return d.names.get(d.body()) }

// entry builds the value of a dict entry.
func (d *decoder) entry() any {
	if d.kind() == KindString && d.texts.worthwhile() {
		if n := d.prefix(); 0 < n && n <= longestText {
			return d.texts.get(d.body())
		}
	}
	return d.any()
}

func (d *decoder) list() []any {
	n := d.count()
	list := d.elements(n)
	for rest := list; len(rest) > 0; {
		done := 1
		switch d.kind() {
		case KindInt64:
			done = d.ints(rest)
		case KindFloat64:
			done = d.floats(rest)
		case KindString:
			done = d.strings(rest)
		default:
			rest[0] = d.any()
		}
		rest = rest[done:]
	}
	return list
}

// elements allocates a list. Small ones share memory, of just the size that
// is needed or slabSize.
func (d *decoder) elements(n int) []any {
	d.slots -= n
	if n == 0 || n > sharedList {
		return make([]any, n)
	}
	if len(d.slab) < n {
		d.slab = make([]any, max(n, min(d.slots+n, slabSize)))
	}
	list := d.slab[:n:n]
	d.slab = d.slab[n:]
	return list
}

func (d *decoder) mapAny() map[string]any {
	n := d.count()
	m := make(map[string]any, n)
	for range n {
		m[d.name()] = d.entry()
	}
	return m
}

func (d *decoder) dict() Dict {
	n := d.count()
	b := newDictBuilder(n)
	for range n {
		v := b.value(d.name())
		*v = d.entry()
	}
	return b.dict
}

// dictBuilder builds a Dict. A key that comes again replaces the value.
type dictBuilder struct {
	dict Dict
	seen map[string]int // the positions of the keys, if there may be many
}

func newDictBuilder(n int) dictBuilder {
	b := dictBuilder{dict: make(Dict, 0, n)}
	if n > 2*mapGroup {
		b.seen = make(map[string]int, n)
	}
	return b
}

// value returns where the value of the key belongs.
func (b *dictBuilder) value(key string) *any {
	at := len(b.dict)
	if b.seen == nil {
		for i := range b.dict {
			if b.dict[i].Key == key {
				at = i
				break
			}
		}
	} else if i, ok := b.seen[key]; ok {
		at = i
	} else {
		b.seen[key] = at
	}
	if at == len(b.dict) {
		b.dict = append(b.dict, Entry{Key: key})
	}
	return &b.dict[at].Value
}

// locate adds the path to an error of the destination.
func (d *decoder) locate(err error) error {
	if e, ok := err.(*UnmarshalTypeError); ok && e.Path == "" {
		e.Path = pathAt(d.data, int(e.Offset))
	}
	return err
}

// errorAt makes an error for the value at an offset, or for a key there.
func (d *decoder) errorAt(offset int, err error, typ reflect.Type, reason string) error {
	c := cursor{d.data, offset}
	return &UnmarshalTypeError{Offset: int64(offset), Kind: c.kind(), Type: typ, Reason: reason, Err: err}
}

// mismatch is the error for the next value, which is of the wrong kind.
func (d *decoder) mismatch(v reflect.Value) error {
	return d.errorAt(d.off, ErrTypeMismatch, v.Type(), "")
}
