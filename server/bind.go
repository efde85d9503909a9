package server

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gunicorn-go/dirty"
)

// binder decodes the arguments of a request into a value of one Go type.
type binder struct {
	whole  bool          // the value is the request
	fields *dirty.Fields // one an argument; nil if the value is the one argument
}

var (
	requestType         = reflect.TypeFor[*dirty.Request]()
	unmarshalerType     = reflect.TypeFor[dirty.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func newBinder(t reflect.Type) *binder {
	switch p := reflect.PointerTo(t); {
	case t == requestType:
		return &binder{whole: true}
	case t.Kind() != reflect.Struct || p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType):
		return new(binder)
	}
	return &binder{fields: dirty.FieldsOf(t)}
}

// bind decodes the arguments of a request into what dst points to.
func (b *binder) bind(o dirty.DecodeOptions, r *dirty.Request, dst any) error {
	if b.whole {
		*dst.(**dirty.Request) = r
		return nil
	}
	var a arguments
	for i, v := range r.Args {
		raw, err := rawArgument(o, v)
		if err != nil {
			return argumentError(r, "cannot take argument %d: %s", i+1, explainMismatch(err))
		}
		a.positional = append(a.positional, raw)
	}
	for _, kw := range keywords(r) {
		raw, err := rawArgument(o, kw.Value)
		if err != nil {
			return argumentError(r, "cannot take argument '%s': %s", kw.Key, explainMismatch(err))
		}
		a.keywords = append(a.keywords, keyword{[]byte(kw.Key), raw})
	}
	if b.fields == nil {
		return bindSingle(r, &a, func(raw dirty.RawValue) error { return o.Unmarshal(raw, dst) })
	}
	return b.bindFields(r, &a, func(raw dirty.RawValue, f dirty.Field) error { return o.UnmarshalField(raw, dst, f) })
}

// bindFrame decodes the arguments of a request from its frame, which the connection
// holds, into what dst points to. The request that it returns has no arguments, and is
// the connection's: no code of the user's gets it. It is nil if bind must do it: for
// broken requests and for those of an unusual form.
func (b *binder) bindFrame(c *conn, f dirty.Frame, app, action []byte, dst any) (*dirty.Request, error) {
	o, a := c.decodeOptions(), &c.arguments
	if o.Validate(f.Payload) != nil {
		return nil, nil
	}
	defer a.reset()
	if !a.find(f.Payload, app, action) {
		return nil, nil
	}
	if name := c.takenKeyword(); name != "" {
		a.keywords = slices.DeleteFunc(a.keywords, func(kw keyword) bool { return string(kw.name) == name })
	}
	r := &c.call
	r.ID, r.AppPath, r.Action = f.RequestID, textOf(app, r.AppPath), textOf(action, r.Action)
	if b.fields == nil {
		return r, bindSingle(r, a, func(raw dirty.RawValue) error { return c.frame.Unmarshal(o, raw, dst) })
	}
	return r, b.bindFields(r, a, func(raw dirty.RawValue, f dirty.Field) error { return c.frame.UnmarshalField(o, raw, dst, f) })
}

// textOf returns b as a string, which is mostly the last one.
func textOf(b []byte, last string) string {
	if string(b) == last {
		return last
	}
	return string(b)
}

// bindFields gives arguments to the fields that take them.
func (b *binder) bindFields(r *dirty.Request, a *arguments, unmarshal func(dirty.RawValue, dirty.Field) error) error {
	fields := b.fields.All()
	if got := len(a.positional); got > len(fields) {
		return argumentError(r, "takes %s, but got %d", describeMost(len(fields)), got)
	}
	var few [16]bool
	given := few[:]
	if len(fields) > len(few) {
		given = make([]bool, len(fields))
	}
	set := func(i int, raw dirty.RawValue) error {
		given[i] = true
		if err := unmarshal(raw, fields[i]); err != nil {
			return argumentError(r, "cannot take argument '%s': %s", fields[i].Name, explainMismatch(err))
		}
		return nil
	}
	for i, raw := range a.positional {
		if err := set(i, raw); err != nil {
			return err
		}
	}
	for _, kw := range a.keywords {
		i, ok := b.fields.Find(string(kw.name))
		switch {
		case !ok:
			return argumentError(r, "has no argument named '%s'", kw.name)
		case given[i]:
			return argumentError(r, "got more than one value for argument '%s'", kw.name)
		}
		if err := set(i, kw.value); err != nil {
			return err
		}
	}
	for i, f := range fields {
		if f.Required && !given[i] {
			return argumentError(r, "is missing the required argument '%s'", f.Name)
		}
	}
	return nil
}

// arguments are those of a call, encoded.
type arguments struct {
	positional []dirty.RawValue
	keywords   []keyword
}

type keyword struct {
	name  []byte
	value dirty.RawValue
}

// reset keeps the memory of the lists, but nothing that they refer to.
func (a *arguments) reset() {
	clear(a.positional)
	clear(a.keywords)
	a.positional, a.keywords = a.positional[:0], a.keywords[:0]
	if cap(a.positional) > maxFound {
		a.positional = nil
	}
}

// find finds the arguments in a payload that was checked, to which they refer. It
// reports false if the names are others than app and action, because the payload has
// some twice, if the arguments are not of the usual kinds, and if a keyword is there
// twice or they are many.
func (a *arguments) find(payload []byte, app, action []byte) bool {
	var args, kwargs dirty.View
	names := 0
	for key, value := range dirty.View(payload).Entries() {
		switch string(key) {
		case "app_path", "action":
			names++
		case "args":
			args = value
		case "kwargs":
			kwargs = value
		}
	}
	if names != 2 || app == nil || action == nil || !isNoneOr(dirty.KindList, args) || !isNoneOr(dirty.KindDict, kwargs) {
		return false
	}
	for value := range args.Elements() {
		a.positional = append(a.positional, dirty.RawValue(value))
	}
	for name, value := range kwargs.Entries() {
		isSame := func(kw keyword) bool { return bytes.Equal(kw.name, name) }
		if len(a.keywords) == maxFound || slices.ContainsFunc(a.keywords, isSame) {
			return false
		}
		a.keywords = append(a.keywords, keyword{name, dirty.RawValue(value)})
	}
	return true
}

// maxFound is how many keywords find compares with each other, and for how many
// arguments a connection keeps memory.
const maxFound = 32

// isNoneOr reports whether a value is of a kind, None, or not there.
func isNoneOr(k dirty.Kind, v dirty.View) bool {
	got, ok := v.Kind()
	return !ok || got == dirty.KindNone || got == k
}

// bindSingle decodes the one argument that there must be.
func bindSingle(r *dirty.Request, a *arguments, unmarshal func(dirty.RawValue) error) error {
	if len(a.keywords) > 0 {
		return argumentError(r, "takes no keyword arguments, but got '%s'", a.keywords[0].name)
	}
	switch got := len(a.positional); got {
	case 0:
		return argumentError(r, "takes 1 positional argument, but got none")
	case 1:
	default:
		return argumentError(r, "takes 1 positional argument, but got %d", got)
	}
	if err := unmarshal(a.positional[0]); err != nil {
		return argumentError(r, "cannot take its argument: %s", explainMismatch(err))
	}
	return nil
}

// rawArgument returns an argument as it is encoded. One that was decoded, or
// that middleware has put there, is encoded again.
func rawArgument(o dirty.DecodeOptions, v any) (dirty.RawValue, error) {
	if raw, ok := v.(dirty.RawValue); ok {
		return raw, nil
	}
	limits := o.Limits
	limits.MaxDepth = cmp.Or(limits.MaxDepth, dirty.DefaultMaxDepth) // what was decoded can be deeper than what is sent
	return dirty.EncodeOptions{Limits: limits}.Marshal(v)
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

// explainMismatch says why a value does not fit, without the offset, which
// counts from the argument and tells a client nothing.
func explainMismatch(err error) string {
	var mismatch *dirty.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		at := ""
		if mismatch.Path != "" {
			at = " at " + mismatch.Path
		}
		why := unprefixed(mismatch.Err)
		if mismatch.Reason != "" {
			why += ": " + mismatch.Reason
		}
		return fmt.Sprintf("%v%s does not fit into %v (%s)", mismatch.Kind, at, mismatch.Type, why)
	}
	return unprefixed(err)
}

// argumentError is the error for a call with wrong arguments.
func argumentError(r *dirty.Request, format string, args ...any) error {
	return appError(r, r.Action+"() "+fmt.Sprintf(format, args...))
}

// describeMost says how many positional arguments a call may have.
func describeMost(n int) string {
	switch n {
	case 0:
		return "no positional arguments"
	case 1:
		return "at most 1 positional argument"
	}
	return fmt.Sprintf("at most %d positional arguments", n)
}
