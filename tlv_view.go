package dirty

import (
	"encoding/binary"
	"iter"
	"math"
)

// View is the bytes of an encoded value, such as the payload of a [Frame]. Its
// methods read single fields of the value. It is for routers, proxies and sniffers
// that do not need the rest. What it returns is a part of its bytes, not a copy.
// Nothing is allocated, but by [View.Unmarshal].
//
//	app, ok := dirty.View(f.Payload).Get("app_path").Text()
//	model, ok := dirty.View(f.Payload).Get("kwargs").Get("model").Text()
//
// The nil View, which is also the zero value, stands for a value that is not
// there. Its methods return nil or false. So calls can be chained, and only the
// result needs to be checked.
//
// The bytes need not have been checked before. A method checks what it reads, with
// the default limits except MaxMemory, and never panics. What it cannot read it
// treats as not there. If [Validate] accepts a value, a View returns what
// [Unmarshal] would. Otherwise it may return values that are before the fault;
// Validate tells what the fault is.
//
// Each call of Get, Index and Len goes through the value from its start. A View
// may be used concurrently as long as its bytes do not change.
type View []byte

// Kind returns the kind of the value. ok is false if the View is empty or if there
// is no such kind.
func (v View) Kind() (k Kind, ok bool) {
	if len(v) == 0 {
		return 0, false
	}
	k = Kind(v[0])
	return k, k.valid()
}

// IsNone reports whether the value is None. It is false for a value that is not
// there.
func (v View) IsNone() bool { return len(v) > 0 && Kind(v[0]) == KindNone }

// Bool returns the value if it is a bool.
func (v View) Bool() (b, ok bool) {
	if len(v) < 2 || Kind(v[0]) != KindBool {
		return false, false
	}
	return v[1] != 0, true
}

// Int64 returns the value if it is an int64.
func (v View) Int64() (n int64, ok bool) {
	if !oneOf(KindInt64, v) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v[1:])), true
}

// Float64 returns the value if it is a float64.
func (v View) Float64() (f float64, ok bool) {
	if !oneOf(KindFloat64, v) {
		return 0, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(v[1:])), true
}

// Bytes returns the value if it is bytes. Its capacity is its length.
func (v View) Bytes() (b []byte, ok bool) { return v.body(KindBytes) }

// Text returns the value if it is a string of valid UTF-8. Its capacity is its
// length. To compare it without an allocation write string(text) == "name".
func (v View) Text() (text []byte, ok bool) {
	text, ok = v.body(KindString)
	if !ok || !isText(text) {
		return nil, false
	}
	return text, true
}

// body returns the bytes of a value of kind k, which is bytes or a string.
func (v View) body(k Kind) (b []byte, ok bool) {
	if len(v) < prefixSize || Kind(v[0]) != k {
		return nil, false
	}
	n := int64(binary.BigEndian.Uint32(v[1:]))
	if n > MaxPayloadSize || n > int64(len(v)-prefixSize) {
		return nil, false
	}
	end := prefixSize + int(n)
	return v[prefixSize:end:end], true
}

// Len returns the number of elements of a list, or of entries of a dict. A key that
// comes several times counts each time. ok is false for other kinds, and if not all
// of the value can be read.
func (v View) Len() (n int, ok bool) {
	n, _, ok = v.container()
	if !ok || v.Raw() == nil {
		return 0, false
	}
	return n, true
}

// container returns the number of elements of a list, with values 1, or the number
// of entries of a dict, with values 2.
func (v View) container() (n, values int, ok bool) {
	if len(v) < prefixSize {
		return 0, 0, false
	}
	switch Kind(v[0]) {
	case KindList:
		values = 1
	case KindDict:
		values = 2
	default:
		return 0, 0, false
	}
	count := int64(binary.BigEndian.Uint32(v[1:]))
	return int(min(count, math.MaxInt32)), values, count <= MaxElements
}

// Index returns element i of a list. It returns nil if the value is no list or has no
// such element, or if the element or one before it cannot be read.
func (v View) Index(i int) View {
	n, values, ok := v.container()
	if !ok || values != 1 || i < 0 || i >= n {
		return nil
	}
	w := walker{cursor{data: v, off: prefixSize}}
	if !w.skipList(i, 1) {
		return nil
	}
	return w.take(1)
}

