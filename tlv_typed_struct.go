package dirty

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// structPlan is how structs of one type are encoded and decoded.
type structPlan struct {
	fields  []structField  // in order of declaration
	byName  map[string]int // exact names
	byFold  map[string]int // names without regard to case
	longest int            // bytes of a key that may be one of the names, in any case

	// follows has for the start and for each field the one whose key came next
	// the last time: senders keep their order, which need not be ours.
	follows []atomic.Int32
}

// structField is an exported field, maybe of an embedded struct.
type structField struct {
	name      string
	key       fieldKey
	index     []int // path through embedded structs
	tagged    bool  // the name comes from a tag
	omitEmpty bool
	omitZero  bool
	required  bool
	isZero    func(reflect.Value) bool // the type's IsZero method, or nil
	typ       reflect.Type
	*plan

	// unexported marks an embedded struct whose type is not exported and that
	// a tag makes a field. Reflection gives no access to its methods, nor to
	// a pointer's target.
	unexported bool
}

func (m planMaker) structPlan(t reflect.Type) *structPlan {
	s := &structPlan{fields: visibleFields(t), byName: map[string]int{}, byFold: map[string]int{}}
	for i := range s.fields {
		f := &s.fields[i]
		f.key = newFieldKey(f.name)
		if f.unexported && !isPlainStruct(f.typ) {
			f.plan = &plan{encodeUnsupported, decodeUnsupported}
		} else {
			f.plan = m.plan(f.typ)
			f.isZero = zeroMethod(f.typ)
		}
		s.byName[f.name] = i
		if _, taken := s.byFold[fold(f.name)]; !taken {
			s.byFold[fold(f.name)] = i
		}
		s.longest = max(s.longest, utf8.UTFMax*len(f.name))
	}
	s.follows = make([]atomic.Int32, len(s.fields)+1)
	for i := range s.follows {
		s.follows[i].Store(int32(i))
	}
	return s
}

func (s *structPlan) encode(e *encoder, b []byte, v reflect.Value, depth int) ([]byte, *MarshalError) {
	if err := e.enter(b, KindDict, 0, depth); err != nil {
		err.Type = v.Type()
		return b, err
	}
	header, n := len(b), 0
	b = appendChecked(b, KindDict, 0)
	var err *MarshalError
	for i := range s.fields {
		f := &s.fields[i]
		var field reflect.Value
		if len(f.index) == 1 {
			field = v.Field(f.index[0])
		} else if field = f.reach(v, false); !field.IsValid() {
			continue
		}
		if (f.omitEmpty || f.omitZero) && f.isOmitted(field) {
			continue
		}
		n++
		b = f.key.append(b)
		if b, err = f.plan.encode(e, b, field, depth+1); err != nil {
			return b, err.inDict(f.name)
		}
	}
	if n > e.lim.MaxElements {
		return b, tooLarge(v.Type(), KindDict.String(), "elements", n, e.lim.MaxElements)
	}
	setCount(b, header, n)
	return b, nil
}

func (s *structPlan) decode(d *builder, v reflect.Value) error {
	if d.acceptNone() {
		return nil
	}
	if d.kind() != KindDict {
		return d.mismatch(v)
	}
	var few [4]uint64
	seen := few[:] // a bit for each field
	if n := len(s.fields)/64 + 1; n > len(few) {
		seen = make([]uint64, n)
	}
	next := &s.follows[0]
	for range d.count() {
		at, i := d.off, int(next.Load())
		if i < len(s.fields) && d.accept(s.fields[i].key.encoded) {
			next = &s.follows[i+1]
		} else if found, ok := s.find(d.body()); ok {
			next.Store(int32(found))
			i, next = found, &s.follows[found+1]
		} else {
			key := d.data[at+prefixSize : d.off]
			if d.opts.DisallowUnknownFields {
				return d.errorAt(at, ErrUnknownField, v.Type(), "no field is named "+pathString([]step{{key: string(key), isKey: true}}))
			}
			d.skip()
			continue
		}
		f := &s.fields[i]
		var field reflect.Value
		if len(f.index) == 1 {
			field = v.Field(f.index[0])
		} else if field = f.reach(v, true); !field.IsValid() {
			return d.errorAt(at, ErrTypeMismatch, v.Type(), "an embedded pointer to an unexported struct is nil")
		}
		if bit := uint64(1) << (i % 64); seen[i/64]&bit == 0 {
			seen[i/64] |= bit
		} else if field.CanSet() {
			field.SetZero() // the last of equal keys wins, nothing is merged
		}
		if err := f.plan.decode(d, field); err != nil {
			return err
		}
	}
	return nil
}

