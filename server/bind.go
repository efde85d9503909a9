package server

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// binder gives the arguments of a request to a value of one Go type.
type binder struct {
	whole  bool    // the value is the request
	single bool    // the value is the one argument
	fields []field // else
}

// field is a field of a struct that takes an argument.
type field struct {
	name  string
	index []int
}

var (
	intType             = reflect.TypeFor[int]()
	requestType         = reflect.TypeFor[*dirty.Request]()
	unmarshalerType     = reflect.TypeFor[dirty.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// newBinder looks at a type. It panics if a struct has two fields of one name,
// or some that cannot be set.
func newBinder(t reflect.Type) *binder {
	switch p := reflect.PointerTo(t); {
	case t == requestType:
		return &binder{whole: true}
	case t.Kind() != reflect.Struct || p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType):
		return &binder{single: true}
	}
	return &binder{fields: fieldsOf(t)}
}

// fieldsOf lists the fields of a struct that take arguments, in order of
// declaration. Of several with one name the least deep one counts.
func fieldsOf(t reflect.Type) []field {
	all := appendFields(nil, t, nil)
	depth := map[string]int{}
	for _, f := range all {
		if least, ok := depth[f.name]; !ok || len(f.index) < least {
			depth[f.name] = len(f.index)
		}
	}
	var fields []field
	for _, f := range all {
		if len(f.index) > depth[f.name] {
			continue
		}
		if slices.ContainsFunc(fields, func(other field) bool { return other.name == f.name }) {
			panic(fmt.Sprintf("dirty: server.Func: %v has two fields of the name %s", t, f.name))
		}
		fields = append(fields, f)
	}
	return fields
}

// appendFields adds the fields of a struct, and of those embedded in it, which
// is at the index of its own.
func appendFields(fields []field, t reflect.Type, at []int) []field {
	if len(at) > maxEmbedding {
		panic(fmt.Sprintf("dirty: server.Func: %v is embedded in itself", t))
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(slices.Clone(at), i)
		name, tagged := fieldName(sf)
		switch embedded := sf.Anonymous && !tagged && isStruct(sf.Type); {
		case name == "-":
		case embedded && sf.Type.Kind() == reflect.Pointer && !sf.IsExported():
			panic(fmt.Sprintf("dirty: server.Func: %v embeds a pointer to a struct that is not exported", t))
		case embedded && sf.Type.Kind() == reflect.Pointer:
			fields = appendFields(fields, sf.Type.Elem(), index)
		case embedded:
			fields = appendFields(fields, sf.Type, index)
		case sf.IsExported():
			fields = append(fields, field{name, index})
		}
	}
	return fields
}

const maxEmbedding = 16

func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// fieldName returns the name of a field, and whether it is from a tag.
func fieldName(sf reflect.StructField) (name string, tagged bool) {
	tag, ok := sf.Tag.Lookup("dirty")
	if !ok {
		tag = sf.Tag.Get("json")
	}
	if tag == "-" {
		return "-", true
	}
	if name, _, _ = strings.Cut(tag, ","); name != "" {
		return name, true
	}
	return sf.Name, false
}

// bind sets arg, which is zero, from the arguments of a request.
func (b *binder) bind(r *dirty.Request, arg reflect.Value) error {
	switch {
	case b.whole:
		arg.Set(reflect.ValueOf(r))
		return nil
	case b.single:
		return bindSingle(r, arg)
	}
	if got, most := len(r.Args), len(b.fields); got > most {
		return misuse(r, "takes %s, but got %d", atMost(most), got)
	}
	for i, v := range r.Args {
		if err := b.fields[i].set(r, arg, v); err != nil {
			return err
		}
	}
	if len(r.Kwargs) == 0 && len(r.OrderedKwargs) == 0 {
		return nil
	}
	given := make([]bool, len(b.fields))
	for i := range r.Args {
		given[i] = true
	}
	for _, kw := range keywords(r) {
		i := b.find(kw.Key)
		switch {
		case i < 0:
			return misuse(r, "has no argument named '%s'", kw.Key)
		case given[i]:
			return misuse(r, "got more than one value for argument '%s'", kw.Key)
		}
		given[i] = true
		if err := b.fields[i].set(r, arg, kw.Value); err != nil {
			return err
		}
	}
	return nil
}

// find returns the number of the field that takes a keyword argument, or -1.
func (b *binder) find(name string) int {
	if i := slices.IndexFunc(b.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(b.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
}

// set sets the field of arg.
func (f *field) set(r *dirty.Request, arg reflect.Value, v any) error {
	for i, x := range f.index {
		if i > 0 && arg.Kind() == reflect.Pointer {
			if arg.IsNil() {
				arg.Set(reflect.New(arg.Type().Elem()))
			}
			arg = arg.Elem()
		}
		arg = arg.Field(x)
	}
	if err := assign(arg, v); err != nil {
		return misuse(r, "cannot take argument '%s': %s", f.name, reason(err))
	}
	return nil
}

// bindSingle sets arg from the one argument that there must be.
func bindSingle(r *dirty.Request, arg reflect.Value) error {
	if kws := keywords(r); len(kws) > 0 {
		return misuse(r, "takes no keyword arguments, but got '%s'", kws[0].Key)
	}
	switch got := len(r.Args); got {
	case 0:
		return misuse(r, "takes 1 positional argument, but got none")
	case 1:
	default:
		return misuse(r, "takes 1 positional argument, but got %d", got)
	}
	if err := assign(arg, r.Args[0]); err != nil {
		return misuse(r, "cannot take its argument: %s", reason(err))
	}
	return nil
}

// keywords returns the keyword arguments in an order that is the same each
// time.
func keywords(r *dirty.Request) dirty.Dict {
	if r.OrderedKwargs != nil || len(r.Kwargs) == 0 {
		return r.OrderedKwargs
	}
	kws := make(dirty.Dict, 0, len(r.Kwargs))
	for _, key := range slices.Sorted(maps.Keys(r.Kwargs)) {
		kws = append(kws, dirty.Entry{Key: key, Value: r.Kwargs[key]})
	}
	return kws
}

// assign stores a decoded value in dst, converted where it must be.
func assign(dst reflect.Value, v any) error {
	if v != nil {
		if got := reflect.ValueOf(v); got.Type() == dst.Type() || dst.Kind() == reflect.Interface && dst.NumMethod() == 0 {
			dst.Set(got)
			return nil
		}
		if n, ok := v.(int64); ok && dst.Type() == intType && !dst.OverflowInt(n) {
			dst.SetInt(n)
			return nil
		}
	}
	// A value that was read is within the limits; only the encoder's depth is
	// less than the decoder's.
	encoded, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: maxDepth}}.Marshal(v)
	if err != nil {
		return err
	}
	return dirty.DecodeOptions{Limits: dirty.Limits{MaxDepth: maxDepth}}.Unmarshal(encoded, dst.Addr().Interface())
}

// maxDepth is more than any Limits allow.
const maxDepth = 100_000

// reason says why a value does not fit, without the offset, which is of our
// making.
func reason(err error) string {
	var mismatch *dirty.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		at := ""
		if mismatch.Path != "" {
			at = " at " + mismatch.Path
		}
		why := strings.TrimPrefix(mismatch.Err.Error(), "dirty: ")
		if mismatch.Reason != "" {
			why += ": " + mismatch.Reason
		}
		return fmt.Sprintf("%v%s does not fit into %v (%s)", mismatch.Kind, at, mismatch.Type, why)
	}
	return strings.TrimPrefix(err.Error(), "dirty: ")
}

// misuse is the error for a call with wrong arguments.
func misuse(r *dirty.Request, format string, args ...any) error {
	return appError(r, r.Action+"() "+fmt.Sprintf(format, args...))
}

// atMost says how many positional arguments a call may have.
func atMost(n int) string {
	switch n {
	case 0:
		return "no positional arguments"
	case 1:
		return "at most 1 positional argument"
	}
	return fmt.Sprintf("at most %d positional arguments", n)
}
