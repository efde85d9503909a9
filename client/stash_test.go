package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asking is a client of a peer that notes what it is asked, and answers with
// what reply returns: a value, or an error.
func asking(t *testing.T, reply func(m dirty.Message) any, opts ...client.Option) (c *client.Client, asked <-chan dirty.Message) {
	messages := make(chan dirty.Message, 100)
	p := newPeer(t, answering(func(c *dirty.Conn, m dirty.Message) error {
		messages <- m
		v := reply(m)
		if err, ok := v.(error); ok {
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), err))
		}
		return c.WriteMessage(dirty.NewResponse(m.RequestID(), v))
	}))
	return p.client(t, opts...), messages
}

// requireAsked checks the next message, but for its id.
func requireAsked(t *testing.T, want dirty.Message, asked <-chan dirty.Message) {
	t.Helper()
	got := receive(t, "a message", asked)
	switch m := got.(type) {
	case *dirty.StashRequest:
		m.ID = 0
	case *dirty.Request:
		m.ID = 0
	case *dirty.ManageRequest:
		m.ID = 0
	case *dirty.StatusRequest:
		m.ID = 0
	}
	require.Equal(t, want, got)
}

// The two forms of a miss: gunicorn's, and that of its documentation, which other
// servers send.
func misses(typ, message string) []error {
	return []error{
		&dirty.RemoteError{Type: "DirtyError", Message: message},
		&dirty.RemoteError{Type: typ, Message: message, Details: map[string]any{"table": "t"}},
	}
}

