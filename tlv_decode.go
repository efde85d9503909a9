package dirty

import (
	"reflect"
	"strings"
	"sync"
)

// builder builds Go values from bytes that the checker has found well-formed.
// The checker's counts tell it how much to allocate at once.
type builder struct {
	cursor
	opts DecodeOptions

	// aliased is set once a value refers to the data (DecodeOptions.AliasBytes).
	aliased bool

	slots int             // elements of lists that are still to come
	slab  []any           // memory for small lists
	text  int             // bytes of short strings that are still to come
	arena strings.Builder // memory for short strings

	run boxRun

	// These outlive the message, because the next one is often like it.
	names    nameCache
	texts    textCache
	lastType reflect.Type // of a destination, a pointer
	lastPlan *plan        // of what it points to
}

var builders = sync.Pool{New: func() any { return new(builder) }}

// newBuilder takes a decoder for scanned data from the pool.
func newBuilder(data []byte, s *checker, opts DecodeOptions) *builder {
	d := builders.Get().(*builder)
	d.cursor = cursor{data: data}
	d.opts = opts
	d.slots, d.text = s.slots, s.text
	return d
}

// release gives the decoder back to the pool, without what it refers to but
// for the names and short texts.
func (d *builder) release() {
	d.cursor, d.aliased, d.slab = cursor{}, false, nil
	d.arena.Reset()
	builders.Put(d)
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
	var s checker
	if err := o.check(&s, data, whole); err != nil {
		return 0, false, err
	}
	d := newBuilder(data, &s, o)
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
	neverChecked(d.kind())
	return nil
}

// bytes copies bytes to dst, or to new memory where it does not fit; unless
// they may alias the data.
func (d *builder) bytes(dst []byte) []byte {
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
// needed or arenaSize.
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
func (d *builder) name() string { return d.names.get(d.body()) }

// entry builds the value of a dict entry.
func (d *builder) entry() any {
	if d.kind() == KindString && d.texts.shouldLook() {
		if n := d.prefix(); 0 < n && n <= longestText {
			return d.texts.get(d.body())
		}
	}
	return d.any()
}

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

// elements allocates a list. Small ones share memory, of just the size that
// is needed or slabSize.
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

func (d *builder) mapAny() map[string]any {
	n := d.count()
	m := make(map[string]any, n)
	for range n {
		m[d.name()] = d.entry()
	}
	return m
}

func (d *builder) dict() Dict {
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
func (d *builder) locate(err error) error {
	if e, ok := err.(*UnmarshalTypeError); ok && e.Path == "" {
		e.Path = pathAt(d.data, int(e.Offset))
	}
	return err
}

// errorAt makes an error for the value at an offset, or for a key there.
func (d *builder) errorAt(offset int, err error, typ reflect.Type, reason string) error {
	c := cursor{d.data, offset}
	return &UnmarshalTypeError{Offset: int64(offset), Kind: c.kind(), Type: typ, Reason: reason, Err: err}
}

// mismatch is the error for the next value, which is of the wrong kind.
func (d *builder) mismatch(v reflect.Value) error {
	return d.errorAt(d.off, ErrTypeMismatch, v.Type(), "")
}
