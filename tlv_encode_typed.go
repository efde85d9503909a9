package dirty

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The functions of this file are the encode halves of plans: they append a
// value that is held by reflection.

type encodeFunc = func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError)

func encodeBool(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendBool(b, v.Bool()), nil
}

func encodeInt(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendInt64(b, v.Int()), nil
}

func encodeUint(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.uint64(b, v.Uint(), v.Type())
}

func encodeFloat(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendFloat64(b, v.Float()), nil
}

func encodeString(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.string(b, v.String())
}

func encodeBytes(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.bytes(b, v.Bytes())
}

func encodeByteArray(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	n := v.Len()
	if err := e.fits(b, "bytes", n); err != nil {
		return b, err
	}
	if v.CanAddr() { // never left apart: the array may be in a map's working memory
		return AppendBytes(b, v.Bytes()), nil
	}
	b = appendPrefix(b, KindBytes, n)
	for i := range n {
		b = append(b, byte(v.Index(i).Uint()))
	}
	return b, nil
}

func encodeRaw(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	return e.raw(b, v.Bytes(), depth)
}

func encodeDict(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if v.CanAddr() { // spares an allocation
		return e.ordered(b, *v.Addr().Interface().(*Dict), depth)
	}
	return e.ordered(b, v.Interface().(Dict), depth)
}

// encodeSlice has a loop without reflection for the commonest elements.
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

// encodeNumbers is encodeSlice for numbers; add appends the elements.
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

// sliceIn returns the slice that v holds, whose type may be one with a name.
func sliceIn[T any](v reflect.Value) []T {
	if !v.CanAddr() {
		if list, ok := v.Interface().([]T); ok {
			return list
		}
		return v.Convert(reflect.TypeFor[[]T]()).Interface().([]T)
	}
	return *pointerTo[[]T](v)
}

// pointerTo returns a pointer to what v holds, whose type is T or one with a
// name and T underneath.
func pointerTo[T any](v reflect.Value) *T {
	if p, ok := v.Addr().Interface().(*T); ok {
		return p
	}
	return v.Addr().Convert(reflect.TypeFor[*T]()).Interface().(*T)
}

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

func encodePointer(elem *plan) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		// Pointers that lead in a circle without a list or dict between them
		// never reach the depth limit.
		if e.pointers++; e.pointers > 2*e.lim.MaxDepth+100 {
			return b, &MarshalError{Err: ErrUnsupportedType, Type: v.Type(), Reason: "it contains itself"}
		}
		b, err := elem.encode(e, b, v.Elem(), depth)
		e.pointers--
		if err != nil {
			err.visit(v)
		}
		return b, err
	}
}

func encodeInterface(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if v.IsNil() {
		return AppendNone(b), nil
	}
	if v.NumMethod() == 0 {
		return e.any(b, v.Interface(), depth)
	}
	v = v.Elem()
	return planOf(v.Type()).encode(e, b, v, depth)
}

func encodeUnsupported(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return b, &MarshalError{Err: ErrUnsupportedType, Type: v.Type()}
}

// isNilPointer reports whether calling methods of v would be a mistake.
func isNilPointer(v reflect.Value) bool {
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil()
}

func encodeMarshaler(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if isNilPointer(v) {
		return AppendNone(b), nil
	}
	out, err := v.Interface().(Marshaler).AppendTLV(b)
	if err != nil {
		return b, &MarshalError{Err: err, Type: v.Type(), Reason: "AppendTLV failed"}
	}
	if len(out) <= len(b) {
		return b, &MarshalError{Err: ErrMalformed, Type: v.Type(), Reason: "AppendTLV appended nothing"}
	}
	if err := e.checkValue(out[len(b):], depth, v.Type()); err != nil {
		return b, err
	}
	return out, e.checkSize(out)
}

func encodeText(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	if isNilPointer(v) {
		return AppendNone(b), nil
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return b, &MarshalError{Err: err, Type: v.Type(), Reason: "MarshalText failed"}
	}
	return e.string(b, string(text))
}

// ifAddressable calls methods that only a pointer to the value has, where
// there can be one; encoding/json does so.
func ifAddressable(method, otherwise encodeFunc) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.CanAddr() {
			return method(e, b, v.Addr(), depth)
		}
		return otherwise(e, b, v, depth)
	}
}