// TestStash: what each operation sends, and what becomes of the answer.
func TestStash(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name  string
		call  func(s *client.Stash) (any, error)
		sends dirty.StashRequest
		reply any
		want  any
	}{
		{"put", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", []any{1}) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: []any{int64(1)}}, true, nil},
		{"put none", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", nil) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k"}, true, nil},
		{"put a dict", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", map[string]int{"a": 1}) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: map[string]any{"a": int64(1)}}, true, nil},
		{"put a struct", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", struct{ A *int }{}) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: map[string]any{"A": nil}}, true, nil},
		{"put a list of another type", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", []string{"error"}) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: []any{"error"}}, true, nil},
		{"put a number of another type", func(s *client.Stash) (any, error) { return nil, s.Put(ctx, "k", number(3)) },
			dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: int64(3)}, true, nil},
		{"put an error deeper inside", func(s *client.Stash) (any, error) {
			return nil, s.Put(ctx, "k", map[string]any{"errors": 1, "x": map[string]any{"error": 1}})
		}, dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: map[string]any{"errors": int64(1), "x": map[string]any{"error": int64(1)}}}, true, nil},
		{"put a list of a dict with an error", func(s *client.Stash) (any, error) {
			return nil, s.Put(ctx, "k", []any{map[string]any{"error": 1}})
		}, dirty.StashRequest{Op: dirty.StashPut, Key: "k", Value: []any{map[string]any{"error": int64(1)}}}, true, nil},
		{"get", func(s *client.Stash) (any, error) { return s.Get(ctx, "k") },
			dirty.StashRequest{Op: dirty.StashGet, Key: "k"}, "v", "v"},
		{"get none", func(s *client.Stash) (any, error) { return s.Get(ctx, "k") },
			dirty.StashRequest{Op: dirty.StashGet, Key: "k"}, nil, nil},
		{"get typed", func(s *client.Stash) (any, error) { return client.StashGet[map[string]int](ctx, s, "k") },
			dirty.StashRequest{Op: dirty.StashGet, Key: "k"}, map[string]any{"a": 1}, map[string]int{"a": 1}},
		{"lookup", func(s *client.Stash) (any, error) {
			v, found, err := s.Lookup(ctx, "k")
			return []any{v, found}, err
		}, dirty.StashRequest{Op: dirty.StashGet, Key: "k"}, 1, []any{int64(1), true}},
		{"lookup none", func(s *client.Stash) (any, error) {
			v, found, err := s.Lookup(ctx, "k")
			return []any{v, found}, err
		}, dirty.StashRequest{Op: dirty.StashGet, Key: "k"}, nil, []any{nil, true}},
		{"delete", func(s *client.Stash) (any, error) { return s.Delete(ctx, "k") },
			dirty.StashRequest{Op: dirty.StashDelete, Key: "k"}, true, true},
		{"delete in vain", func(s *client.Stash) (any, error) { return s.Delete(ctx, "k") },
			dirty.StashRequest{Op: dirty.StashDelete, Key: "k"}, false, false},
		{"keys", func(s *client.Stash) (any, error) { return s.Keys(ctx, "") },
			dirty.StashRequest{Op: dirty.StashKeys}, []any{"a", 5, 1.5, true, []byte("b"), nil}, []any{"a", int64(5), 1.5, true, []byte("b"), nil}},
		{"keys by pattern", func(s *client.Stash) (any, error) { return s.Keys(ctx, "user:[!0]*") },
			dirty.StashRequest{Op: dirty.StashKeys, Pattern: "user:[!0]*"}, []any{}, []any{}},
		{"len", func(s *client.Stash) (any, error) { return s.Len(ctx) },
			dirty.StashRequest{Op: dirty.StashInfo}, map[string]any{"size": 7, "table": "t"}, 7},
		{"info", func(s *client.Stash) (any, error) { return s.Info(ctx) },
			dirty.StashRequest{Op: dirty.StashInfo}, map[string]any{"size": 7, "table": "t", "more": 1}, client.StashInfo{Table: "t", Size: 7}},
		{"clear", func(s *client.Stash) (any, error) { return nil, s.Clear(ctx) }, dirty.StashRequest{Op: dirty.StashClear}, true, nil},
		{"ensure", func(s *client.Stash) (any, error) { return nil, s.Ensure(ctx) }, dirty.StashRequest{Op: dirty.StashEnsure}, true, nil},
		{"exists", func(s *client.Stash) (any, error) { return s.Exists(ctx, "k") }, dirty.StashRequest{Op: dirty.StashExists, Key: "k"}, true, true},
		{"exists not", func(s *client.Stash) (any, error) { return s.Exists(ctx, "") }, dirty.StashRequest{Op: dirty.StashExists, Key: ""}, false, false},
		{"the table exists", func(s *client.Stash) (any, error) { return s.Exists(ctx) }, dirty.StashRequest{Op: dirty.StashExists}, true, true},
		{"drop", func(s *client.Stash) (any, error) { return s.Drop(ctx) }, dirty.StashRequest{Op: dirty.StashDeleteTable}, true, true},
		{"drop in vain", func(s *client.Stash) (any, error) { return s.Drop(ctx) }, dirty.StashRequest{Op: dirty.StashDeleteTable}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := asking(t, func(dirty.Message) any { return tt.reply })
			got, err := tt.call(c.Stash("t"))
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			tt.sends.Table = "t"
			requireAsked(t, &tt.sends, asked)
			assert.Empty(t, asked)
		})
	}
}

// TestTables: names that are no strings are left out.
func TestTables(t *testing.T) {
	c, asked := asking(t, func(dirty.Message) any { return []any{"a", 5, "", nil, []byte("b"), "c"} })
	got, err := c.Tables(context.Background())
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "", "c"}, got)
	requireAsked(t, &dirty.StashRequest{Op: dirty.StashTables}, asked)

	c, _ = asking(t, func(dirty.Message) any { return []any{} })
	got, err = c.Tables(context.Background())
	require.NoError(t, err)
	assert.Empty(t, got)
}

