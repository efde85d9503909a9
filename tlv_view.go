package dirty

import (
	"encoding/binary"
	"iter"
	"math"
)

// View reads an encoded value where it lies: single fields of a payload for
// routers, proxies and sniffers that do not want the rest. A View is the bytes
// of a value, such as the payload of a [Frame], and what it returns aliases
// them. Nothing is allocated.
//
//	app, ok := dirty.View(f.Payload).Get("app_path").Text()
//	model, ok := dirty.View(f.Payload).Get("kwargs").Get("model").Text()
//
// The nil View stands for a value that is not there. All its methods say so, so
// that calls can be chained and the result checked once.
//
// The bytes need not have been checked. A method checks what it walks over, so
// none of them panics or reads beyond the bytes, and what it cannot read is
// not there. Of a value that [Validate] accepts a View returns what [Unmarshal]
// would. Of another it may return what lies before the fault. Call Validate to
// learn what is wrong, and where. Each call of Get, Index and Len walks over the
// value anew.
//
// A View may be used concurrently, as long as its bytes do not change.
type View []byte

// Kind returns the kind of the value. ok is false if the View is empty or has no
// such kind.
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

// body returns what follows the length of bytes or a string.
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

// Len returns the number of elements of a list, or of entries of a dict; keys
// that are repeated count each time. ok is false for other kinds, and if they are
// not all there.
func (v View) Len() (n int, ok bool) {
	n, _, ok = v.container()
	if !ok || v.Raw() == nil {
		return 0, false
	}
	return n, true
}

// container returns the number of elements of a list or of entries of a dict,
// and how many values belong to each.
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

// Index returns an element of a list. It is nil if the value is no list, if it has
// no element i, or if what lies before that cannot be read.
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

// Get returns the value of a key of a dict, the last one if the key is repeated,
// as [Unmarshal] does. To know that, it walks over the whole dict. It is nil if
// the value is no dict or not all of it can be read, and if there is no such key.
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

// Elements ranges over the elements of a list. It ends before one that cannot be
// read; [View.Len] tells whether there is one.
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

// Entries ranges over the keys and values of a dict in their order, each as often
// as it is there. It ends before an entry that cannot be read; [View.Len] tells
// whether there is one.
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

// Raw returns the bytes of the value without what follows it, or nil if they are
// not all there.
func (v View) Raw() RawValue {
	w := walker{cursor{data: v}}
	return RawValue(w.take(0))
}

// Unmarshal decodes the value into what dst points to, as [UnmarshalFirst] does.
// It checks the value first. A value that is not there is an [ErrMalformed].
func (v View) Unmarshal(dst any) error {
	_, err := UnmarshalFirst(v, dst)
	return err
}

// walker is a cursor over bytes that were not checked.
type walker struct{ cursor }

// take returns the next value, which is inside depth lists and dicts, and moves
// behind it; nil if it is not whole.
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
// reports whether the value is whole.
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

// skipList moves behind n values.
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
