package dirty

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Marshal is [Marshal] with options.
func (o EncodeOptions) Marshal(v any) ([]byte, error) {
	b, err := o.Append(nil, v)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Append is [Append] with options.
func (o EncodeOptions) Append(b []byte, v any) ([]byte, error) {
	if err := o.Limits.Validate(); err != nil {
		return b, err
	}
	e := newEncoder(o.Limits, len(b))
	defer e.release()
	out, err := e.any(b, v, 0)
	if err == nil {
		err = e.checkSize(out)
	}
	if err != nil {
		return b, err.locate()
	}
	return out, nil
}

// encoder is what it takes to encode a value besides the output. The output b is
// handed from method to method, so that it stays in registers. On an error the
// methods return it with part of the value; Append and Writer drop that.
type encoder struct {
	lim   Limits // with every default filled in
	start int    // where the payload begins in the output
	end   int    // the length that the output may have

	// entries is a stack of the entries of the maps that are being encoded.
	entries []Entry
	order   []uint64 // working memory of sorted

	// These stay for the next value, because it is often like this one.
	shapes   shapes
	lastType reflect.Type // the last type in an interface
	lastPlan *plan        // of lastType

	// pointers is how many pointers lead to the current value. MaxDepth does
	// not bound pointers that lead in a circle.
	pointers int

	// If vectored is set, large byte slices are not copied to the output but
	// noted in parts.
	vectored bool
	parts    []part
	apart    int // how many bytes parts have

	// scratch is memory for a Marshaler.
	scratch []byte
}

// part is a byte slice that belongs into the output at an offset.
type part struct {
	at   int
	data []byte
}

const (
	// vectorSize is the least size, in bytes, from which on a vectored write
	// is quicker than copying a byte slice.
	vectorSize = 32 << 10

	// keptEntries is for how many entries of maps an idle encoder keeps memory.
	keptEntries = 1024

	// keptScratch is the most memory for Marshalers, in bytes, that an idle
	// encoder keeps.
	keptScratch = 4 << 10
)

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// newEncoder takes an encoder from the pool. lim must be valid.
func newEncoder(lim Limits, start int) *encoder {
	e := encoders.Get().(*encoder)
	e.lim = lim.forEncode()
	e.begin(start)
	return e
}

// begin notes where the payload begins in the output.
func (e *encoder) begin(start int) {
	e.start, e.end = start, start+e.lim.MaxPayload
}

// release gives the encoder back to the pool.
func (e *encoder) release() {
	clear(e.entries) // there are some after an error
	clear(e.parts)
	if cap(e.entries) > keptEntries {
		e.entries, e.order = nil, nil
	}
	e.entries, e.parts = e.entries[:0], e.parts[:0]
	e.pointers, e.apart, e.vectored = 0, 0, false
	encoders.Put(e)
}

// checkSize checks that what is encoded so far is not too large.
func (e *encoder) checkSize(b []byte) *MarshalError {
	if len(b) > e.end {
		return tooLarge(nil, "payload", "bytes", e.size(b), e.lim.MaxPayload)
	}
	return nil
}

// size returns how many bytes the payload has so far.
func (e *encoder) size(b []byte) int { return len(b) - e.start + e.apart }

// fits checks that there is room for n more bytes, before memory is allocated for
// them: a small value can hold the same large text many times. what names them in
// the error.
func (e *encoder) fits(b []byte, what string, n int) *MarshalError {
	if n <= e.end-len(b) {
		return nil
	}
	return e.overflow(b, what, n)
}

// overflow returns the error of fits. It is apart so that fits is inlined.
func (e *encoder) overflow(b []byte, what string, n int) *MarshalError {
	if n > e.lim.MaxPayload {
		return tooLarge(nil, what, "bytes", n, e.lim.MaxPayload)
	}
	return tooLarge(nil, "payload", "or more bytes", e.size(b)+n, e.lim.MaxPayload)
}

// any appends v. depth is the number of lists and dicts around it.
func (e *encoder) any(b []byte, v any, depth int) ([]byte, *MarshalError) {
	switch v := v.(type) {
	case nil:
		return AppendNone(b), nil
	case bool:
		return AppendBool(b, v), nil
	case string:
		return e.string(b, v)
	case int:
		return AppendInt64(b, int64(v)), nil
	case int64:
		return AppendInt64(b, v), nil
	case float64:
		return AppendFloat64(b, v), nil
	case []byte:
		return e.bytes(b, v)
	case []any:
		return e.list(b, v, depth)
	case map[string]any:
		return e.mapAny(b, v, depth)
	case Dict:
		return e.dict(b, v, depth)
	case RawValue:
		return e.raw(b, v, depth)
	}
	rv := reflect.ValueOf(v)
	return e.planOf(rv.Type()).encode(e, b, rv, depth)
}

// planOf returns the plan of a type. It remembers the last one.
func (e *encoder) planOf(t reflect.Type) *plan {
	if e.lastType != t {
		e.lastType, e.lastPlan = t, planOf(t)
	}
	return e.lastPlan
}

// text appends a string. The rest of the encoder calls string, which is faster.
func (e *encoder) text(b []byte, s string) ([]byte, *MarshalError) {
	if err := e.fits(b, "string", len(s)); err != nil {
		return b, err
	}
	if !isASCII(s) && !utf8.ValidString(s) {
		return b, &MarshalError{Err: ErrInvalidUTF8, Type: reflect.TypeFor[string](),
			Reason: "at byte " + strconv.Itoa(validPrefix(s))}
	}
	return append(appendChecked(b, KindString, len(s)), s...), nil
}

// bytes appends bytes, or notes them in parts.
func (e *encoder) bytes(b, v []byte) ([]byte, *MarshalError) {
	if v == nil {
		return AppendNone(b), nil
	}
	if err := e.fits(b, "bytes", len(v)); err != nil {
		return b, err
	}
	if e.vectored && len(v) >= vectorSize {
		b = appendChecked(b, KindBytes, len(v))
		e.parts = append(e.parts, part{len(b), v})
		e.apart += len(v)
		e.end -= len(v)
		return b, nil
	}
	return append(appendChecked(b, KindBytes, len(v)), v...), nil
}

// list appends a list.
func (e *encoder) list(b []byte, v []any, depth int) ([]byte, *MarshalError) {
	if v == nil {
		return AppendNone(b), nil
	}
	if err := e.enter(b, KindList, len(v), depth); err != nil {
		return b, err
	}
	b = appendChecked(b, KindList, len(v))
	var err *MarshalError
	for i := 0; i < len(v); {
		n := 0
		switch x := v[i].(type) {
		case float64:
			b, n = appendFloats(b, v[i:])
		case string:
			b, n, err = e.strings(b, v[i:])
		case []any:
			if b, err = e.list(b, x, depth+1); err == nil {
				n = 1
			}
		default:
			if b, err = e.any(b, x, depth+1); err == nil {
				n = 1
			}
		}
		i += n
		if err != nil {
			return b, err.inList(i).visit(reflect.ValueOf(v))
		}
	}
	return b, nil
}

// mapAny appends a map as a dict, sorted by key.
func (e *encoder) mapAny(b []byte, m map[string]any, depth int) ([]byte, *MarshalError) {
	if m == nil {
		return AppendNone(b), nil
	}
	if err := e.enter(b, KindDict, len(m), depth); err != nil {
		return b, err
	}
	b = appendChecked(b, KindDict, len(m))
	set := e.shapes.of(depth, len(m))
	if set != nil && set.shouldLook() {
		if b, ok, err := e.appendKnown(b, m, set, depth); ok {
			return b, err
		}
	}
	if len(m) <= fewKeys {
		return e.appendFew(b, m, set, depth)
	}
	base := len(e.entries)
	for k, v := range m {
		e.entries = append(e.entries, Entry{k, v})
	}
	entries := e.sorted(base)
	learned := set.next()
	var err *MarshalError
	for i := range entries {
		k := entries[i].Key
		if b, err = e.string(b, k); err == nil {
			if learned != nil {
				learned.add(k)
			}
			b, err = e.any(b, entries[i].Value, depth+1)
		}
		if err != nil {
			return b, err.inDict(k).visit(reflect.ValueOf(m))
		}
	}
	clear(e.entries[base:]) // not entries: maps inside this one may have moved the stack
	e.entries = e.entries[:base]
	return b, nil
}

// sortEntries sorts by key.
func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
}

