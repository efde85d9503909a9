//go:build unix

package interop

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// stash sends an operation that has to succeed.
func (p *peer) stash(op dirty.StashOp, table string, key, value any, pattern string) any {
	p.t.Helper()
	result, err := p.send(dirty.NewStashRequest(p.nextID(), op, table, key, value, pattern))
	require.NoError(p.t, err)
	return result
}

func TestStash(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		const table = "sessions"
		value := map[string]any{"name": "水", "tags": []any{"a", []byte("b"), nil, 1.5}}

		assert.Equal(t, []any{}, p.stash(dirty.StashTables, "", nil, nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashEnsure, table, nil, nil, ""))
		assert.Equal(t, []any{table}, p.stash(dirty.StashTables, "", nil, nil, ""))

		assert.Equal(t, true, p.stash(dirty.StashPut, table, "user:1", value, ""))
		assert.Equal(t, true, p.stash(dirty.StashPut, table, "user:2", nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashPut, table, 3, "three", ""))
		assert.Equal(t, value, p.stash(dirty.StashGet, table, "user:1", nil, ""))
		assert.Nil(t, p.stash(dirty.StashGet, table, "user:2", nil, ""))
		assert.Equal(t, "three", p.stash(dirty.StashGet, table, 3, nil, ""))

		assert.Equal(t, []any{"user:1", "user:2", int64(3)}, p.stash(dirty.StashKeys, table, nil, nil, ""))
		assert.Equal(t, []any{"user:1"}, p.stash(dirty.StashKeys, table, nil, nil, "*:1"))
		assert.Equal(t, map[string]any{"size": int64(3), "table": table}, p.stash(dirty.StashInfo, table, nil, nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashExists, table, nil, nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashExists, table, "user:2", nil, ""))
		assert.Equal(t, false, p.stash(dirty.StashExists, table, "3", nil, ""))

		assert.Equal(t, true, p.stash(dirty.StashDelete, table, "user:1", nil, ""))
		assert.Equal(t, false, p.stash(dirty.StashDelete, table, "user:1", nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashClear, table, nil, nil, ""))
		assert.Equal(t, []any{}, p.stash(dirty.StashKeys, table, nil, nil, ""))
		assert.Equal(t, true, p.stash(dirty.StashDeleteTable, table, nil, nil, ""))
		assert.Equal(t, false, p.stash(dirty.StashDeleteTable, table, nil, nil, ""))
	})
}

func TestStashErrors(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		_, err := p.send(dirty.NewStashRequest(p.nextID(), dirty.StashGet, "nowhere", "k", nil, ""))
		requireKind(t, dirty.ErrKeyNotFound, err)
		_, err = p.send(dirty.NewStashRequest(p.nextID(), dirty.StashInfo, "nowhere", nil, nil, ""))
		requireKind(t, dirty.ErrTableNotFound, err)

		_, err = p.send(dirty.NewStashRequest(p.nextID(), 99, "t", nil, nil, ""))
		requireKind(t, nil, err)
		assert.ErrorContains(t, err, "Unknown stash operation: 99")
		_, err = p.send(dirty.NewStashRequest(p.nextID(), dirty.StashPut, "t", []int{1}, 1, ""))
		requireKind(t, nil, err)
		assert.ErrorContains(t, err, "unhashable type: 'list'")
		assert.Equal(t, true, p.stash(dirty.StashDeleteTable, "t", nil, nil, ""))
	})
}
