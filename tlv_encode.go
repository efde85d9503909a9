package dirty

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// encoder holds what the encoding of one value needs besides the output.
// The output is handed from function to function, which keeps it in
// registers.
type encoder struct {
	lim   Limits // filled in
	start int    // where the payload begins in the output
	end   int    // the length that the output may reach

	// keys is a stack of the keys of the maps that are being encoded.
	keys []string

	// These outlive the value, because the next one is often like it.
	shapes   shapes
	lastType reflect.Type // met in an interface
	lastPlan *plan        // of lastType

	// pointers counts the pointers on the way to the current value: the depth
	// limit does not see a pointer that points to itself.
	pointers int

	// vectored makes large byte slices stay where they are: the output has
	// a gap there, noted in parts.
	vectored bool
	parts    []part
	apart    int // bytes in parts

	// scratch is memory for a Marshaler.
	scratch []byte
}

// part is a byte slice that belongs into the output at an offset.
type part struct {
	at   int
	data []byte
}

const (
	// vectorSize is from where on writing a byte slice apart is quicker than
	// copying it.
	vectorSize = 32 << 10

	// keptKeys is how many keys an idle encoder keeps memory for.
	keptKeys = 1024

	// keptScratch is the largest memory for Marshalers, in bytes, that an idle
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
	clear(e.keys) // left behind by an error
	clear(e.parts)
	if cap(e.keys) > keptKeys {
		e.keys = nil
	}
	e.keys, e.parts = e.keys[:0], e.parts[:0]
	e.pointers, e.apart, e.vectored = 0, 0, false
	encoders.Put(e)
}

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

// checkSize checks that what is encoded so far fits a frame.
func (e *encoder) checkSize(b []byte) *MarshalError {
	if len(b) > e.end {
		return tooLarge(nil, "payload", "bytes", e.size(b), e.lim.MaxPayload)
	}
	return nil
}

// size returns the size of the payload so far.
func (e *encoder) size(b []byte) int { return len(b) - e.start + e.apart }

// fits checks that n bytes more fit, before memory is taken for them: a
// small value can hold the same large text many times.
func (e *encoder) fits(b []byte, what string, n int) *MarshalError {
	if n <= e.end-len(b) {
		return nil
	}
	return e.overflow(b, what, n)
}

// overflow makes the error of fits, which is inlined without it.
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

// planOf is the function of that name; it remembers the last type.
func (e *encoder) planOf(t reflect.Type) *plan {
	if e.lastType != t {
		e.lastType, e.lastPlan = t, planOf(t)
	}
	return e.lastPlan
}

func (e *encoder) string(b []byte, s string) ([]byte, *MarshalError) {
	if err := e.fits(b, "string", len(s)); err != nil {
		return b, err
	}
	b, ascii := appendText(b, s)
	if !ascii && !utf8.ValidString(s) {
		return b, &MarshalError{Err: ErrInvalidUTF8, Type: reflect.TypeFor[string](),
			Reason: "at byte " + strconv.Itoa(validPrefix(s))}
	}
	return b, nil
}

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

func (e *encoder) mapAny(b []byte, m map[string]any, depth int) ([]byte, *MarshalError) {
	if m == nil {
		return AppendNone(b), nil
	}
	if err := e.enter(b, KindDict, len(m), depth); err != nil {
		return b, err
	}
	b = appendChecked(b, KindDict, len(m))
	s := e.shapes.of(depth, len(m))
	if s != nil {
		if b, ok, err := e.appendShaped(b, m, s, depth); ok {
			return b, err
		}
	}
	base := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	keys := e.keys[base:]
	slices.Sort(keys)
	if s != nil {
		s.learn(keys)
	}
	var err *MarshalError
	for _, k := range keys {
		if b, err = e.string(b, k); err == nil {
			b, err = e.any(b, m[k], depth+1)
		}
		if err != nil {
			return b, err.inDict(k).visit(reflect.ValueOf(m))
		}
	}
	clear(e.keys[base:]) // not keys: what is inside may have moved them
	e.keys = e.keys[:base]
	return b, nil
}

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

// raw appends an encoded value.
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

// checkValue checks that v is one encoded value, and not too deep for its
// place. typ is of what made it.
func (e *encoder) checkValue(v RawValue, depth int, typ reflect.Type) *MarshalError {
	lim := e.lim
	lim.MaxDepth -= depth
	lim.MaxMemory = maxMemory // is no limit of encoding
	s := newChecker(v, lim)
	err := s.value()
	if err == nil && s.left() > 0 {
		err = s.fail(ErrTrailingData, ruleTrailing, 0, int64(s.left()))
	}
	if err != nil {
		return &MarshalError{Err: err, Type: typ, Reason: "it is not one encoded value"}
	}
	return nil
}

// enter checks a list or a dict before its header is written.
func (e *encoder) enter(b []byte, k Kind, n, depth int) *MarshalError {
	if depth < e.lim.MaxDepth && n <= e.lim.MaxElements && len(b) <= e.end {
		return nil
	}
	return e.refuse(b, k, n, depth)
}

// refuse makes the error of enter, which is inlined without it.
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

// uint64 appends an unsigned integer, if the protocol has it.
func (e *encoder) uint64(b []byte, u uint64, typ reflect.Type) ([]byte, *MarshalError) {
	if u > math.MaxInt64 {
		return b, &MarshalError{Err: ErrOverflow, Type: typ, Reason: "it is above the largest int64, " +
			strconv.FormatInt(math.MaxInt64, 10)}
	}
	return AppendInt64(b, int64(u)), nil
}
