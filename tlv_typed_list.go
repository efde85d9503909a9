package dirty

import (
	"reflect"
	"slices"
	"strconv"
)

// encodeSlice encodes the most common element types in loops without reflection.
func encodeSlice(t reflect.Type, elem *plan) encodeFunc {
	switch t.Elem() {
	case reflect.TypeFor[float64]():
		return encodeNumbers(t, func(b []byte, list []float64) []byte {
			for _, f := range list {
				b = AppendFloat64(b, f)
			}
			return b
		})
	case reflect.TypeFor[int64]():
		return encodeNumbers(t, appendInts[int64])
	case reflect.TypeFor[int]():
		return encodeNumbers(t, appendInts[int])
	case reflect.TypeFor[string]():
		return encodeStrings(t)
	}
	array := encodeArray(elem)
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		b, err := array(e, b, v, depth)
		if err != nil {
			err.visit(v)
		}
		return b, err
	}
}

// decodeSlice decodes the most common element types in loops without reflection.
func decodeSlice(t reflect.Type, elem *plan) decodeFunc {
	switch {
	case t.Elem() == reflect.TypeFor[float64]():
		return decodeRuns(elem, func(d *builder, list []float64) int { return d.float64s(list) })
	case t.Elem() == reflect.TypeFor[int64]():
		return decodeRuns(elem, func(d *builder, list []int64) int { return integers(&d.cursor, list) })
	case t.Elem() == reflect.TypeFor[int]():
		return decodeRuns(elem, func(d *builder, list []int) int { return integers(&d.cursor, list) })
	case t.Elem() == reflect.TypeFor[string]():
		return decodeRuns(elem, (*builder).stringsInto)
	}
	plain := isScalar(t.Elem())
	return func(d *builder, v reflect.Value) error {
		fresh := v.IsNil()
		done, n, err := d.sliceOf(v)
		if done {
			return err
		}
		for i := range n {
			x := v.Index(i)
			if !fresh && (!plain || d.kind() == KindNone) {
				x.SetZero() // it may hold an earlier element
			}
			if err := elem.decode(d, x); err != nil {
				v.SetLen(i) // the rest are earlier elements
				return err
			}
		}
		return nil
	}
}

// isScalar reports whether everything but None replaces the whole of a value of the
// type. That is not so if the type has methods of its own that decode it, because
// they may use what the value was.
func isScalar(t reflect.Type) bool {
	if p := reflect.PointerTo(t); p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType) {
		return false
	}
	return t.Kind() <= reflect.Float64 || t.Kind() == reflect.String
}

// sliceOf reads the header of a list and gives v as many elements, in the memory of v
// if it suffices. If there is no list, done is set: the next value was None, or it
// is an error.
func (d *builder) sliceOf(v reflect.Value) (done bool, n int, err error) {
	switch d.kind() {
	case KindNone:
		d.off++
		v.SetZero()
		return true, 0, nil
	case KindList:
	default:
		return true, 0, d.mismatch(v)
	}
	n = d.count()
	if v.IsNil() || v.Cap() < n {
		v.Set(reflect.MakeSlice(v.Type(), n, n))
	}
	v.SetLen(n)
	return false, n, nil
}

// encodeArray also encodes slices.
func encodeArray(elem *plan) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		n := v.Len()
		if err := e.enter(b, KindList, n, depth); err != nil {
			err.Type = v.Type()
			return b, err
		}
		b = AppendListHeader(b, n)
		var err *MarshalError
		for i := range n {
			if b, err = elem.encode(e, b, v.Index(i), depth+1); err != nil {
				return b, err.inList(i)
			}
		}
		return b, nil
	}
}