// TestStashMiss: both forms of one are one error.
func TestStashMiss(t *testing.T) {
	ctx := context.Background()
	for _, miss := range misses("StashKeyNotFoundError", "Key not found: k") {
		c, _ := asking(t, func(dirty.Message) any { return miss })
		s := c.Stash("sessions")
		v, err := s.Get(ctx, "k")
		require.ErrorIs(t, err, dirty.ErrKeyNotFound)
		requireOp(t, err, client.StageRead, true)
		assert.Nil(t, v)
		assert.NotErrorIs(t, err, dirty.ErrTableNotFound)
		assert.Contains(t, err.Error(), `"sessions"["k"]`)
		n, err := client.StashGet[int](ctx, s, "k")
		require.ErrorIs(t, err, dirty.ErrKeyNotFound)
		assert.Zero(t, n)
		v, found, err := s.Lookup(ctx, "k")
		require.NoError(t, err)
		assert.False(t, found)
		assert.Nil(t, v)
	}
	for _, miss := range misses("StashTableNotFoundError", "Table not found: t") {
		c, _ := asking(t, func(dirty.Message) any { return miss })
		_, err := c.Stash("t").Info(ctx)
		require.ErrorIs(t, err, dirty.ErrTableNotFound)
		n, err := c.Stash("t").Len(ctx)
		require.ErrorIs(t, err, dirty.ErrTableNotFound)
		assert.Zero(t, n)
	}

	// What is no miss is no miss.
	c, _ := asking(t, func(dirty.Message) any { return &dirty.RemoteError{Type: "DirtyError", Message: "List too large"} })
	_, found, err := c.Stash("t").Lookup(ctx, "k")
	require.Error(t, err)
	assert.False(t, found)
}

type (
	name   string
	number int8
	truth  bool
)

// TestStashKeys: what can be a key, how it is sent, and how errors name it.
func TestStashKeys(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		key  any
		sent any
		text string
	}{
		{"k", "k", "k"},
		{"", "", ""},
		{name("n"), "n", "n"},
		{5, int64(5), "5"},
		{int8(-1), int64(-1), "-1"},
		{uint64(1 << 62), int64(1 << 62), fmt.Sprint(uint64(1 << 62))},
		{number(3), int64(3), "3"},
		{1.5, 1.5, "1.5"},
		{float32(0.5), 0.5, "0.5"},
		{math.Inf(1), math.Inf(1), "+Inf"},
		{true, true, "true"},
		{truth(false), false, "false"},
		{[]byte("b\x00"), []byte("b\x00"), `b"b\x00"`},
		{[]byte{}, []byte{}, `b""`},
	} {
		c, asked := asking(t, func(m dirty.Message) any {
			return &dirty.RemoteError{Type: "DirtyError", Message: "Key not found: x"}
		})
		_, err := c.Stash("t").Get(ctx, tt.key)
		op := requireOp(t, err, client.StageRead, true)
		assert.Equal(t, tt.text, op.Key)
		requireAsked(t, &dirty.StashRequest{Op: dirty.StashGet, Table: "t", Key: tt.sent}, asked)
	}
}

// TestStashRefusals: keys and values that are refused before anything is sent.
func TestStashRefusals(t *testing.T) {
	ctx := context.Background()
	c, asked := asking(t, func(dirty.Message) any { return true })
	s := c.Stash("t")
	type entry struct {
		E any `dirty:"error"`
	}
	one := 1
	for what, key := range map[string]any{
		"nil": nil, "NaN": math.NaN(), "a NaN of 32 bits": float32(math.NaN()),
		"a list": []any{1}, "a dict": map[string]any{}, "strings": []string{"a"}, "a struct": entry{},
		"a pointer": &one, "nil bytes": []byte(nil), "an encoded list": dirty.RawValue(encoded([]any{})),
		"a complex": 1i, "a channel": make(chan int),
	} {
		for name, call := range map[string]func() error{
			"put":       func() error { return s.Put(ctx, key, 1) },
			"get":       func() error { _, err := s.Get(ctx, key); return err },
			"typed get": func() error { _, err := client.StashGet[int](ctx, s, key); return err },
			"lookup":    func() error { _, _, err := s.Lookup(ctx, key); return err },
			"delete":    func() error { _, err := s.Delete(ctx, key); return err },
			"exists":    func() error { _, err := s.Exists(ctx, key); return err },
		} {
			err := call()
			if assert.ErrorIs(t, err, client.ErrInvalidArgument, "%s of %s", name, what) {
				requireOp(t, err, client.StagePrepare, false)
				assert.False(t, client.SafeToRetry(err))
			}
		}
	}
	for what, value := range map[string]any{
		"a dict": map[string]any{"error": 1}, "a dict of another type": map[string]string{"a": "", "error": "x"},
		"none in it": map[string]any{"error": nil}, "a struct": entry{}, "a pointer to a struct": &entry{},
		"an ordered dict": dirty.Dict{{Key: "a", Value: 1}, {Key: "error", Value: 1}},
		"an encoded dict": dirty.RawValue(encoded(map[string]any{"error": 1})),
		"kwargs":          client.Kwargs{"error": 1},
	} {
		err := s.Put(ctx, "k", value)
		if assert.ErrorIs(t, err, client.ErrInvalidArgument, what) {
			requireOp(t, err, client.StagePrepare, false)
			assert.Contains(t, err.Error(), `"error"`)
		}
	}
	for what, value := range map[string]any{"a channel": make(chan int), "no UTF-8": "\xff", "a large uint": uint64(1 << 63), "a channel in a dict": map[string]any{"a": make(chan int)}} {
		err := s.Put(ctx, "k", value)
		var marshal *dirty.MarshalError
		if assert.ErrorAs(t, err, &marshal, what) {
			requireOp(t, err, client.StagePrepare, false)
		}
	}
	_, err := s.Exists(ctx, "a", "b")
	assert.ErrorIs(t, err, client.ErrInvalidArgument)
	assert.Empty(t, asked, "nothing was sent")
}

