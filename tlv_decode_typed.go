package dirty

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
)

// The functions of this file are the decode halves of plans: they store the
// next value in a destination that is held by reflection.

type decodeFunc = func(d *decoder, v reflect.Value) error

// none handles None for destinations that it leaves as they are.
func (d *decoder) none() bool {
	if d.kind() != KindNone {
		return false
	}
	d.off++
	return true
}

func decodeBool(d *decoder, v reflect.Value) error {
	switch d.kind() {
	case KindNone:
		d.off++
	case KindBool:
		v.SetBool(d.bool())
	default:
		return d.mismatch(v)
	}
	return nil
}

func decodeInt(d *decoder, v reflect.Value) error {
	if d.none() {
		return nil
	}
	at := d.off
	n, err := d.integer(v)
	if err != nil {
		return err
	}
	if v.OverflowInt(n) {
		return d.errorAt(at, ErrOverflow, v.Type(), "")
	}
	v.SetInt(n)
	return nil
}

func decodeUint(d *decoder, v reflect.Value) error {
	if d.none() {
		return nil
	}
	at := d.off
	var u uint64
	if d.kind() == KindFloat64 { // it may be above the largest int64
		f := d.float64()
		if f != math.Trunc(f) || f < 0 || f >= 1<<64 {
			return d.errorAt(at, ErrOverflow, v.Type(), "it is no whole number in the range of uint64")
		}
		u = uint64(f)
	} else {
		n, err := d.integer(v)
		if err != nil {
			return err
		}
		if n < 0 {
			return d.errorAt(at, ErrOverflow, v.Type(), "")
		}
		u = uint64(n)
	}
	if v.OverflowUint(u) {
		return d.errorAt(at, ErrOverflow, v.Type(), "")
	}
	v.SetUint(u)
	return nil
}

// integer reads an int64, or a float64 that is whole.
func (d *decoder) integer(v reflect.Value) (int64, error) {
	switch at := d.off; d.kind() {
	case KindInt64:
		return d.int64(), nil
	case KindFloat64:
		f := d.float64()
		if f != math.Trunc(f) || f < -1<<63 || f >= 1<<63 {
			return 0, d.errorAt(at, ErrOverflow, v.Type(), "it is no whole number in the range of int64")
		}
		return int64(f), nil
	}
	return 0, d.mismatch(v)
}

func decodeFloat(d *decoder, v reflect.Value) error {
	at := d.off
	switch d.kind() {
	case KindNone:
		d.off++
	case KindFloat64:
		f := d.float64()
		if v.OverflowFloat(f) {
			return d.errorAt(at, ErrOverflow, v.Type(), "")
		}
		v.SetFloat(f)
	case KindInt64:
		n := d.int64()
		f := float64(n)
		if v.Kind() == reflect.Float32 {
			f = float64(float32(n))
		}
		if !isExact(f, n) {
			return d.errorAt(at, ErrOverflow, v.Type(), "the integer has no exact float")
		}
		v.SetFloat(f)
	default:
		return d.mismatch(v)
	}
	return nil
}

// isExact reports whether f is n; 1<<63 must not be converted back.
func isExact(f float64, n int64) bool { return f < 1<<63 && int64(f) == n }

func decodeString(d *decoder, v reflect.Value) error {
	switch d.kind() {
	case KindNone:
		d.off++
	case KindString:
		v.SetString(d.string())
	default:
		return d.mismatch(v)
	}
	return nil
}