// hasPointerMethods reports whether a value of the type, or one that lies
// inside it, has methods that only a pointer to it has. In a map they are not
// called, as in encoding/json: nobody must get a pointer to working memory.
func hasPointerMethods(t reflect.Type) bool {
	for _, methods := range [...]reflect.Type{marshalerType, textMarshalerType, zeroerType} {
		if !t.Implements(methods) && reflect.PointerTo(t).Implements(methods) {
			return true
		}
	}
	switch t.Kind() {
	case reflect.Array:
		return hasPointerMethods(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointerMethods(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// mapEntries is the working memory for a map: its entries, to be sorted.
type mapEntries struct {
	iter   reflect.MapIter
	keys   []mapKey
	key    reflect.Value // the current key
	values reflect.Value // a slice
}

type mapKey struct {
	name  string
	index int // of the value
}

func encodeMap(t reflect.Type, elem *plan) encodeFunc {
	valuesType := reflect.SliceOf(t.Elem())
	exposed := hasPointerMethods(t.Elem())
	pool := sync.Pool{New: func() any {
		return &mapEntries{key: reflect.New(t.Key()).Elem(), values: reflect.MakeSlice(valuesType, 8, 8)}
	}}
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		n := v.Len()
		if err := e.enter(b, KindDict, n, depth); err != nil {
			err.Type = t
			return b, err
		}
		m := pool.Get().(*mapEntries)
		defer func() {
			if n <= keptKeys {
				m.reset(n)
				pool.Put(m)
			}
		}()
		if err := m.collect(v, n, valuesType); err != nil {
			return b, err
		}
		b = AppendDictHeader(b, n)
		var err *MarshalError
		for _, k := range m.keys {
			value := m.values.Index(k.index)
			if exposed {
				value = reflect.ValueOf(value.Interface()) // cannot be pointed to
			}
			if b, err = e.string(b, k.name); err == nil {
				b, err = elem.encode(e, b, value, depth+1)
			}
			if err != nil {
				return b, err.inDict(k.name).visit(v)
			}
		}
		return b, nil
	}
}

// collect takes the n entries of a map and sorts them.
func (m *mapEntries) collect(v reflect.Value, n int, valuesType reflect.Type) *MarshalError {
	if m.values.Len() < n {
		m.values = reflect.MakeSlice(valuesType, n, n)
	}
	m.iter.Reset(v)
	for i := 0; m.iter.Next(); i++ {
		m.key.SetIterKey(&m.iter)
		name, err := keyName(m.key)
		if err != nil {
			return err
		}
		m.keys = append(m.keys, mapKey{name, i})
		m.values.Index(i).SetIterValue(&m.iter)
	}
	slices.SortFunc(m.keys, func(a, b mapKey) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(m.keys); i++ {
		if m.keys[i].name == m.keys[i-1].name {
			return (&MarshalError{Err: ErrUnsupportedType, Type: v.Type(), Reason: "two keys have the same text"}).inDict(m.keys[i].name)
		}
	}
	return nil
}

// reset drops what the n entries refer to.
func (m *mapEntries) reset(n int) {
	m.iter.Reset(reflect.Value{})
	m.key.SetZero()
	clear(m.keys)
	m.keys = m.keys[:0]
	for i := range min(n, m.values.Len()) {
		m.values.Index(i).SetZero()
	}
}

// keyName returns the key of a map as Python's str spells it.
func keyName(k reflect.Value) (string, *MarshalError) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if k.Kind() == reflect.Interface {
		if k.IsNil() {
			return "None", nil
		}
		return keyName(k.Elem())
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if isNilPointer(k) {
			return "", nil // as encoding/json
		}
		text, err := m.MarshalText()
		if err != nil {
			return "", &MarshalError{Err: err, Type: k.Type(), Reason: "MarshalText of a map key failed"}
		}
		return string(text), nil
	}
	switch k.Kind() {
	case reflect.Bool:
		return boolName(k.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(k.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", &MarshalError{Err: ErrUnsupportedType, Type: k.Type(), Reason: "it is the key of a map"}
}

func boolName(v bool) string {
	if v {
		return "True"
	}
	return "False"
}
