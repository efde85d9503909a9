//go:build unix

package interop

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// stash returns a table of the test's own. It is deleted when the test ends.
func (g *gunicorn) stash(t *testing.T, c *client.Client) *client.Stash {
	t.Helper()
	s := c.Stash(t.Name())
	t.Cleanup(func() {
		p := g.dial(t)
		p.stash(dirty.StashDeleteTable, t.Name(), nil, nil, "")
	})
	return s
}

func TestClientStash(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		has := func(want bool, key ...any) {
			t.Helper()
			exists, err := s.Exists(ctx, key...)
			require.NoError(t, err)
			assert.Equal(t, want, exists, key)
		}
		size := func(want int) {
			t.Helper()
			n, err := s.Len(ctx)
			require.NoError(t, err)
			assert.Equal(t, want, n)
		}

		has(false)
		require.NoError(t, s.Ensure(ctx))
		require.NoError(t, s.Ensure(ctx))
		has(true)
		has(false, "user:1")
		size(0)
		tables, err := c.Tables(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{t.Name()}, tables)

		value := map[string]any{"name": "水", "tags": []any{"a", []byte("b"), nil, 1.5}}
		require.NoError(t, s.Put(ctx, "user:1", value))
		require.NoError(t, s.Put(ctx, "user:2", nil))
		require.NoError(t, s.Put(ctx, "other", 1))
		require.NoError(t, s.Put(ctx, "other", 2))
		has(true, "user:2")
		size(3)
		info, err := s.Info(ctx)
		require.NoError(t, err)
		assert.Equal(t, client.StashInfo{Table: t.Name(), Size: 3}, info)

		got, err := s.Get(ctx, "user:1")
		require.NoError(t, err)
		assert.Equal(t, value, got)
		got, found, err := s.Lookup(ctx, "other")
		require.NoError(t, err)
		assert.True(t, found)
		assert.Equal(t, int64(2), got)

		// A stored None is not a missing key.
		got, err = s.Get(ctx, "user:2")
		require.NoError(t, err)
		assert.Nil(t, got)
		got, found, err = s.Lookup(ctx, "user:2")
		require.NoError(t, err)
		assert.True(t, found)
		assert.Nil(t, got)

		for pattern, want := range map[string][]any{
			"": {"user:1", "user:2", "other"}, "*": {"user:1", "user:2", "other"}, "user:*": {"user:1", "user:2"},
			"user:[!1]": {"user:2"}, "?ther": {"other"}, "USER:*": {}, "none": {},
		} {
			keys, err := s.Keys(ctx, pattern)
			require.NoError(t, err)
			assert.Equal(t, want, keys, pattern)
		}

		existed, err := s.Delete(ctx, "user:1")
		require.NoError(t, err)
		assert.True(t, existed)
		existed, err = s.Delete(ctx, "user:1")
		require.NoError(t, err)
		assert.False(t, existed)
		require.NoError(t, s.Clear(ctx))
		size(0)
		existed, err = s.Drop(ctx)
		require.NoError(t, err)
		assert.True(t, existed)
		existed, err = s.Drop(ctx)
		require.NoError(t, err)
		assert.False(t, existed)
		has(false)
		assert.Equal(t, uint64(1), c.Stats().Dials)
	})
}

// TestClientStashMisses: a missing key and a missing table are told in several forms.
// Some operations do not need the table.
func TestClientStashMisses(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		check := func() {
			t.Helper()
			_, err := s.Get(ctx, "k")
			requireRemote(t, dirty.ErrKeyNotFound, err)
			assert.False(t, client.SafeToRetry(err))
			_, err = client.StashGet[int](ctx, s, "k")
			requireRemote(t, dirty.ErrKeyNotFound, err)
			_, found, err := s.Lookup(ctx, "k")
			require.NoError(t, err)
			assert.False(t, found)
		}
		check()
		_, err := s.Len(ctx)
		requireRemote(t, dirty.ErrTableNotFound, err)
		_, err = s.Info(ctx)
		requireRemote(t, dirty.ErrTableNotFound, err)
		assert.ErrorContains(t, err, t.Name())

		// What gunicorn does without a table.
		keys, err := s.Keys(ctx, "")
		require.NoError(t, err)
		assert.Empty(t, keys)
		require.NoError(t, s.Clear(ctx))
		existed, err := s.Delete(ctx, "k")
		require.NoError(t, err)
		assert.False(t, existed)
		items, err := collect(s.Items(ctx, ""))
		require.NoError(t, err)
		assert.Empty(t, items)

		require.NoError(t, s.Ensure(ctx))
		check()
	})
}

func TestClientStashIsTyped(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		require.NoError(t, s.Put(ctx, "parcel", aParcel))
		got, err := client.StashGet[parcel](ctx, s, "parcel")
		require.NoError(t, err)
		assert.Equal(t, aParcel, got)
		_, err = client.StashGet[int](ctx, s, "parcel")
		require.ErrorAs(t, err, new(*dirty.UnmarshalTypeError))

		// As Python sees and writes it.
		kind, err := c.Execute(ctx, app, "stash_kinds", t.Name())
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"parcel": "dict"}, kind)
		_, err = c.Execute(ctx, app, "stash_put", t.Name(), []any{[]any{"by python", []int{1, 2}}})
		require.NoError(t, err)
		numbers, err := client.StashGet[[]int](ctx, s, "by python")
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2}, numbers)
	})
}

