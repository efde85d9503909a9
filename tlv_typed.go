package dirty

import (
	"bytes"
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// plan is how values of one Go type are encoded and decoded. It is made once for
// each type, with reflection, and kept as long as the process lives.
//
// In this file and those of lists, maps and structs each kind of Go type has a
// function that encodes and one that decodes, next to each other. These are the
// halves of plans. Functions such as encodeMap return them, because they depend on
// the plan of an element.
type plan struct {
	encode encodeFunc
	decode decodeFunc
}

type (
	// encodeFunc appends v to b. depth is the number of lists and dicts
	// around it.
	encodeFunc = func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError)

	// decodeFunc reads the next value into v, which has an address and may
	// hold something already.
	decodeFunc = func(d *builder, v reflect.Value) error
)

var (
	plans    sync.Map   // of reflect.Type to *plan; all plans in it are complete
	planLock sync.Mutex // held while plans are made
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

// planMaker holds the plans that are being made. A type may contain itself, so plans
// refer to each other by pointers. Nothing else sees them before all are complete.
type planMaker map[reflect.Type]*plan

var (
	marshalerType       = reflect.TypeFor[Marshaler]()
	unmarshalerType     = reflect.TypeFor[Unmarshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawValueType        = reflect.TypeFor[RawValue]()
	dictType            = reflect.TypeFor[Dict]()
	zeroerType          = reflect.TypeFor[zeroer]()
	durationType        = reflect.TypeFor[time.Duration]()
	jsonNumberType      = reflect.TypeFor[json.Number]()
)

// zeroer is a type that decides itself whether the tag option omitzero leaves out a
// value.
type zeroer interface{ IsZero() bool }

// plan returns the plan of a type, which may not be complete yet.
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

// fill sets the functions that the kind of the type needs.
func (m planMaker) fill(p *plan, t reflect.Type) {
	switch {
	case t == rawValueType:
		p.encode, p.decode = encodeRaw, decodeRaw
		return
	case t == dictType:
		p.encode, p.decode = encodeDict, decodeDict
		return
	case t == durationType:
		p.encode, p.decode = encodeDuration, decodeDuration
		return
	case t == jsonNumberType:
		p.encode, p.decode = encodeJSONNumber, decodeJSONNumber
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

// useMethods replaces the functions by the methods of the type, or of a pointer to
// it, if there are some.
func (m planMaker) useMethods(p *plan, t reflect.Type) {
	if t.Kind() == reflect.Interface {
		return // the methods of the value in it count
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
	case t.Kind() == reflect.Pointer: // what it points to is decoded
	case reflect.PointerTo(t).Implements(unmarshalerType):
		p.decode = decodeUnmarshaler
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		p.decode = decodeText
	}
}

// pointsToItself reports whether the type is only pointers, such as type P *P.
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

// acceptNone moves behind None if it is next, and reports whether it was. It is for
// destinations that None leaves as they are.
func (d *builder) acceptNone() bool {
	if d.kind() != KindNone {
		return false
	}
	d.off++
	return true
}

func encodeBool(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendBool(b, v.Bool()), nil
}

func decodeBool(d *builder, v reflect.Value) error {
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

// boolName returns the name of a bool in Python.
func boolName(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

func encodeInt(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendInt64(b, v.Int()), nil
}

func decodeInt(d *builder, v reflect.Value) error {
	if d.acceptNone() {
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

// integer reads an int64, or a float64 that is whole. v is only for the error.
func (d *builder) integer(v reflect.Value) (int64, error) {
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

func encodeUint(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.uint64(b, v.Uint(), v.Type())
}

func decodeUint(d *builder, v reflect.Value) error {
	if d.acceptNone() {
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

func encodeFloat(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return AppendFloat64(b, v.Float()), nil
}

func decodeFloat(d *builder, v reflect.Value) error {
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

// isExact reports whether f is exactly n. A float of 1<<63 or more cannot be
// converted to an int64.
func isExact(f float64, n int64) bool { return f < 1<<63 && int64(f) == n }

func encodeString(e *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return e.string(b, v.String())
}

func decodeString(d *builder, v reflect.Value) error {
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

func encodeRaw(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	return e.raw(b, v.Bytes(), depth)
}

func decodeRaw(d *builder, v reflect.Value) error {
	v.SetBytes(append(RawValue(nil), d.value()...))
	return nil
}

func encodeDict(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if v.CanAddr() { // saves an allocation
		return e.dict(b, *v.Addr().Interface().(*Dict), depth)
	}
	return e.dict(b, v.Interface().(Dict), depth)
}

func decodeDict(d *builder, v reflect.Value) error {
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

func encodePointer(elem *plan) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.IsNil() {
			return AppendNone(b), nil
		}
		// MaxDepth does not bound pointers that lead in a circle without a list
		// or a dict between them.
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

func decodePointer(elem *plan) decodeFunc {
	return func(d *builder, v reflect.Value) error {
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

func decodeInterface(d *builder, v reflect.Value) error {
	if d.kind() == KindNone {
		d.off++
		v.SetZero()
		return nil
	}
	// As in encoding/json, a pointer in the interface is the destination. But
	// not a pointer to an interface, which may lead back to this one.
	if p := v.Elem(); p.Kind() == reflect.Pointer && !p.IsNil() && pointee(p.Type()).Kind() != reflect.Interface {
		return planOf(p.Type()).decode(d, p)
	}
	if v.NumMethod() > 0 {
		return d.mismatch(v)
	}
	v.Set(reflect.ValueOf(d.any()))
	return nil
}

// pointee returns the type at the end of a chain of pointers.
func pointee(t reflect.Type) reflect.Type {
	if pointsToItself(t) {
		return t
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func encodeUnsupported(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return b, &MarshalError{Err: ErrUnsupportedType, Type: v.Type()}
}

func decodeUnsupported(d *builder, v reflect.Value) error {
	return d.errorAt(d.off, ErrUnsupportedType, v.Type(), "")
}

func encodeMarshaler(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if isNilPointer(v) {
		return AppendNone(b), nil
	}
	// The method gets memory of its own, so that it cannot change what is
	// encoded already. The guard shows whether it has appended to that memory.
	out, err := v.Interface().(Marshaler).AppendTLV(append(e.scratch[:0], marshalerGuard...))
	if err != nil {
		return b, &MarshalError{Err: err, Type: v.Type(), Reason: "AppendTLV failed"}
	}
	value, ok := bytes.CutPrefix(out, []byte(marshalerGuard))
	switch {
	case !ok:
		return b, &MarshalError{Err: ErrMalformed, Type: v.Type(), Reason: "AppendTLV did not append to the slice that it was given"}
	case len(value) == 0:
		return b, &MarshalError{Err: ErrMalformed, Type: v.Type(), Reason: "AppendTLV appended nothing"}
	}
	if err := e.fits(b, "AppendTLV", len(value)); err != nil {
		return b, err
	}
	if err := e.checkValue(value, depth, v.Type()); err != nil {
		return b, err
	}
	if cap(out) <= keptScratch {
		e.scratch = out[:0]
	}
	return append(b, value...), nil
}

// marshalerGuard is what a Marshaler gets to append to. It does not return these
// bytes by chance.
const marshalerGuard = "\xfe\x00guard\xff"

// durationAdvice is the reason why a time.Duration is refused.
const durationAdvice = "Python would take its nanoseconds for seconds: use Seconds(), a float64"

func encodeDuration(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	return b, &MarshalError{Err: ErrUnsupportedType, Type: v.Type(), Reason: durationAdvice}
}

func decodeDuration(d *builder, v reflect.Value) error {
	if d.acceptNone() {
		return nil
	}
	return d.errorAt(d.off, ErrUnsupportedType, v.Type(), "Python counts seconds: use a float64")
}

// encodeJSONNumber appends an int64 if the text is an integer, else a float64.
func encodeJSONNumber(_ *encoder, b []byte, v reflect.Value, _ int) ([]byte, *MarshalError) {
	text := v.String()
	if text == "" { // as encoding/json
		return AppendInt64(b, 0), nil
	}
	if strings.Trim(text, "-+.0123456789eE") != "" || !json.Valid([]byte(text)) {
		return b, &MarshalError{Err: ErrUnsupportedType, Type: v.Type(), Reason: "it is not a number of JSON"}
	}
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return b, &MarshalError{Err: ErrOverflow, Type: v.Type(), Reason: "it is out of the range of int64"}
		}
		return AppendInt64(b, n), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return b, &MarshalError{Err: ErrOverflow, Type: v.Type(), Reason: "it is out of the range of float64"}
	}
	return AppendFloat64(b, f), nil
}

func decodeJSONNumber(d *builder, v reflect.Value) error {
	at := d.off
	switch d.kind() {
	case KindNone:
		d.off++
	case KindInt64:
		v.SetString(strconv.FormatInt(d.int64(), 10))
	case KindFloat64:
		f := d.float64()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return d.errorAt(at, ErrOverflow, v.Type(), "JSON has no NaN and no infinity")
		}
		v.SetString(floatText(f))
	default:
		return d.mismatch(v)
	}
	return nil
}

func decodeUnmarshaler(d *builder, v reflect.Value) error {
	at := d.off
	if err := v.Addr().Interface().(Unmarshaler).UnmarshalTLV(d.value()); err != nil {
		return d.errorAt(at, err, v.Type(), "UnmarshalTLV failed")
	}
	return nil
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

func decodeText(d *builder, v reflect.Value) error {
	if d.acceptNone() {
		if k := v.Kind(); k == reflect.Slice || k == reflect.Map {
			v.SetZero() // as for every slice and map
		}
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

// ifAddressable returns a function that calls method with a pointer to the value if
// there can be one, and else otherwise with the value. encoding/json does the same
// for methods that only a pointer has.
func ifAddressable(method, otherwise encodeFunc) encodeFunc {
	return func(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
		if v.CanAddr() {
			return method(e, b, v.Addr(), depth)
		}
		return otherwise(e, b, v, depth)
	}
}

// isNilPointer reports whether v is a nil pointer or a nil interface, whose methods
// must not be called.
func isNilPointer(v reflect.Value) bool {
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil()
}

// pointerTo returns a pointer to what v holds. The type of v is T, or a named type
// with T underneath.
func pointerTo[T any](v reflect.Value) *T {
	if p, ok := v.Addr().Interface().(*T); ok {
		return p
	}
	return v.Addr().Convert(reflect.TypeFor[*T]()).Interface().(*T)
}