func decodeArray(elem *plan) decodeFunc {
	return func(d *builder, v reflect.Value) error {
		if d.acceptNone() {
			return nil
		}
		if d.kind() != KindList {
			return d.mismatch(v)
		}
		at := d.off
		n := d.count()
		if n > v.Len() {
			return d.errorAt(at, ErrOverflow, v.Type(), strconv.Itoa(n)+" elements")
		}
		v.SetZero()
		for i := range n {
			if err := elem.decode(d, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// isByte reports whether slices and arrays of t become bytes. They do not if t has
// methods that encode it.
func isByte(t reflect.Type) bool {
	return t.Kind() == reflect.Uint8 && !t.Implements(marshalerType) && !reflect.PointerTo(t).Implements(marshalerType) &&
		!t.Implements(textMarshalerType) && !reflect.PointerTo(t).Implements(textMarshalerType)
}

func encodeBytes(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.bytes(b, v.Bytes())
}

func decodeBytes(d *builder, v reflect.Value) error {
	switch d.kind() {
	case KindNone:
		d.off++
		v.SetZero()
	case KindBytes:
		v.SetBytes(d.bytes(v.Bytes()))
	default:
		return d.mismatch(v)
	}
	return nil
}

func encodeByteArray(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	n := v.Len()
	if err := e.fits(b, "bytes", n); err != nil {
		return b, err
	}
	if v.CanAddr() { // it is always copied, because it may be in the working memory of a map
		return AppendBytes(b, v.Bytes()), nil
	}
	b = appendPrefix(b, KindBytes, n)
	for i := range n {
		b = append(b, byte(v.Index(i).Uint()))
	}
	return b, nil
}

func decodeByteArray(d *builder, v reflect.Value) error {
	at := d.off
	switch d.kind() {
	case KindNone:
		d.off++
	case KindBytes:
		b := d.body()
		if len(b) > v.Len() {
			return d.errorAt(at, ErrOverflow, v.Type(), strconv.Itoa(len(b))+" bytes")
		}
		clear(v.Bytes()[copy(v.Bytes(), b):])
	default:
		return d.mismatch(v)
	}
	return nil
}

// encodeNumbers is encodeSlice for numbers. add appends the elements.
func encodeNumbers[T any](t reflect.Type, add func([]byte, []T) []byte) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		list := sliceIn[T](v)
		if err := e.enter(b, KindList, len(list), depth); err != nil {
			err.Type = t
			return b, err
		}
		return add(slices.Grow(AppendListHeader(b, len(list)), len(list)*numberSize), list), nil
	}
}

// appendInts appends integers.
func appendInts[T int | int64](b []byte, list []T) []byte {
	for _, n := range list {
		b = AppendInt64(b, int64(n))
	}
	return b
}

// encodeStrings is encodeSlice for strings.
func encodeStrings(t reflect.Type) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		list := sliceIn[string](v)
		if err := e.enter(b, KindList, len(list), depth); err != nil {
			err.Type = t
			return b, err
		}
		b = AppendListHeader(b, len(list))
		var err *MarshalError
		for i, s := range list {
			if b, err = e.string(b, s); err != nil {
				return b, err.inList(i)
			}
		}
		return b, nil
	}
}

// sliceIn returns the slice that v holds. Its type is []T, or a named type with that
// underneath.
func sliceIn[T any](v reflect.Value) []T {
	if !v.CanAddr() {
		if list, ok := v.Interface().([]T); ok {
			return list
		}
		return v.Convert(reflect.TypeFor[[]T]()).Interface().([]T)
	}
	return *pointerTo[[]T](v)
}

// decodeRuns is decodeSlice for elements that run can decode. run reads the elements
// that are next and of the usual kind, and returns how many there were. Other
// elements are left to elem.
func decodeRuns[T any](elem *plan, run func(*builder, []T) int) decodeFunc {
	return func(d *builder, v reflect.Value) error {
		if k := d.kind(); k == KindNone {
			d.off++
			v.SetZero()
			return nil
		} else if k != KindList {
			return d.mismatch(v)
		}
		slice := pointerTo[[]T](v)
		n := d.count()
		if *slice == nil || cap(*slice) < n {
			*slice = make([]T, n)
		}
		list := (*slice)[:n]
		*slice = list
		for i := run(d, list); i < n; i += run(d, list[i:]) {
			var zero T
			list[i] = zero
			if err := elem.decode(d, v.Index(i)); err != nil {
				*slice = list[:i]
				return err
			}
			i++
		}
		return nil
	}
}

// stringsInto reads the strings that are next into the list and returns how many
// there were. It stops when the list is full.
func (d *builder) stringsInto(list []string) int {
	n := 0
	for n < len(list) && d.kind() == KindString {
		list[n] = d.string()
		n++
	}
	return n
}
