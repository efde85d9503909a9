package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// stashCall is the payload of a stash message. It is as loosely typed as in
// gunicorn.
type stashCall struct {
	op, table, key, pattern any
	value                   dirty.RawValue // refers to the payload
}

// stash does a stash operation.
func (c *conn) stash(ctx context.Context, f dirty.Frame) (any, error) {
	call, err := c.decodeStash(f)
	if err != nil {
		return nil, err
	}
	result, err := call.do(ctx, c.cfg.stash)
	if err != nil {
		return nil, call.explain(err)
	}
	return result, nil
}

// decodeStash reads the payload of a stash message. A value that is too deep to
// be given back is refused.
func (c *conn) decodeStash(f dirty.Frame) (stashCall, error) {
	call := stashCall{table: "", value: dirty.AppendNone(nil)}
	if len(f.Payload) == 0 {
		return call, nil
	}
	opts := dirty.DecodeOptions{Limits: c.cfg.limits}
	opts.Limits.MaxDepth = c.cfg.stashDepth
	d := opts.NewDecoder(f.Payload)
	n, err := d.DictHeader()
	if err != nil {
		return call, &dirty.ProtocolError{Err: dirty.ErrMalformed, Rule: "payload that is no dict",
			Offset: dirty.HeaderSize, Header: f.Header}
	}
	for range n {
		key, err := d.Key()
		if err != nil {
			return call, err
		}
		raw, err := d.Raw()
		if err != nil {
			return call, err
		}
		if err := call.set(opts, key, raw); err != nil {
			return call, err
		}
	}
	return call, d.Finish()
}

// set sets a field of the payload. The last of equal keys wins.
func (s *stashCall) set(opts dirty.DecodeOptions, name string, raw dirty.RawValue) error {
	field := new(any)
	switch name {
	case "op":
		field = &s.op
	case "table":
		field = &s.table
	case "key":
		field = &s.key
	case "pattern":
		field = &s.pattern
	case "value":
		s.value = raw
		return nil
	default:
		return nil
	}
	*field = nil // or the value would be decoded into what is there
	return opts.Unmarshal(raw, field)
}

// do makes the operation.
func (s *stashCall) do(ctx context.Context, store Store) (any, error) {
	op := s.operation()
	if err := s.checkKeys(op); err != nil {
		return nil, err
	}
	switch op {
	case dirty.StashPut:
		return true, store.Put(ctx, s.table, s.key, s.value)
	case dirty.StashGet:
		return store.Get(ctx, s.table, s.key)
	case dirty.StashDelete:
		return store.Delete(ctx, s.table, s.key)
	case dirty.StashKeys:
		pattern, err := s.patternText()
		if err != nil {
			return nil, err
		}
		return store.Keys(ctx, s.table, pattern)
	case dirty.StashClear:
		return true, store.Clear(ctx, s.table)
	case dirty.StashInfo:
		size, err := store.Len(ctx, s.table)
		return stashInfo{size, s.table}, err
	case dirty.StashEnsure:
		return true, store.Ensure(ctx, s.table)
	case dirty.StashDeleteTable:
		return store.Drop(ctx, s.table)
	case dirty.StashTables:
		return store.Tables(ctx)
	case dirty.StashExists:
		return store.Exists(ctx, s.table, s.key)
	}
	return nil, s.unknownOperation()
}

// checkKeys returns an error if the table or the key of an operation cannot be
// a key in Python, or if there is no such operation.
func (s *stashCall) checkKeys(op dirty.StashOp) error {
	switch op {
	case dirty.StashTables:
		return nil
	case dirty.StashKeys, dirty.StashClear, dirty.StashInfo, dirty.StashEnsure, dirty.StashDeleteTable:
		_, err := mapKey(s.table)
		return err
	case dirty.StashPut, dirty.StashGet, dirty.StashDelete, dirty.StashExists:
		_, _, err := mapKeys(s.table, s.key)
		return err
	}
	return s.unknownOperation()
}

func (s *stashCall) unknownOperation() error {
	return dirtyError("Unknown stash operation: " + showKey(s.op))
}

// stashInfo is the result of an info operation.
type stashInfo struct {
	Size  int `dirty:"size"`
	Table any `dirty:"table"`
}

// operation returns the operation, or 0, which is none. As in Python 1.0 and
// True are 1.
func (s *stashCall) operation() dirty.StashOp {
	if n, ok := wholeNumber(s.op); ok && n == int64(dirty.StashOp(n)) {
		return dirty.StashOp(n)
	}
	return 0
}

// patternText returns the pattern. Everything that is false in Python stands for
// the empty pattern.
func (s *stashCall) patternText() (string, error) {
	if isPythonFalse(s.pattern) {
		return "", nil
	}
	text, ok := s.pattern.(string)
	switch {
	case !ok:
		return "", dirtyError("the pattern must be a str, not " + pythonType(s.pattern))
	case len(text) > maxPattern:
		return "", dirtyError(fmt.Sprintf("the pattern has %d bytes, allowed %d", len(text), maxPattern))
	}
	return text, nil
}

// maxPattern is how long a pattern of a client may be, in bytes. A pattern takes
// about 40 times its length in memory.
const maxPattern = 64 << 10

// explain says an error of a store in gunicorn's terms. The types of the two
// misses are those of gunicorn's documentation, which its clients know. Its arbiter
// sends a DirtyError instead, and then Python's get with a default raises.
func (s *stashCall) explain(err error) error {
	var remote *dirty.RemoteError
	switch {
	case errors.As(err, &remote), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, dirty.ErrKeyNotFound):
		return &dirty.RemoteError{Type: dirty.ClassKeyNotFound, Message: "Key not found: " + showKey(s.key)}
	case errors.Is(err, dirty.ErrTableNotFound):
		return &dirty.RemoteError{Type: dirty.ClassTableNotFound, Message: "Table not found: " + showKey(s.table)}
	}
	return dirtyError(strings.ToValidUTF8(unprefixed(err), "\ufffd"))
}
