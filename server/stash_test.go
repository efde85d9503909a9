package server_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stashAsk sends a stash message of any payload.
func stashAsk(tb testing.TB, c *dirty.Conn, payload kw) dirty.Message {
	tb.Helper()
	_, err := c.NetConn().Write(frame(dirty.TypeStash, 1, encoded(payload)))
	require.NoError(tb, err)
	return receive(tb, c)
}

// The operations of the stash in turn, and what an arbiter answers.
func TestStashOperations(t *testing.T) {
	c := connect(t, new(server.Server))
	list := func(v ...any) []any { return append([]any{}, v...) }
	for i, step := range []struct {
		payload kw
		want    any
		err     string // "" or the type and the message
	}{
		// Without a table.
		{kw{"op": 9, "table": ""}, list(), ""},
		{kw{"op": 2, "table": "t", "key": "k"}, nil, "StashKeyNotFoundError: Key not found: k"},
		{kw{"op": 3, "table": "t", "key": "k"}, false, ""},
		{kw{"op": 4, "table": "t"}, list(), ""},
		{kw{"op": 5, "table": "t"}, true, ""},
		{kw{"op": 6, "table": "t"}, nil, "StashTableNotFoundError: Table not found: t"},
		{kw{"op": 8, "table": "t"}, false, ""},
		{kw{"op": 10, "table": "t"}, false, ""},
		{kw{"op": 10, "table": "t", "key": "k"}, false, ""},
		{kw{"op": 9, "table": ""}, list(), ""}, // none of these made one
		{kw{"op": 7, "table": "t"}, true, ""},
		{kw{"op": 6, "table": "t"}, kw{"size": int64(0), "table": "t"}, ""},
		{kw{"op": 10, "table": "t"}, true, ""},

		// With a table.
		{kw{"op": 1, "table": "t", "key": "k", "value": list("v", nil)}, true, ""},
		{kw{"op": 2, "table": "t", "key": "k"}, list("v", nil), ""},
		{kw{"op": 1, "table": "t", "key": "j", "value": 1}, true, ""},
		{kw{"op": 1, "table": "t", "key": "k", "value": 2}, true, ""},
		{kw{"op": 4, "table": "t"}, list("k", "j"), ""}, // the first place
		{kw{"op": 2, "table": "t", "key": "k"}, int64(2), ""},
		{kw{"op": 7, "table": "t"}, true, ""},
		{kw{"op": 6, "table": "t"}, kw{"size": int64(2), "table": "t"}, ""},
		{kw{"op": 10, "table": "t", "key": "k"}, true, ""},
		{kw{"op": 3, "table": "t", "key": "k"}, true, ""},
		{kw{"op": 3, "table": "t", "key": "k"}, false, ""},
		{kw{"op": 10, "table": "t", "key": "k"}, false, ""},
		{kw{"op": 2, "table": "t", "key": "k"}, nil, "StashKeyNotFoundError: Key not found: k"},
		{kw{"op": 1, "table": "t", "key": "k"}, true, ""}, // no value is None
		{kw{"op": 2, "table": "t", "key": "k"}, nil, ""},
		{kw{"op": 4, "table": "t"}, list("j", "k"), ""}, // a new place
		{kw{"op": 1, "table": "u", "key": "k", "value": 3}, true, ""},
		{kw{"op": 9, "table": ""}, list("t", "u"), ""},
		{kw{"op": 5, "table": "t"}, true, ""},
		{kw{"op": 4, "table": "t"}, list(), ""},
		{kw{"op": 6, "table": "t"}, kw{"size": int64(0), "table": "t"}, ""},
		{kw{"op": 8, "table": "t"}, true, ""},
		{kw{"op": 9, "table": ""}, list("u"), ""},

		// A dict with the key "error" is a value.
		{kw{"op": 1, "table": "u", "key": "e", "value": kw{"error": "key_not_found"}}, true, ""},
		{kw{"op": 2, "table": "u", "key": "e"}, kw{"error": "key_not_found"}, ""},
		{kw{"op": 8, "table": "u"}, true, ""},

		// Keys of all kinds, which keep their kind.
		{kw{"op": 1, "table": "k", "key": 5, "value": "int"}, true, ""},
		{kw{"op": 1, "table": "k", "key": "5", "value": "str"}, true, ""},
		{kw{"op": 1, "table": "k", "key": []byte("5"), "value": "bytes"}, true, ""},
		{kw{"op": 1, "table": "k", "key": 5.5, "value": "float"}, true, ""},
		{kw{"op": 1, "table": "k", "value": "None"}, true, ""},
		{kw{"op": 1, "table": "k", "key": true, "value": "True"}, true, ""},
		{kw{"op": 4, "table": "k"}, list(int64(5), "5", []byte("5"), 5.5, nil, true), ""},
		{kw{"op": 2, "table": "k", "key": 5.0}, "int", ""},
		{kw{"op": 2, "table": "k", "key": "5"}, "str", ""},
		{kw{"op": 2, "table": "k", "key": []byte("5")}, "bytes", ""},
		{kw{"op": 2, "table": "k", "key": 1}, "True", ""},
		{kw{"op": 2, "table": "k", "key": 1.0}, "True", ""},
		{kw{"op": 2, "table": "k"}, "None", ""},
		{kw{"op": 10, "table": "k", "key": nil}, true, ""}, // asks for the table
		{kw{"op": 1, "table": "k", "key": 1.0, "value": "one"}, true, ""},
		{kw{"op": 4, "table": "k"}, list(int64(5), "5", []byte("5"), 5.5, nil, true), ""}, // the first form
		{kw{"op": 2, "table": "k", "key": true}, "one", ""},
		{kw{"op": 3, "table": "k"}, true, ""},
		{kw{"op": 2, "table": "k"}, nil, "StashKeyNotFoundError: Key not found: None"},
		{kw{"op": 4, "table": "k", "pattern": "5*"}, list(int64(5), "5", 5.5), ""},
		{kw{"op": 4, "table": "k", "pattern": "b'?'"}, list([]byte("5")), ""},
		{kw{"op": 4, "table": "k", "pattern": "[!5]*"}, list([]byte("5"), true), ""},
		{kw{"op": 4, "table": "k", "pattern": ""}, list(int64(5), "5", []byte("5"), 5.5, true), ""},
		{kw{"op": 4, "table": "k", "pattern": 0}, list(int64(5), "5", []byte("5"), 5.5, true), ""},
		{kw{"op": 4, "table": "k", "pattern": list()}, list(int64(5), "5", []byte("5"), 5.5, true), ""},
		{kw{"op": 4, "table": "nothing", "pattern": 0.0}, list(), ""},
		{kw{"op": 4, "table": "nothing", "pattern": false}, list(), ""},
		{kw{"op": 4, "table": "nothing", "pattern": []byte{}}, list(), ""},
		{kw{"op": 4, "table": "nothing", "pattern": kw{}}, list(), ""},
		{kw{"op": 4, "table": "k", "pattern": true}, nil, "DirtyError: the pattern must be a str, not bool"},
		{kw{"op": 4, "table": "k", "pattern": 1.5}, nil, "DirtyError: the pattern must be a str, not float"},
		{kw{"op": 4, "table": "k", "pattern": []byte("*")}, nil, "DirtyError: the pattern must be a str, not bytes"},
		{kw{"op": 4, "table": "k", "pattern": kw{"a": 1}}, nil, "DirtyError: the pattern must be a str, not dict"},
		{kw{"op": 4, "table": "k", "pattern": 5}, nil, "DirtyError: the pattern must be a str, not int"},
		{kw{"op": 4, "table": "k", "pattern": list("x")}, nil, "DirtyError: the pattern must be a str, not list"},

		{kw{"op": 4, "table": "k", "pattern": strings.Repeat("*", 64<<10+1)}, nil, "DirtyError: the pattern has 65537 bytes, allowed 65536"},

		// All NaN are one key.
		{kw{"op": 1, "table": "nan", "key": math.NaN(), "value": 1}, true, ""},
		{kw{"op": 1, "table": "nan", "key": math.Float64frombits(0xfff8000000000001), "value": 2}, true, ""},
		{kw{"op": 6, "table": "nan"}, kw{"size": int64(1), "table": "nan"}, ""},
		{kw{"op": 2, "table": "nan", "key": math.NaN()}, int64(2), ""},
		{kw{"op": 10, "table": "nan", "key": math.NaN()}, true, ""},
		{kw{"op": 3, "table": "nan", "key": math.NaN()}, true, ""},
		{kw{"op": 2, "table": "nan", "key": math.NaN()}, nil, "StashKeyNotFoundError: Key not found: nan"},
		{kw{"op": 6, "table": "nan"}, kw{"size": int64(0), "table": "nan"}, ""},

		// What is no key.
		{kw{"op": 1, "table": "t", "key": list(1), "value": 1}, nil, "DirtyError: unhashable type: 'list'"},
		{kw{"op": 2, "table": "t", "key": kw{}}, nil, "DirtyError: unhashable type: 'dict'"},
		{kw{"op": 3, "table": list()}, nil, "DirtyError: unhashable type: 'list'"},
		{kw{"op": 6, "table": kw{"a": 1}}, nil, "DirtyError: unhashable type: 'dict'"},
		{kw{"op": 10, "table": "k", "key": list()}, nil, "DirtyError: unhashable type: 'list'"},

		// Tables are keys too. One that is left out is "".
		{kw{"op": 1, "key": "k", "value": 1}, true, ""},
		{kw{"op": 2, "table": "", "key": "k"}, int64(1), ""},
		{kw{"op": 7, "table": nil}, true, ""},
		{kw{"op": 7, "table": 7}, true, ""},
		{kw{"op": 6, "table": 7.0}, kw{"size": int64(0), "table": 7.0}, ""},
		{kw{"op": 9}, list("k", "nan", "", nil, int64(7)), ""},
		{kw{"op": 6, "table": 8}, nil, "StashTableNotFoundError: Table not found: 8"},

		// Operations.
		{kw{"op": 1.0, "table": "o", "key": "k", "value": 1}, true, ""},
		{kw{"op": true, "table": "o", "key": "k", "value": 2}, true, ""},
		{kw{"op": 2, "table": "o", "key": "k"}, int64(2), ""},
		{kw{"op": 0}, nil, "DirtyError: Unknown stash operation: 0"},
		{kw{"op": 11}, nil, "DirtyError: Unknown stash operation: 11"},
		{kw{"op": -1}, nil, "DirtyError: Unknown stash operation: -1"},
		{kw{"op": 255}, nil, "DirtyError: Unknown stash operation: 255"},
		{kw{"op": 257}, nil, "DirtyError: Unknown stash operation: 257"},
		{kw{"op": 1.5}, nil, "DirtyError: Unknown stash operation: 1.5"},
		{kw{"op": 1e300}, nil, "DirtyError: Unknown stash operation: 1e+300"},
		{kw{"op": false}, nil, "DirtyError: Unknown stash operation: False"},
		{kw{"op": nil}, nil, "DirtyError: Unknown stash operation: None"},
		{kw{}, nil, "DirtyError: Unknown stash operation: None"},
		{kw{"op": "1"}, nil, "DirtyError: Unknown stash operation: 1"},
		{kw{"op": []byte{1}}, nil, `DirtyError: Unknown stash operation: b'\x01'`},
		{kw{"op": list(1)}, nil, "DirtyError: Unknown stash operation: [...]"},
		{kw{"op": kw{}}, nil, "DirtyError: Unknown stash operation: {...}"},
	} {
		got := stashAsk(t, c, step.payload)
		if step.err != "" {
			err := failed(t, got)
			assert.Equal(t, "dirty: "+step.err, err.Error(), "step %d: %v", i, step.payload)
			assert.Empty(t, err.Details)
			continue
		}
		assert.Equal(t, dirty.NewResponse(1, step.want), got, "step %d: %v", i, step.payload)
	}
	usable(t, c)

	_, err := c.NetConn().Write(frame(dirty.TypeStash, 1, nil))
	require.NoError(t, err)
	assert.Equal(t, "Unknown stash operation: None", failed(t, receive(t, c)).Message)
}