// find looks a field up by its name, or failing that by its name in any case.
func (s *structPlan) find(key []byte) (int, bool) {
	if i, ok := s.byName[string(key)]; ok {
		return i, true
	}
	if len(key) > s.longest {
		return 0, false
	}
	i, ok := s.byFold[fold(string(key))]
	return i, ok
}

// fold maps names that differ only in case to the same text.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}

// isOmitted reports whether the tag leaves this value out.
func (f *structField) isOmitted(v reflect.Value) bool {
	if f.omitEmpty {
		switch v.Kind() {
		case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
			if v.Len() == 0 {
				return true
			}
		case reflect.Struct:
		default:
			if v.IsZero() {
				return true
			}
		}
	}
	if f.omitZero {
		if f.isZero != nil {
			return f.isZero(v)
		}
		return v.IsZero()
	}
	return false
}

// reach returns the field of an embedded struct of v. With create, nil
// pointers on the way are filled in; otherwise, or where that cannot be, the
// result is not valid.
func (f *structField) reach(v reflect.Value, create bool) reflect.Value {
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !create || !v.CanSet() {
					return reflect.Value{}
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

// Fields are the fields of a struct type as [Marshal] and [Unmarshal] see them:
// tags, embedded structs and conflicts of names are settled. They are for code
// that decodes field by field, such as a server's that gives the arguments of a
// call to them. They may be used concurrently.
type Fields struct {
	plan *structPlan
	all  []Field
}

// Field is one of [Fields].
type Field struct {
	Name     string // of the key in a dict
	Required bool   // the tag has the option "required", which Unmarshal ignores
	of       reflect.Type
	field    *structField
}

var fieldsByType sync.Map // of reflect.Type to *Fields

// FieldsOf returns the fields of a struct type, in order of declaration. Other
// types have none.
func FieldsOf(t reflect.Type) *Fields {
	if f, ok := fieldsByType.Load(t); ok {
		return f.(*Fields)
	}
	f := new(Fields)
	if t.Kind() == reflect.Struct {
		f.plan = planMaker{}.structPlan(t)
		for i := range f.plan.fields {
			field := &f.plan.fields[i]
			f.all = append(f.all, Field{Name: field.name, Required: field.required, of: t, field: field})
		}
	}
	kept, _ := fieldsByType.LoadOrStore(t, f)
	return kept.(*Fields)
}

// All returns the fields. The slice must not be changed.
func (f *Fields) All() []Field { return f.all }

// Find returns the position in All of the field with a name or, if there is
// none, with a name that differs in case.
func (f *Fields) Find(name string) (i int, ok bool) {
	if f.plan == nil {
		return 0, false
	}
	return f.plan.find([]byte(name))
}

// UnmarshalField decodes data into a field of the struct that v points to, as
// [Unmarshal] decodes into a field. Pointers to embedded structs are filled in.
func (o DecodeOptions) UnmarshalField(data []byte, v any, f Field) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Elem().Type() != f.of {
		return &UnmarshalTypeError{Err: ErrUnsupportedType, Type: reflect.TypeOf(v), Reason: "the destination must be a pointer to the struct of the field"}
	}
	var s checker
	if err := o.check(&s, data, true); err != nil {
		return err
	}
	d := newBuilder(data, &s, o)
	defer d.release()
	field := f.field.reach(rv.Elem(), true)
	if !field.IsValid() {
		return d.errorAt(0, ErrTypeMismatch, rv.Type(), "an embedded pointer to an unexported struct is nil")
	}
	if err := f.field.plan.decode(d, field); err != nil {
		return d.locate(err)
	}
	return nil
}

// visibleFields lists the fields of a struct type and its embedded structs
// as encoding/json sees them: of fields with one name the least deep one
// counts, then the one with a tag; if that leaves several, none.
func visibleFields(t reflect.Type) []structField {
	type embedded struct {
		typ   reflect.Type
		index []int
	}
	var (
		all     []structField
		level   []embedded
		next    = []embedded{{typ: t}}
		visited = map[reflect.Type]bool{}
	)
	for len(next) > 0 {
		level, next = next, nil
		seen := map[reflect.Type]int{} // on this level
		for _, e := range level {
			seen[e.typ]++
		}
		for _, e := range level {
			if visited[e.typ] {
				continue
			}
			visited[e.typ] = true
			for i := range e.typ.NumField() {
				sf := e.typ.Field(i)
				inner := sf.Type
				if inner.Name() == "" && inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				if !sf.IsExported() && (!sf.Anonymous || inner.Kind() != reflect.Struct) {
					continue
				}
				f, skip := parseTag(sf)
				if skip {
					continue
				}
				f.index = append(slices.Clone(e.index), i)
				if sf.Anonymous && !f.tagged && inner.Kind() == reflect.Struct {
					next = append(next, embedded{inner, f.index})
					continue
				}
				all = append(all, f)
				if seen[e.typ] > 1 {
					all = append(all, f) // twice on one level: it hides itself
				}
			}
		}
	}
	return dominant(all)
}

// dominant leaves one field of each name, in order of declaration.
func dominant(all []structField) []structField {
	byName := map[string][]structField{}
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	var fields []structField
	for _, same := range byName {
		slices.SortFunc(same, func(a, b structField) int {
			if c := cmp.Compare(len(a.index), len(b.index)); c != 0 {
				return c
			}
			return cmp.Compare(btoi(b.tagged), btoi(a.tagged))
		})
		if len(same) > 1 && len(same[0].index) == len(same[1].index) && same[0].tagged == same[1].tagged {
			continue
		}
		fields = append(fields, same[0])
	}
	slices.SortFunc(fields, func(a, b structField) int { return slices.Compare(a.index, b.index) })
	return fields
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parseTag reads the dirty tag of a field, or without one the json tag.
func parseTag(sf reflect.StructField) (f structField, skip bool) {
	tag, ok := sf.Tag.Lookup("dirty")
	if !ok {
		tag = sf.Tag.Get("json")
	}
	if tag == "-" {
		return f, true
	}
	f.typ, f.unexported = sf.Type, !sf.IsExported()
	name, options, _ := strings.Cut(tag, ",")
	f.name, f.tagged = name, isTagName(name)
	if !f.tagged {
		f.name = sf.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		f.omitEmpty = f.omitEmpty || option == "omitempty"
		f.omitZero = f.omitZero || option == "omitzero"
		f.required = f.required || option == "required"
	}
	return f, false
}

// isTagName reports whether encoding/json takes a name from a tag, too.
func isTagName(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) {
			return false
		}
	}
	return s != ""
}

// isPlainStruct reports whether neither the type nor a pointer to it has
// methods that encode or decode it.
func isPlainStruct(t reflect.Type) bool {
	for _, methods := range [...]reflect.Type{marshalerType, unmarshalerType, textMarshalerType, textUnmarshalerType, zeroerType} {
		if reflect.PointerTo(t).Implements(methods) { // or t does
			return false
		}
	}
	return t.Kind() == reflect.Struct
}

// zeroMethod returns the IsZero method of a type for omitzero, or nil.
func zeroMethod(t reflect.Type) func(reflect.Value) bool {
	switch {
	case t.Implements(zeroerType):
		return func(v reflect.Value) bool {
			return isNilPointer(v) || v.Kind() == reflect.Interface && isNilPointer(v.Elem()) || v.Interface().(zeroer).IsZero()
		}
	case reflect.PointerTo(t).Implements(zeroerType):
		return func(v reflect.Value) bool {
			if !v.CanAddr() {
				boxed := reflect.New(t).Elem()
				boxed.Set(v)
				v = boxed
			}
			return v.Addr().Interface().(zeroer).IsZero()
		}
	}
	return nil
}