// TestClientStashKeys: keys need not be strings, whether Go or Python has put them.
func TestClientStashKeys(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		_, err := c.Execute(ctx, app, "stash_put_odd_keys", t.Name())
		require.NoError(t, err)
		want := []client.StashItem{
			{Key: int64(5), Value: "5"},
			{Key: "5", Value: "'5'"},
			{Key: 1.5, Value: "1.5"},
			{Key: true, Value: "True"},
			{Key: nil, Value: "None"},
			{Key: []byte("b"), Value: "b'b'"},
		}
		items, err := collect(s.Items(ctx, ""))
		require.NoError(t, err)
		assert.Equal(t, want, items)
		items, err = collect(s.Items(ctx, "*5"))
		require.NoError(t, err)
		assert.Equal(t, want[:3], items)
		for item, err := range s.Items(ctx, "") {
			require.NoError(t, err)
			assert.Equal(t, want[0], item)
			break
		}

		for key, value := range map[any]any{5: "5", "5": "'5'", 1.5: "1.5", true: "True", 1: "True"} {
			got, err := s.Get(ctx, key)
			require.NoError(t, err)
			assert.Equal(t, value, got, "%v", key)
		}
		got, err := s.Get(ctx, []byte("b"))
		require.NoError(t, err)
		assert.Equal(t, "b'b'", got)
		require.NoError(t, s.Put(ctx, uint16(7), "seven"))
		got, err = s.Get(ctx, 7)
		require.NoError(t, err)
		assert.Equal(t, "seven", got)

		for _, key := range []any{nil, []string{"a"}, map[string]int{}, struct{}{}} {
			require.ErrorIs(t, s.Put(ctx, key, 1), client.ErrInvalidArgument)
			_, err = s.Get(ctx, key)
			require.ErrorIs(t, err, client.ErrInvalidArgument)
			requireOp(t, err, client.StagePrepare, false)
		}
	})
}

// TestClientStashItemsThatGo: Items leaves out keys that are deleted while it runs.
func TestClientStashItemsThatGo(t *testing.T) {
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		for i := range 4 {
			require.NoError(t, s.Put(ctx, i, i))
		}
		var seen []any
		for item, err := range s.Items(ctx, "") {
			require.NoError(t, err)
			seen = append(seen, item.Key)
			_, err = s.Delete(ctx, 1)
			require.NoError(t, err)
		}
		assert.Equal(t, []any{int64(0), int64(2), int64(3)}, seen)
	})
}

// TestClientStashErrorValues: if a stored dict has the key "error" at its top,
// gunicorn answers Get with an error. So Put refuses such a dict.
func TestClientStashErrorValues(t *testing.T) {
	type failure struct {
		Error string `dirty:"error"`
	}
	eachPeer(t, func(t *testing.T, g *gunicorn) {
		c, ctx := g.client(t), t.Context()
		s := g.stash(t, c)
		refused := map[string]any{
			"alone":   map[string]any{"error": "x"},
			"of many": map[string]any{"error": "x", "a": 1},
			"none":    map[string]any{"error": nil},
			"number":  map[string]int{"error": 5},
		}
		for key, value := range refused {
			err := s.Put(ctx, key, value)
			require.ErrorIs(t, err, client.ErrInvalidArgument, key)
			requireOp(t, err, client.StagePrepare, false)
			assert.ErrorContains(t, err, `"error"`, key)
			exists, err := s.Exists(ctx, key)
			require.NoError(t, err)
			assert.False(t, exists, key)

			// gunicorn itself stores it, and then cannot return it.
			g.put(t, t.Name(), key, value)
			_, err = s.Get(ctx, key)
			if g.differs(t, "error as a key") {
				require.NoError(t, err, key)
			} else {
				require.ErrorAs(t, err, new(*dirty.RemoteError), key)
			}
			exists, err = s.Exists(ctx, key)
			require.NoError(t, err)
			assert.True(t, exists, key)
		}
		for _, value := range []any{
			failure{"x"}, &failure{"x"}, dirty.Dict{{Key: "a", Value: 1}, {Key: "error", Value: 1}}, map[string]failure{"error": {"x"}},
		} {
			require.ErrorIs(t, s.Put(ctx, "k", value), client.ErrInvalidArgument, "%T", value)
		}

		// Below the top it is a key like any other.
		for _, value := range []any{
			map[string]any{"errors": "x"},
			map[string]any{"a": map[string]any{"error": "x"}},
			[]any{map[string]any{"error": "x"}},
			"error",
		} {
			require.NoError(t, s.Put(ctx, "k", value))
			got, err := s.Get(ctx, "k")
			require.NoError(t, err)
			assert.Equal(t, value, got)
		}
	})
}
