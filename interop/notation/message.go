package notation

import (
	"fmt"

	"github.com/gunicorn-go/dirty"
)

// Message builds a message of the type that gunicorn calls by this name, from
// what gunicorn's encode functions take, by the names of their arguments.
func Message(typ string, id uint64, fields map[string]any) (dirty.Message, error) {
	f := fieldReader{fields: fields}
	m := f.message(typ, id)
	if f.err != nil {
		return nil, fmt.Errorf("%s: %w", typ, f.err)
	}
	return m, nil
}

// fieldReader keeps the first error.
type fieldReader struct {
	fields map[string]any
	err    error
}

// fieldOf is a field that must be of this type if it is given and not None.
func fieldOf[T any](f *fieldReader, name string, def T) T {
	v, ok := f.fields[name]
	if !ok || v == nil {
		return def
	}
	field, ok := v.(T)
	if !ok && f.err == nil {
		f.err = fmt.Errorf("%s is %T", name, v)
	}
	return field
}

func (f *fieldReader) message(typ string, id uint64) dirty.Message {
	switch typ {
	case "request":
		m := dirty.NewRequest(id, fieldOf(f, "app_path", ""), fieldOf(f, "action", ""), fieldOf(f, "args", []any(nil)), nil)
		m.OrderedKwargs = fieldOf(f, "kwargs", dirty.Dict(nil))
		return m
	case "response":
		return dirty.NewResponse(id, f.fields["result"])
	case "error":
		return dirty.NewErrorReply(id, f.remoteError())
	case "chunk":
		return dirty.NewChunk(id, f.fields["data"])
	case "end":
		return dirty.NewEnd(id)
	case "stash":
		return dirty.NewStashRequest(id, dirty.StashOp(fieldOf(f, "op", int64(0))), fieldOf(f, "table", ""),
			f.fields["key"], f.fields["value"], fieldOf(f, "pattern", ""))
	case "status":
		return dirty.NewStatusRequest(id)
	case "manage":
		return dirty.NewManageRequest(id, dirty.ManageOp(fieldOf(f, "op", int64(0))), int(fieldOf(f, "count", int64(1))))
	}
	f.err = fmt.Errorf("%w: %q", dirty.ErrUnknownType, typ)
	return nil
}

func (f *fieldReader) remoteError() *dirty.RemoteError {
	fault := fieldReader{fields: map[string]any{}}
	for _, e := range fieldOf(f, "error", dirty.Dict(nil)) {
		fault.fields[e.Key] = e.Value
	}
	remote := &dirty.RemoteError{
		Type: fieldOf(&fault, "error_type", ""), Message: fieldOf(&fault, "message", ""), Details: map[string]any{},
	}
	for _, e := range fieldOf(&fault, "details", dirty.Dict(nil)) {
		remote.Details[e.Key] = e.Value
	}
	if f.err == nil {
		f.err = fault.err
	}
	return remote
}