// TestEveryStashOperation checks that the server does each operation that the
// protocol knows. One that is added must be added here.
func TestEveryStashOperation(t *testing.T) {
	want := map[dirty.StashOp]dirty.Message{ // of a key that is there; in order of the numbers
		dirty.StashPut:         dirty.NewResponse(1, true),
		dirty.StashGet:         dirty.NewResponse(1, "v"),
		dirty.StashDelete:      dirty.NewResponse(1, true),
		dirty.StashKeys:        dirty.NewResponse(1, []any{}),
		dirty.StashClear:       dirty.NewResponse(1, true),
		dirty.StashInfo:        dirty.NewResponse(1, kw{"size": int64(0), "table": "t"}),
		dirty.StashEnsure:      dirty.NewResponse(1, true),
		dirty.StashDeleteTable: dirty.NewResponse(1, true),
		dirty.StashTables:      dirty.NewResponse(1, []any{}),
		dirty.StashExists:      dirty.NewResponse(1, false),
	}
	c := connect(t, new(server.Server))
	known := 0
	for op := range 256 {
		op := dirty.StashOp(op)
		got := ask(t, c, dirty.NewStashRequest(1, op, "t", "k", "v", ""))
		if strings.HasPrefix(op.String(), "StashOp(") {
			assert.Equal(t, fmt.Sprintf("Unknown stash operation: %d", op), failed(t, got).Message)
			continue
		}
		known++
		assert.Equal(t, want[op], got, op.String())
	}
	assert.Len(t, want, known)
}