// TestItems: keys of any kind and their values, one question each; those that
// vanish meanwhile are left out.
func TestItems(t *testing.T) {
	keys := []any{"a", int64(5), "gone", []byte("b"), nil, "z"}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		miss int // which form
		fail any // the key whose value fails, or "keys"
		want []client.StashItem
	}{
		{"all", 0, "", []client.StashItem{{"a", int64(0)}, {int64(5), int64(1)}, {[]byte("b"), int64(3)}, {nil, int64(4)}, {"z", int64(5)}}},
		{"the other form of a miss", 1, "", []client.StashItem{{"a", int64(0)}, {int64(5), int64(1)}, {[]byte("b"), int64(3)}, {nil, int64(4)}, {"z", int64(5)}}},
		{"an error", 0, "z", []client.StashItem{{"a", int64(0)}, {int64(5), int64(1)}, {[]byte("b"), int64(3)}, {nil, int64(4)}}},
		{"an error at once", 0, "keys", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := -1
			c, asked := asking(t, func(m dirty.Message) any {
				switch s := m.(*dirty.StashRequest); {
				case s.Op == dirty.StashKeys && tt.fail == "keys":
					return broken
				case s.Op == dirty.StashKeys:
					return keys
				case s.Key == tt.fail:
					return broken
				default:
					if n++; s.Key == "gone" {
						return misses("StashKeyNotFoundError", "Key not found: gone")[tt.miss]
					}
					return n
				}
			})
			items := c.Stash("t").Items(context.Background(), "*")
			got, err := collect(items)
			assert.Equal(t, tt.want, got)
			requireAsked(t, &dirty.StashRequest{Op: dirty.StashKeys, Table: "t", Pattern: "*"}, asked)
			if tt.fail != "" {
				require.ErrorIs(t, err, dirty.ErrApp)
				return
			}
			require.NoError(t, err)
			for _, key := range keys {
				requireAsked(t, &dirty.StashRequest{Op: dirty.StashGet, Table: "t", Key: key}, asked)
			}

			// It may be ranged over again, and left.
			n = -1
			for item, err := range items {
				require.NoError(t, err)
				assert.Equal(t, tt.want[0], item)
				break
			}
			assert.Len(t, asked, 2)
		})
	}
}

// TestPutIsNotDecoded: the limits of what is decoded are not those of what is
// stored, though Put looks for an "error" in it.
func TestPutIsNotDecoded(t *testing.T) {
	p := newPeer(t, answering(arbiter))
	c := p.client(t, client.WithLimits(dirty.Limits{MaxMemory: 800}))
	for name, value := range map[string]any{
		"dict": map[string]any{"a": make([]int, 1000)}, "list": make([]int, 1000), "any list": []any{make([]int, 1000)},
	} {
		assert.NoError(t, c.Stash("t").Put(context.Background(), "k", value), name)
	}
}
