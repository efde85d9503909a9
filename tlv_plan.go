package dirty

import (
	"encoding"
	"reflect"
	"sync"
)

// plan is how values of one Go type are encoded and decoded. It is made once
// for each type, by looking at it with reflection, and kept for ever.
type plan struct {
	encode func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError)
	decode func(d *decoder, v reflect.Value) error
}

var (
	plans    sync.Map   // of reflect.Type to *plan, complete ones
	planLock sync.Mutex // of those who make plans
)

// planOf returns the plan of a type.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	planLock.Lock()
	defer planLock.Unlock()
	maker := planMaker{}
	p := maker.plan(t)
	for t, p := range maker {
		plans.Store(t, p)
	}
	return p
}

// planMaker holds the plans that are being made. A type may contain itself,
// so plans refer to each other by pointers, and nobody else sees them before
// all are complete.
type planMaker map[reflect.Type]*plan

var (
	marshalerType       = reflect.TypeFor[Marshaler]()
	unmarshalerType     = reflect.TypeFor[Unmarshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawValueType        = reflect.TypeFor[RawValue]()
	dictType            = reflect.TypeFor[Dict]()
)

func (m planMaker) plan(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := m[t]; ok {
		return p
	}
	p := new(plan)
	m[t] = p
	m.fill(p, t)
	m.useMethods(p, t)
	return p
}

// fill sets the functions for the kind of the type.
func (m planMaker) fill(p *plan, t reflect.Type) {
	switch {
	case t == rawValueType:
		p.encode, p.decode = encodeRaw, decodeRaw
		return
	case t == dictType:
		p.encode, p.decode = encodeDict, decodeDict
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		p.encode, p.decode = encodeBool, decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.encode, p.decode = encodeInt, decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.encode, p.decode = encodeUint, decodeUint
	case reflect.Float32, reflect.Float64:
		p.encode, p.decode = encodeFloat, decodeFloat
	case reflect.String:
		p.encode, p.decode = encodeString, decodeString
	case reflect.Slice:
		if isByte(t.Elem()) {
			p.encode, p.decode = encodeBytes, decodeBytes
		} else {
			elem := m.plan(t.Elem())
			p.encode, p.decode = encodeSlice(t, elem), decodeSlice(t, elem)
		}
	case reflect.Array:
		if isByte(t.Elem()) {
			p.encode, p.decode = encodeByteArray, decodeByteArray
		} else {
			elem := m.plan(t.Elem())
			p.encode, p.decode = encodeArray(elem), decodeArray(elem)
		}
	case reflect.Map:
		elem := m.plan(t.Elem())
		p.encode, p.decode = encodeMap(t, elem), decodeMap(t, elem)
	case reflect.Struct:
		s := m.structPlan(t)
		p.encode, p.decode = s.encode, s.decode
	case reflect.Pointer:
		if pointsToItself(t) {
			p.encode, p.decode = encodeUnsupported, decodeUnsupported
			return
		}
		elem := m.plan(t.Elem())
		p.encode, p.decode = encodePointer(elem), decodePointer(elem)
	case reflect.Interface:
		p.encode, p.decode = encodeInterface, decodeInterface
	default:
		p.encode, p.decode = encodeUnsupported, decodeUnsupported
	}
}

// useMethods lets the methods of a type, or of a pointer to it, come before
// its kind.
func (m planMaker) useMethods(p *plan, t reflect.Type) {
	if t.Kind() == reflect.Interface {
		return // the value in it has the methods
	}
	switch {
	case t.Implements(textMarshalerType):
		p.encode = encodeText
	case reflect.PointerTo(t).Implements(textMarshalerType):
		p.encode = ifAddressable(encodeText, p.encode)
	}
	switch {
	case t.Implements(marshalerType):
		p.encode = encodeMarshaler
	case reflect.PointerTo(t).Implements(marshalerType):
		p.encode = ifAddressable(encodeMarshaler, p.encode)
	}
	switch {
	case t.Kind() == reflect.Pointer: // decodes what it points to
	case reflect.PointerTo(t).Implements(unmarshalerType):
		p.decode = decodeUnmarshaler
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		p.decode = decodeText
	}
}

// pointsToItself reports whether the type is nothing but pointers, as
// type P *P is.
func pointsToItself(t reflect.Type) bool {
	seen := map[reflect.Type]bool{}
	for ; t.Kind() == reflect.Pointer; t = t.Elem() {
		if seen[t] {
			return true
		}
		seen[t] = true
	}
	return false
}

// isByte reports whether a slice or array of t is bytes.
func isByte(t reflect.Type) bool {
	return t.Kind() == reflect.Uint8 && !t.Implements(marshalerType) && !reflect.PointerTo(t).Implements(marshalerType) &&
		!t.Implements(textMarshalerType) && !reflect.PointerTo(t).Implements(textMarshalerType)
}