// How keys are named in errors: as Python's str has them.
func TestKeyText(t *testing.T) {
	c := connect(t, new(server.Server))
	for _, test := range []struct {
		key  any
		want string
	}{
		{"text", "text"}, {"", ""}, {"it's", "it's"}, {nil, "None"}, {true, "True"}, {false, "False"},
		{5, "5"}, {int64(math.MinInt64), "-9223372036854775808"},
		{1.0, "1.0"}, {0.0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {0.1, "0.1"}, {1e-4, "0.0001"}, {1e-5, "1e-05"},
		{123456789012345.6, "123456789012345.6"}, {1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1.5e300, "1.5e+300"},
		{math.Inf(1), "inf"}, {math.Inf(-1), "-inf"}, {math.NaN(), "nan"}, {5e-324, "5e-324"},
		{[]byte("plain"), "b'plain'"}, {[]byte{}, "b''"}, {[]byte("it's"), `b"it's"`}, {[]byte(`both ' and "`), `b'both \' and "'`},
		{strings.Repeat("ä", 600), strings.Repeat("ä", 500) + "..."}, {make([]byte, 2000), "b'" + strings.Repeat(`\x00`, 1000) + "'..."},
		{[]byte("\x00\t\n\r\\\x7f\xff"), `b'\x00\t\n\r\\\x7f\xff'`},
	} {
		got := stashAsk(t, c, kw{"op": 2, "table": "t", "key": test.key})
		assert.Equal(t, "Key not found: "+test.want, failed(t, got).Message)
	}
}

// Through the client of this module, with the errors that its users look for.
func TestStashThroughTheClient(t *testing.T) {
	path := start(t, new(server.Server))
	c := newClient(t, path)
	s := c.Stash("t")
	_, err := s.Get(ctx, "k")
	assert.ErrorIs(t, err, dirty.ErrKeyNotFound)
	_, err = s.Len(ctx)
	assert.ErrorIs(t, err, dirty.ErrTableNotFound)
	_, found, err := s.Lookup(ctx, "k")
	assert.NoError(t, err)
	assert.False(t, found)
	require.NoError(t, s.Put(ctx, "k", kw{"a": []byte{1}}))
	v, err := client.StashGet[map[string][]byte](ctx, s, "k")
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"a": {1}}, v)
	require.NoError(t, s.Put(ctx, 5, nil))
	keys, err := s.Keys(ctx, "?")
	require.NoError(t, err)
	assert.Equal(t, []any{"k", int64(5)}, keys)
	for item, err := range s.Items(ctx, "") {
		require.NoError(t, err)
		assert.Contains(t, []any{"k", int64(5)}, item.Key)
	}
	tables, err := c.Tables(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"t"}, tables)
	existed, err := s.Drop(ctx)
	require.NoError(t, err)
	assert.True(t, existed)
}

