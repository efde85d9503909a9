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

// Fields are the fields of a struct type as [Marshal] and [Unmarshal] see them: with
// the names of their tags, and with those of embedded structs. They are for code
// that decodes field by field, such as that which turns the arguments of a call
// into fields. [FieldsOf] returns them. They may be used concurrently.
type Fields struct {
	plan *structPlan
	all  []Field
}

// Field is one of the [Fields] of a struct type.
type Field struct {
	Name     string // the key in a dict
	Required bool   // whether the tag has the option "required"; Unmarshal ignores it
	of       reflect.Type
	field    *structField
}

var fieldsByType sync.Map // of reflect.Type to *Fields

// FieldsOf returns the fields of a struct type, in order of declaration. A type that
// is no struct has none. The result is kept as long as the process lives.
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

// Find returns the index in All of the field with this name. If there is none, it
// returns that of a field whose name differs only in case.
func (f *Fields) Find(name string) (i int, ok bool) {
	if f.plan == nil {
		return 0, false
	}
	if i, ok := f.plan.byName[name]; ok {
		return i, true
	}
	return f.plan.find([]byte(name))
}

// UnmarshalField decodes data, which must be one value, into field f of the struct that
// v points to, as [Unmarshal] does. A nil pointer to an embedded struct that has the
// field is set. The result owns its memory unless AliasBytes is set.
func (o DecodeOptions) UnmarshalField(data []byte, v any, f Field) error {
	_, err := o.unmarshalField(data, v, f)
	return err
}

// unmarshalField is UnmarshalField. aliased reports whether something in v refers to
// the data.
func (o DecodeOptions) unmarshalField(data []byte, v any, f Field) (aliased bool, err error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Elem().Type() != f.of {
		return false, &UnmarshalTypeError{Err: ErrUnsupportedType, Type: reflect.TypeOf(v), Reason: "the destination must be a pointer to the struct of the field"}
	}
	var c checker
	if err := o.check(&c, data, true); err != nil {
		return false, err
	}
	d := newBuilder(data, &c, o)
	defer d.release()
	field := f.field.reach(rv.Elem(), true)
	if !field.IsValid() {
		return false, d.errorAt(0, ErrTypeMismatch, rv.Type(), "an embedded pointer to an unexported struct is nil")
	}
	if err := f.field.plan.decode(d, field); err != nil {
		return d.aliased, d.locate(err)
	}
	return d.aliased, nil
}

// structPlan is how structs of one type are encoded and decoded. It never changes,
// but for follows. Indexes are those of fields.
//
// The rules for tags, embedded structs and conflicts of names are those of
// encoding/json. They are in visibleFields, dominant and parseTag, which are the
// only reader of struct tags: FieldsOf uses them too.
type structPlan struct {
	fields  []structField  // in order of declaration
	byName  map[string]int // by exact name
	byFold  map[string]int // by the result of fold; the first field with it
	longest int            // the most bytes that a key which is one of the names in any case may have

	// follows is for speed. follows[0] is the field whose key came first the
	// last time, and follows[i+1] the one whose key came after that of field i.
	// Most senders keep their order of keys. A wrong guess only costs time.
	follows []atomic.Int32
}

// structField is a field that is encoded and decoded. It may be that of an embedded
// struct.
type structField struct {
	name      string
	key       fieldKey
	index     []int // leads to the field through embedded structs; never empty
	tagged    bool  // the name comes from a tag
	omitEmpty bool
	omitZero  bool
	required  bool
	isZero    func(reflect.Value) bool // calls the IsZero method of the type; nil if it has none
	typ       reflect.Type
	usual     Kind // for speed, see usualKind
	*plan

	// unexported is set for an embedded struct whose type is not exported, if
	// a tag makes it a field. Reflection cannot call its methods, nor set it if
	// it is a pointer.
	unexported bool
}

// structPlan returns the plan of a struct type. The plans of its fields may not be
// complete yet.
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
			f.usual = usualKind(f.typ)
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

// encode appends a struct as a dict. It fills in the count at the end, when it is
// known how many fields were left out.
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

// decode reads a dict into a struct.
func (s *structPlan) decode(d *builder, v reflect.Value) error {
	if d.acceptNone() {
		return nil
	}
	if d.kind() != KindDict {
		return d.mismatch(v)
	}
	var few [4]uint64
	seen := few[:] // a bit for each field whose key has come
	if n := len(s.fields)/64 + 1; n > len(few) {
		seen = make([]uint64, n)
	}
	next := &s.follows[0]
	for range d.count() {
		at, i := d.off, int(next.Load())
		if i < len(s.fields) && s.fields[i].key.accept(&d.cursor) {
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
			field.SetZero() // only the last of equal keys counts; nothing is merged
		}
		if d.usual(f.usual, field) {
			continue
		}
		if err := f.plan.decode(d, field); err != nil {
			return err
		}
	}
	return nil
}

// find returns the field with a name, or else one whose name differs only in case.
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

// fold returns the same text for names that differ only in case.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}

// isOmitted reports whether the tag of the field leaves out this value.
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

// reach returns the field of the struct v, on a way that may lead through embedded
// structs. If a pointer on the way is nil, create says whether to set it. If it is
// not set, or cannot be, the result is not valid.
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

// visibleFields returns the fields of a struct type and of its embedded structs. It
// goes through the embedded structs level by level. See dominant for fields that
// have the same name.
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
					all = append(all, f) // its struct is there twice, so it hides itself
				}
			}
		}
	}
	return dominant(all)
}

// dominant returns at most one field of each name, in order of declaration. Of fields
// with one name the one that is the least deep counts, and of those the one whose
// name comes from a tag. If that leaves several, none of them counts.
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

// btoi returns 1 for true.
func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parseTag reads the dirty tag of a field, or its json tag if it has no dirty tag. skip
// is set if the tag is "-".
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

// isTagName reports whether encoding/json would accept the name in a tag.
func isTagName(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) {
			return false
		}
	}
	return s != ""
}

// usualKind returns the kind of value that a field of a type gets as it is: without a
// loss, and without a method of the type. It is KindNone for most types.
func usualKind(t reflect.Type) Kind {
	switch {
	case !isScalar(t) || t == durationType || t == jsonNumberType:
	case t.Kind() == reflect.String:
		return KindString
	case t.Kind() == reflect.Float64:
		return KindFloat64
	case t.Kind() == reflect.Int64, t.Kind() == reflect.Int && t.Bits() == 64:
		return KindInt64
	}
	return KindNone
}

// isPlainStruct reports whether the type is a struct without methods that encode or
// decode it. A pointer to it has none either.
func isPlainStruct(t reflect.Type) bool {
	for _, methods := range [...]reflect.Type{marshalerType, unmarshalerType, textMarshalerType, textUnmarshalerType, zeroerType} {
		if reflect.PointerTo(t).Implements(methods) { // or t does
			return false
		}
	}
	return t.Kind() == reflect.Struct
}

// zeroMethod returns a function that calls the IsZero method of a type, or nil if
// there is no such method.
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