// dict appends a Dict.
func (e *encoder) dict(b []byte, d Dict, depth int) ([]byte, *MarshalError) {
	if d == nil {
		return AppendNone(b), nil
	}
	if err := e.enter(b, KindDict, len(d), depth); err != nil {
		return b, err
	}
	b = appendChecked(b, KindDict, len(d))
	var err *MarshalError
	for i := range d {
		if b, err = e.string(b, d[i].Key); err == nil {
			b, err = e.any(b, d[i].Value, depth+1)
		}
		if err != nil {
			return b, err.inDict(d[i].Key).visit(reflect.ValueOf(d))
		}
	}
	return b, nil
}

// raw appends a value that is encoded already.
func (e *encoder) raw(b []byte, v RawValue, depth int) ([]byte, *MarshalError) {
	if v == nil {
		return AppendNone(b), nil
	}
	typ := reflect.TypeFor[RawValue]()
	if err := e.fits(b, typ.Name(), len(v)); err != nil {
		return b, err
	}
	if err := e.checkValue(v, depth, typ); err != nil {
		return b, err
	}
	return append(b, v...), nil
}

// checkValue checks that v is one encoded value and that it may be depth lists and
// dicts deep. typ is the Go type that it comes from.
func (e *encoder) checkValue(v RawValue, depth int, typ reflect.Type) *MarshalError {
	lim := e.lim
	lim.MaxDepth -= depth
	lim.MaxMemory = maxMemory // has no effect on encoding
	c := newChecker(v, lim)
	err := c.value()
	if err == nil && c.left() > 0 {
		err = c.fail(ErrTrailingData, ruleTrailing, 0, int64(c.left()))
	}
	if err != nil {
		return &MarshalError{Err: err, Type: typ, Reason: "it is not one encoded value"}
	}
	return nil
}