// A value comes back byte for byte, also what a decoder would normalise, and of
// the largest sizes.
func TestStashKeepsBytes(t *testing.T) {
	c := connect(t, new(server.Server))
	values := map[string]dirty.RawValue{
		"true as 2":      {byte(dirty.KindBool), 2},
		"doubled keys":   append(append(dirty.AppendDictHeader(nil, 2), doubled...), doubled...),
		"NaN with bits":  {byte(dirty.KindFloat64), 0x7f, 0xf0, 0, 0, 0, 0, 0, 1},
		"32 MiB":         encoded(make([]byte, 32<<20)),
		"as deep as can": encoded(nested(899)),
	}
	for name, value := range values {
		require.Equal(t, dirty.NewResponse(1, true), ask(t, c, dirty.NewStashRequest(1, dirty.StashPut, "t", name, value, "")), name)
	}
	for name, value := range values {
		require.NoError(t, c.WriteMessage(dirty.NewStashRequest(1, dirty.StashGet, "t", name, nil, "")))
		f, err := c.ReadFrame()
		require.NoError(t, err)
		var got struct {
			Result dirty.RawValue `dirty:"result"`
		}
		require.NoError(t, dirty.Unmarshal(f.Payload, &got), name)
		assert.True(t, string(value) == string(got.Result), name)
	}
}

