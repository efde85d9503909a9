package dirty

import (
	"reflect"
	"strings"
	"sync"
)

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

// unmarshal decodes the first value of data into v and returns its encoded size. If
// whole is set, nothing may follow the value. aliased reports whether something in
// v refers to the data.
func (o DecodeOptions) unmarshal(data []byte, v any, whole bool) (n int, aliased bool, err error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return 0, false, &UnmarshalTypeError{Err: ErrUnsupportedType, Type: reflect.TypeOf(v), Reason: "the destination must be a pointer that is not nil"}
	}
	var c checker
	if err := o.check(&c, data, whole); err != nil {
		return 0, false, err
	}
	d := newBuilder(data, &c, o)
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

// builder builds Go values from bytes that the checker has found well-formed. The
// checker has counted what they need, so it knows how much to allocate at once.
//
// In code that has a builder its name is d, for decoding: b is the output of an
// encoder or other bytes.
type builder struct {
	cursor
	opts DecodeOptions

	// aliased is set once a value refers to the data, see
	// DecodeOptions.AliasBytes.
	aliased bool

	slots int             // how many elements of lists are still to come
	slab  []any           // memory for small lists
	text  int             // how many bytes of short strings are still to come
	arena strings.Builder // memory for short strings
	run   boxRun          // working memory for runs of numbers and strings

	// These stay for the next message, because it is often like this one.
	names    nameCache
	texts    textCache
	lastType reflect.Type // of the last destination, a pointer
	lastPlan *plan        // of what it points to
}

var builders = sync.Pool{New: func() any { return new(builder) }}

// newBuilder takes a builder from the pool, for data that c has checked.
func newBuilder(data []byte, c *checker, opts DecodeOptions) *builder {
	d := builders.Get().(*builder)
	d.cursor = cursor{data: data}
	d.opts = opts
	d.slots, d.text = c.slots, c.text
	return d
}

// release gives the builder back to the pool. It keeps names and short texts, and
// refers to no other part of the message.
func (d *builder) release() {
	d.cursor, d.aliased, d.slab = cursor{}, false, nil
	d.arena.Reset()
	builders.Put(d)
}

// any reads the next value.
func (d *builder) any() any {
	switch d.kind() {
	case KindNone:
		d.off++
		return nil
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
	panicUnreadable(d.kind())
	return nil
}

// bytes reads bytes. It copies them to the memory of dst, or to new memory if they
// do not fit. If they may refer to the data, it does not copy them.
func (d *builder) bytes(dst []byte) []byte {
	b := d.body()
	if d.opts.AliasBytes && len(b) >= aliasedSize && len(b) >= len(d.data)/aliasedPart {
		d.aliased = true
		return b
	}
	if dst == nil || cap(dst) < len(b) {
		dst = make([]byte, len(b)) // the compiler does not clear it, because copy comes next
		copy(dst, b)
		return dst
	}
	return append(dst[:0], b...)
}

// string reads a string. Short ones share memory: of the size that is still needed,
// but at most arenaSize.
func (d *builder) string() string {
	b := d.body()
	if len(b) <= 1 || len(b) > sharedText {
		return string(b)
	}
	begin := d.arena.Len()
	if d.arena.Cap()-begin < len(b) {
		d.arena.Reset()
		d.arena.Grow(max(len(b), min(d.text, arenaSize)))
		begin = 0
	}
	d.text -= len(b)
	d.arena.Write(b)
	return d.arena.String()[begin:]
}

// name reads a dict key.
func (d *builder) name() string {
	begin := d.off
	if name, ok := d.names.get(d.body()); ok {
		return name
	}
	d.off = begin
	d.text = max(d.text, min(d.left(), arenaSize)) // the checker does not count keys
	return d.string()
}

// entry reads the value of a dict entry.
func (d *builder) entry() any {
	if d.kind() == KindString && d.texts.shouldLook() {
		if n := d.prefix(); 0 < n && n <= maxCachedText {
			return d.texts.get(d.body())
		}
	}
	return d.any()
}

// list reads a list.
func (d *builder) list() []any {
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

// elements returns a list of n elements. Small ones share memory: of the size that is
// still needed, but at most slabSize.
func (d *builder) elements(n int) []any {
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

// mapAny reads a dict into a map.
func (d *builder) mapAny() map[string]any {
	n := d.count()
	m := make(map[string]any, n)
	for range n {
		m[d.name()] = d.entry()
	}
	return m
}

// dict reads a dict into a Dict.
func (d *builder) dict() Dict {
	n := d.count()
	b := newDictBuilder(n)
	for range n {
		v := b.value(d.name())
		*v = d.entry()
	}
	return b.dict
}

// dictBuilder builds a Dict. If a key comes again, its value is replaced.
type dictBuilder struct {
	dict Dict
	seen map[string]int // the positions of the keys; nil if there are few
}

// newDictBuilder returns a dictBuilder for at most n entries.
func newDictBuilder(n int) dictBuilder {
	b := dictBuilder{dict: make(Dict, 0, n)}
	if n > 2*mapGroup {
		b.seen = make(map[string]int, n)
	}
	return b
}

// value returns the place for the value of a key.
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

// locate fills in the path of an error that has come all the way up.
func (d *builder) locate(err error) error {
	if e, ok := err.(*UnmarshalTypeError); ok && e.Path == "" {
		e.Path = pathAt(d.data, int(e.Offset))
	}
	return err
}

// errorAt returns the error for the value or the key at an offset of the data.
func (d *builder) errorAt(offset int, err error, typ reflect.Type, reason string) error {
	c := cursor{d.data, offset}
	return &UnmarshalTypeError{Offset: int64(offset), Kind: c.kind(), Type: typ, Reason: reason, Err: err}
}

// mismatch returns the error for the next value, whose kind does not fit v.
func (d *builder) mismatch(v reflect.Value) error {
	return d.errorAt(d.off, ErrTypeMismatch, v.Type(), "")
}