// Get returns the value of a key of a dict. If the key comes several times, the
// last value counts, as for [Unmarshal]; so Get always reads the whole dict. It
// returns nil if there is no such key, if the value is no dict, or if not all of the
// dict can be read.
func (v View) Get(key string) View {
	n, values, ok := v.container()
	if !ok || values != 2 {
		return nil
	}
	w := walker{cursor{data: v, off: prefixSize}}
	var found View
	for range n {
		name, ok := w.key()
		if !ok {
			return nil
		}
		value := w.take(1)
		if value == nil {
			return nil
		}
		if string(name) == key {
			found = value
		}
	}
	return found
}

// Elements ranges over the elements of a list. It ends before an element that cannot
// be read; [View.Len] tells whether there is one.
func (v View) Elements() iter.Seq[View] {
	return func(yield func(View) bool) {
		n, values, ok := v.container()
		if !ok || values != 1 {
			return
		}
		w := walker{cursor{data: v, off: prefixSize}}
		for range n {
			element := w.take(1)
			if element == nil || !yield(element) {
				return
			}
		}
	}
}

// Entries ranges over the keys and values of a dict in their order. A key that comes
// several times is there each time. It ends before an entry that cannot be read;
// [View.Len] tells whether there is one.
func (v View) Entries() iter.Seq2[[]byte, View] {
	return func(yield func([]byte, View) bool) {
		n, values, ok := v.container()
		if !ok || values != 2 {
			return
		}
		w := walker{cursor{data: v, off: prefixSize}}
		for range n {
			key, ok := w.key()
			if !ok {
				return
			}
			value := w.take(1)
			if value == nil || !yield(key, value) {
				return
			}
		}
	}
}

// Raw returns the bytes of the value without what follows them in the View. It
// returns nil if not all of the value can be read.
func (v View) Raw() RawValue {
	w := walker{cursor{data: v}}
	return RawValue(w.take(0))
}

// Unmarshal decodes the value into what dst points to, as [UnmarshalFirst] does. A
// value that is not there is an [ErrMalformed].
func (v View) Unmarshal(dst any) error {
	_, err := UnmarshalFirst(v, dst)
	return err
}

// walker is a cursor over bytes that were not checked. After a method has failed it
// must not be used any more.
type walker struct{ cursor }

// take returns the next value, which is inside depth lists and dicts, and moves
// behind it. It returns nil if the value cannot be read.
func (w *walker) take(depth int) View {
	begin := w.off
	if !w.skip(depth) {
		return nil
	}
	return View(w.data[begin:w.off:w.off])
}

// key returns the next key of a dict and moves behind it.
func (w *walker) key() (key []byte, ok bool) {
	key, ok = View(w.data[w.off:]).Text()
	w.off += prefixSize + len(key)
	return key, ok
}

// skip moves behind the next value, which is inside depth lists and dicts. It
// reports whether the value can be read.
func (w *walker) skip(depth int) bool {
	left := w.left()
	if left == 0 {
		return false
	}
	switch w.kind() {
	case KindNone:
		w.off++
		return true
	case KindBool:
		w.off += 2
		return left >= 2
	case KindInt64, KindFloat64:
		w.off += numberSize
		return left >= numberSize
	case KindBytes, KindString:
		b, ok := View(w.data[w.off:]).body(w.kind())
		w.off += prefixSize + len(b)
		return ok
	case KindList, KindDict:
		n, values, ok := View(w.data[w.off:]).container()
		if !ok || depth >= DefaultMaxDepth {
			return false
		}
		w.off += prefixSize
		if values == 1 {
			return w.skipList(n, depth+1)
		}
		for range n {
			if _, ok := w.key(); !ok || !w.skip(depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// skipList moves behind n values, which are inside depth lists and dicts. It reports
// whether they can be read.
func (w *walker) skipList(n, depth int) bool {
	for n > 0 {
		if w.left() == 0 {
			return false
		}
		if k := w.kind(); k == KindInt64 || k == KindFloat64 {
			if run := w.numbers(k, n); run > 0 {
				n -= run
				continue
			}
		}
		if !w.skip(depth) {
			return false
		}
		n--
	}
	return true
}