func decodeBytes(d *decoder, v reflect.Value) error {
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

func decodeByteArray(d *decoder, v reflect.Value) error {
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

func decodeRaw(d *decoder, v reflect.Value) error {
	v.SetBytes(append(RawValue(nil), d.value()...))
	return nil
}

func decodeDict(d *decoder, v reflect.Value) error {
	switch d.kind() {
	case KindNone:
		d.off++
		v.SetZero()
	case KindDict:
		useDict := d.opts.UseDict
		d.opts.UseDict = true // order matters all the way down
		*v.Addr().Interface().(*Dict) = d.dict()
		d.opts.UseDict = useDict
	default:
		return d.mismatch(v)
	}
	return nil
}

// decodeSlice has a loop without reflection for the commonest elements.
func decodeSlice(t reflect.Type, elem *plan) decodeFunc {
	switch {
	case t.Elem() == reflect.TypeFor[float64]():
		return decodeRuns(elem, func(d *decoder, list []float64) int { return d.float64s(list) })
	case t.Elem() == reflect.TypeFor[int64]():
		return decodeRuns(elem, func(d *decoder, list []int64) int { return integers(&d.cursor, list) })
	case t.Elem() == reflect.TypeFor[int]():
		return decodeRuns(elem, func(d *decoder, list []int) int { return integers(&d.cursor, list) })
	case t.Elem() == reflect.TypeFor[string]():
		return decodeRuns(elem, (*decoder).stringsInto)
	}
	plain := isScalar(t.Elem())
	return func(d *decoder, v reflect.Value) error {
		fresh := v.IsNil()
		done, n, err := d.sliceOf(v)
		if done {
			return err
		}
		for i := range n {
			x := v.Index(i)
			if !fresh && (!plain || d.kind() == KindNone) {
				x.SetZero() // of an element that was there before
			}
			if err := elem.decode(d, x); err != nil {
				v.SetLen(i) // what is behind was there before
				return err
			}
		}
		return nil
	}
}

// isScalar reports whether decoding anything but None replaces the whole of a
// value of the type; methods of its own may look at what was there.
func isScalar(t reflect.Type) bool {
	if p := reflect.PointerTo(t); p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType) {
		return false
	}
	return t.Kind() <= reflect.Float64 || t.Kind() == reflect.String
}

// sliceOf reads the header of a list and gives v its length, in memory that
// v has if it suffices. done is set if there are no elements to decode.
func (d *decoder) sliceOf(v reflect.Value) (done bool, n int, err error) {
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

// decodeRuns is decodeSlice for elements of which run decodes as many as are
// next and of the usual kind.
func decodeRuns[T any](elem *plan, run func(*decoder, []T) int) decodeFunc {
	return func(d *decoder, v reflect.Value) error {
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

// stringsInto decodes the strings that are next, at most as many as the list
// is long, and returns their number.
func (d *decoder) stringsInto(list []string) int {
	n := 0
	for n < len(list) && d.kind() == KindString {
		list[n] = d.string()
		n++
	}
	return n
}

func decodeArray(elem *plan) decodeFunc {
	return func(d *decoder, v reflect.Value) error {
		if d.none() {
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

func decodeMap(t reflect.Type, elem *plan) decodeFunc {
	readKey := keyReader(t.Key())
	return func(d *decoder, v reflect.Value) error {
		switch d.kind() {
		case KindNone:
			d.off++
			v.SetZero()
			return nil
		case KindDict:
		default:
			return d.mismatch(v)
		}
		if readKey == nil {
			return d.errorAt(d.off, ErrUnsupportedType, t, "the type of the keys")
		}
		n := d.count()
		if v.IsNil() {
			v.Set(reflect.MakeMapWithSize(t, n))
		}
		key := reflect.New(t.Key()).Elem()
		value := reflect.New(t.Elem()).Elem()
		for range n {
			key.SetZero()
			if err := readKey(d, key); err != nil {
				return err
			}
			value.SetZero()
			if err := elem.decode(d, value); err != nil {
				return err
			}
			v.SetMapIndex(key, value)
		}
		return nil
	}
}

// keyReader returns how the keys of a map are read from strings, or nil if
// the type can be no key.
func keyReader(t reflect.Type) decodeFunc {
	if reflect.PointerTo(t).Implements(textUnmarshalerType) && t.Kind() != reflect.Pointer {
		return decodeText
	}
	bad := func(d *decoder, at int, err error, v reflect.Value) error {
		if err == nil {
			return nil
		}
		return d.errorAt(at, ErrTypeMismatch, v.Type(), "the key has another form")
	}
	switch t.Kind() {
	case reflect.String:
		return func(d *decoder, v reflect.Value) error {
			v.SetString(d.name())
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(d *decoder, v reflect.Value) error {
			at := d.off
			n, err := strconv.ParseInt(d.name(), 10, t.Bits())
			v.SetInt(n)
			return bad(d, at, err, v)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(d *decoder, v reflect.Value) error {
			at := d.off
			n, err := strconv.ParseUint(d.name(), 10, t.Bits())
			v.SetUint(n)
			return bad(d, at, err, v)
		}
	case reflect.Bool:
		return func(d *decoder, v reflect.Value) error {
			at := d.off
			name := d.name()
			v.SetBool(name == boolName(true))
			if name == boolName(true) || name == boolName(false) {
				return nil
			}
			return bad(d, at, strconv.ErrSyntax, v)
		}
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return func(d *decoder, v reflect.Value) error {
				v.Set(reflect.ValueOf(d.name()))
				return nil
			}
		}
	}
	return nil
}

func decodePointer(elem *plan) decodeFunc {
	return func(d *decoder, v reflect.Value) error {
		if d.kind() == KindNone {
			d.off++
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return elem.decode(d, v.Elem())
	}
}

func decodeInterface(d *decoder, v reflect.Value) error {
	if d.kind() == KindNone {
		d.off++
		v.SetZero()
		return nil
	}
	// As in encoding/json, a pointer that is there already is the destination;
	// but not one that leads to an interface, which may lead back here.
	if p := v.Elem(); p.Kind() == reflect.Pointer && !p.IsNil() && pointee(p.Type()).Kind() != reflect.Interface {
		return planOf(p.Type()).decode(d, p)
	}
	if v.NumMethod() > 0 {
		return d.mismatch(v)
	}
	v.Set(reflect.ValueOf(d.any()))
	return nil
}

// pointee returns what a pointer, or a pointer to a pointer, points to.
func pointee(t reflect.Type) reflect.Type {
	if pointsToItself(t) {
		return t
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func decodeUnsupported(d *decoder, v reflect.Value) error {
	return d.errorAt(d.off, ErrUnsupportedType, v.Type(), "")
}

func decodeUnmarshaler(d *decoder, v reflect.Value) error {
	at := d.off
	if err := v.Addr().Interface().(Unmarshaler).UnmarshalTLV(d.value()); err != nil {
		return d.errorAt(at, err, v.Type(), "UnmarshalTLV failed")
	}
	return nil
}

func decodeText(d *decoder, v reflect.Value) error {
	if d.none() {
		return nil
	}
	if d.kind() != KindString {
		return d.mismatch(v)
	}
	at := d.off
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(d.body()); err != nil {
		return d.errorAt(at, err, v.Type(), "UnmarshalText failed")
	}
	return nil
}