// enter checks a list or a dict of n elements before its header is appended.
func (e *encoder) enter(b []byte, k Kind, n, depth int) *MarshalError {
	if depth < e.lim.MaxDepth && n <= e.lim.MaxElements && len(b) <= e.end {
		return nil
	}
	return e.refuse(b, k, n, depth)
}

// refuse returns the error of enter. It is apart so that enter is inlined.
func (e *encoder) refuse(b []byte, k Kind, n, depth int) *MarshalError {
	if depth >= e.lim.MaxDepth {
		return &MarshalError{Err: ErrTooDeep, Reason: "more than " + strconv.Itoa(e.lim.MaxDepth) +
			" lists and dicts inside each other (Limits.MaxDepth)"}
	}
	if n > e.lim.MaxElements {
		return tooLarge(nil, k.String(), "elements", n, e.lim.MaxElements)
	}
	return e.checkSize(b)
}

// uint64 appends an unsigned integer, unless it is above the largest int64.
func (e *encoder) uint64(b []byte, u uint64, typ reflect.Type) ([]byte, *MarshalError) {
	if u > math.MaxInt64 {
		return b, &MarshalError{Err: ErrOverflow, Type: typ, Reason: "it is above the largest int64, " +
			strconv.FormatInt(math.MaxInt64, 10)}
	}
	return AppendInt64(b, int64(u)), nil
}
