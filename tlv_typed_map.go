package dirty

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// encodeMap collects the entries of a map in working memory, and sorts them by key.
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
			if n <= keptEntries {
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
				value = reflect.ValueOf(value.Interface()) // a copy that has no address
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

// mapEntries is working memory for the entries of a map.
type mapEntries struct {
	iter   reflect.MapIter
	keys   []mapKey
	key    reflect.Value // the current key
	values reflect.Value // a slice of all values
}

// mapKey is the text of a key, and the index of its value in mapEntries.values.
type mapKey struct {
	name  string
	index int
}

// collect takes the n entries of a map and sorts them by key.
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

// reset drops the n entries, so that the working memory refers to nothing.
func (m *mapEntries) reset(n int) {
	m.iter.Reset(reflect.Value{})
	m.key.SetZero()
	clear(m.keys)
	m.keys = m.keys[:0]
	for i := range min(n, m.values.Len()) {
		m.values.Index(i).SetZero()
	}
}

// keyName returns the text of a map's key, spelled as by Python's str.
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
			return "", nil // as in encoding/json
		}
		text, err := m.MarshalText()
		if err != nil {
			return "", &MarshalError{Err: err, Type: k.Type(), Reason: "MarshalText of a map key failed"}
		}
		return string(text), nil
	}
	if k.Type() == durationType {
		return "", &MarshalError{Err: ErrUnsupportedType, Type: k.Type(), Reason: "it is the key of a map: " + durationAdvice}
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

// hasPointerMethods reports whether a type, or one inside it, has methods that only a
// pointer to it has. For the values of a map they are not called, as in
// encoding/json: their address is in working memory, which no method may keep.
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

// decodeMap adds the entries of a dict to a map.
func decodeMap(t reflect.Type, elem *plan) decodeFunc {
	readKey := keyReader(t.Key())
	return func(d *builder, v reflect.Value) error {
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

// keyReader returns the function that reads the keys of a map from strings, or nil if
// the type cannot be a key.
func keyReader(t reflect.Type) decodeFunc {
	if t == durationType {
		return nil
	}
	if reflect.PointerTo(t).Implements(textUnmarshalerType) && t.Kind() != reflect.Pointer {
		return decodeText
	}
	bad := func(d *builder, at int, err error, v reflect.Value) error {
		if err == nil {
			return nil
		}
		return d.errorAt(at, ErrTypeMismatch, v.Type(), "the key has another form")
	}
	switch t.Kind() {
	case reflect.String:
		return func(d *builder, v reflect.Value) error {
			v.SetString(d.name())
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(d *builder, v reflect.Value) error {
			at := d.off
			n, err := strconv.ParseInt(d.name(), 10, t.Bits())
			v.SetInt(n)
			return bad(d, at, err, v)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(d *builder, v reflect.Value) error {
			at := d.off
			n, err := strconv.ParseUint(d.name(), 10, t.Bits())
			v.SetUint(n)
			return bad(d, at, err, v)
		}
	case reflect.Bool:
		return func(d *builder, v reflect.Value) error {
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
			return func(d *builder, v reflect.Value) error {
				v.Set(reflect.ValueOf(d.name()))
				return nil
			}
		}
	}
	return nil
}
