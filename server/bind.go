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
	switch {
	case b.whole:
		*dst.(**dirty.Request) = r
		return nil
	case b.fields == nil:
		return bindSingle(o, r, dst)
	}
	fields := b.fields.All()
	if got := len(r.Args); got > len(fields) {
		return argumentError(r, "takes %s, but got %d", describeMost(len(fields)), got)
	}
	for i, v := range r.Args {
		if err := bindField(o, r, dst, fields[i], v); err != nil {
			return err
		}
	}
	given := make([]bool, len(fields))
	for i := range r.Args {
		given[i] = true
	}
	for _, kw := range keywords(r) {
		i, ok := b.fields.Find(kw.Key)
		switch {
		case !ok:
			return argumentError(r, "has no argument named '%s'", kw.Key)
		case given[i]:
			return argumentError(r, "got more than one value for argument '%s'", kw.Key)
		}
		given[i] = true
		if err := bindField(o, r, dst, fields[i], kw.Value); err != nil {
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

// bindFrame decodes the arguments of a request from its frame, which buf holds, into
// the struct that dst points to. The request that it returns has no arguments. It is
// nil if bind must do it: for broken requests and for those of an unusual form.
func (b *binder) bindFrame(o dirty.DecodeOptions, buf *dirty.FrameBuffer, f dirty.Frame, app, action []byte, dst any) (*dirty.Request, error) {
	if b.fields == nil || o.Validate(f.Payload) != nil {
		return nil, nil
	}
	args, kwargs, ok := findArguments(f.Payload, app, action)
	if !ok {
		return nil, nil
	}
	r := &dirty.Request{ID: f.RequestID, AppPath: string(app), Action: string(action)}
	fields := b.fields.All()
	var few [16]bool
	given := few[:]
	if len(fields) > len(few) {
		given = make([]bool, len(fields))
	}
	set := func(i int, value dirty.View) error {
		given[i] = true
		if err := buf.UnmarshalField(o, value, dst, fields[i]); err != nil {
			return argumentError(r, "cannot take argument '%s': %s", fields[i].Name, explainMismatch(err))
		}
		return nil
	}
	if got, _ := args.Len(); got > len(fields) {
		return r, argumentError(r, "takes %s, but got %d", describeMost(len(fields)), got)
	}
	positional := 0
	for value := range args.Elements() {
		if err := set(positional, value); err != nil {
			return r, err
		}
		positional++
	}
	for key, value := range kwargs.Entries() {
		i, ok := b.fields.Find(string(key))
		switch {
		case !ok:
			return r, argumentError(r, "has no argument named '%s'", key)
		case given[i]:
			return r, argumentError(r, "got more than one value for argument '%s'", key)
		}
		if err := set(i, value); err != nil {
			return r, err
		}
	}
	for i, f := range fields {
		if f.Required && !given[i] {
			return r, argumentError(r, "is missing the required argument '%s'", f.Name)
		}
	}
	return r, nil
}

// findArguments returns where the arguments lie in a payload that was checked; nil
// is none. It reports false if the names are others, because the payload has some
// twice, or if the arguments are not of the usual kinds.
func findArguments(payload []byte, app, action []byte) (args, kwargs dirty.View, ok bool) {
	named := 0
	for key, value := range dirty.View(payload).Entries() {
		switch string(key) {
		case "app_path", "action":
			named++
		case "args":
			args = value
		case "kwargs":
			kwargs = value
		}
	}
	return args, kwargs, named == 2 && app != nil && action != nil &&
		isNoneOr(dirty.KindList, args) && isNoneOr(dirty.KindDict, kwargs) && !hasRepeatedKeys(kwargs)
}

func isNoneOr(k dirty.Kind, v dirty.View) bool {
	got, ok := v.Kind()
	return !ok || got == dirty.KindNone || got == k
}

// hasRepeatedKeys reports whether a dict has a key twice, or so many keys that it is
// not worth a look.
func hasRepeatedKeys(v dirty.View) bool {
	var seen [32][]byte
	n := 0
	for key := range v.Entries() {
		if n == len(seen) || slices.ContainsFunc(seen[:n], func(k []byte) bool { return bytes.Equal(k, key) }) {
			return true
		}
		seen[n] = key
		n++
	}
	return false
}

func bindField(o dirty.DecodeOptions, r *dirty.Request, dst any, f dirty.Field, v any) error {
	raw, err := rawArgument(o, v)
	if err == nil {
		err = o.UnmarshalField(raw, dst, f)
	}
	if err != nil {
		return argumentError(r, "cannot take argument '%s': %s", f.Name, explainMismatch(err))
	}
	return nil
}

// bindSingle decodes the one argument that there must be.
func bindSingle(o dirty.DecodeOptions, r *dirty.Request, dst any) error {
	if kws := keywords(r); len(kws) > 0 {
		return argumentError(r, "takes no keyword arguments, but got '%s'", kws[0].Key)
	}
	switch got := len(r.Args); got {
	case 0:
		return argumentError(r, "takes 1 positional argument, but got none")
	case 1:
	default:
		return argumentError(r, "takes 1 positional argument, but got %d", got)
	}
	raw, err := rawArgument(o, r.Args[0])
	if err == nil {
		err = o.Unmarshal(raw, dst)
	}
	if err != nil {
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