var doubled = dirty.AppendNone(dirty.AppendString(nil, "k"))

// A value that could not be given back is refused when it is put.
func TestStashRefusesTooDeep(t *testing.T) {
	c := connect(t, new(server.Server))
	b, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: 1000}}.AppendMessage(nil,
		dirty.NewStashRequest(1, dirty.StashPut, "t", "k", nested(900), ""))
	require.NoError(t, err)
	_, err = c.NetConn().Write(b)
	require.NoError(t, err)
	assert.ErrorIs(t, failed(t, receive(t, c)), dirty.ErrPeerProtocol)
	usable(t, c)
}

// More keys than a list can have cannot be told, but are no harm.
func TestStashTooManyKeys(t *testing.T) {
	store := new(server.MemoryStore)
	c := connect(t, &server.Server{Stash: store, Limits: dirty.Limits{MaxElements: 100}})
	for i := range 101 {
		require.NoError(t, store.Put(ctx, "t", int64(i), encoded(i)))
	}
	assert.ErrorContains(t, failed(t, ask(t, c, dirty.NewStashRequest(1, dirty.StashKeys, "t", nil, nil, ""))), "101 elements, allowed 100")
	assert.Equal(t, dirty.NewResponse(1, kw{"size": int64(101), "table": "t"}), ask(t, c, dirty.NewStashRequest(1, dirty.StashInfo, "t", nil, nil, "")))
}

func TestNoStash(t *testing.T) {
	c := connect(t, &server.Server{Stash: server.NoStash})
	for op := dirty.StashPut; op <= dirty.StashExists; op++ {
		err := failed(t, ask(t, c, dirty.NewStashRequest(1, op, "t", "k", "v", "")))
		assert.Equal(t, "dirty: DirtyError: this server has no stash", err.Error())
	}
}

// stubStore fails in the ways that stores of others may.
type stubStore struct {
	server.Store
	wait chan error
}

func (s *stubStore) Get(ctx context.Context, _, key any) (dirty.RawValue, error) {
	switch key {
	case "wait":
		<-ctx.Done()
		s.wait <- context.Cause(ctx)
		return nil, ctx.Err()
	case "panic":
		panic("secret")
	case "deadline":
		return nil, context.DeadlineExceeded
	case "remote":
		return nil, &dirty.RemoteError{Type: "StashError", Message: "mine"}
	case "text":
		return nil, errors.New("broken \xff")
	case "invalid":
		return dirty.RawValue{0xff}, nil
	case "wrapped":
		return nil, errors.Join(errBoom, dirty.ErrKeyNotFound)
	}
	return nil, nil
}

func TestStoreOfOthers(t *testing.T) {
	s := &stubStore{Store: server.NoStash, wait: make(chan error, 1)}
	path := start(t, &server.Server{Stash: s})
	c := dial(t, path)
	for key, want := range map[string]string{
		"panic":    "DirtyAppError: internal error",
		"deadline": "DirtyTimeoutError: context deadline exceeded",
		"remote":   "StashError: mine",
		"text":     "DirtyError: broken \ufffd",
		"invalid":  "DirtyAppError: dirty: malformed",
		"wrapped":  "StashKeyNotFoundError: Key not found: wrapped",
	} {
		err := failed(t, stashAsk(t, c, kw{"op": 2, "key": key}))
		assert.True(t, strings.HasPrefix(err.Error(), "dirty: "+want), "%s: %v", key, err)
	}
	assert.Equal(t, dirty.NewResponse(1, nil), stashAsk(t, c, kw{"op": 2, "key": "nil"}))
	require.NoError(t, c.WriteMessage(dirty.NewStashRequest(1, dirty.StashGet, "t", "wait", nil, "")))
	require.NoError(t, c.Close())
	assert.Equal(t, server.ErrClientGone, wait(t, "the cause", s.wait))
}
