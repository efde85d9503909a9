//go:build unix

package interop

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

func TestExecute(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		assert.Equal(t, "hello", p.call("identity", "hello"))
		assert.Equal(t, map[string]any{"args": []any{}, "kwargs": map[string]any{}}, p.call("echo"))

		request := dirty.NewRequest(p.nextID(), app, "echo", []any{1, "two"}, map[string]any{"a": nil, "class": []any{}, "": 1.5})
		result, err := p.send(request)
		require.NoError(t, err)
		assert.Equal(t, map[string]any{
			"args":   []any{int64(1), "two"},
			"kwargs": map[string]any{"a": nil, "class": []any{}, "": 1.5},
		}, result)
	})
}

func TestKwargsKeepTheirOrder(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t, dirty.WithDict())
		ordered := dirty.Dict{{Key: "z", Value: int64(1)}, {Key: "a", Value: int64(2)}, {Key: "m", Value: int64(3)}}
		result, err := p.send(&dirty.Request{ID: p.nextID(), AppPath: app, Action: "echo", OrderedKwargs: ordered})
		require.NoError(t, err)
		assert.Equal(t, dirty.Dict{{Key: "args", Value: []any{}}, {Key: "kwargs", Value: ordered}}, result)
	})
}

func TestRequestIDsComeBack(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for _, id := range []uint64{0, 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
			for _, m := range []dirty.Message{
				dirty.NewRequest(id, app, "identity", []any{1}, nil),
				dirty.NewRequest(id, app, "fail", []any{"boom"}, nil),
				dirty.NewStatusRequest(id),
				dirty.NewStashRequest(id, dirty.StashTables, "", nil, nil, ""),
			} {
				require.NoError(t, p.WriteMessage(m))
				answer, err := p.ReadMessage()
				require.NoError(t, err)
				assert.Equal(t, id, answer.RequestID())
			}
		}
	})
}

// TestPipelining sends all requests before it reads the first answer.
func TestPipelining(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for i := range 50 {
			require.NoError(t, p.WriteMessage(dirty.NewRequest(uint64(i), app, "identity", []any{i}, nil)))
		}
		for i := range 50 {
			answer, err := p.ReadMessage()
			require.NoError(t, err)
			assert.Equal(t, dirty.NewResponse(uint64(i), int64(i)), answer)
		}
	})
}

func TestStream(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for _, action := range []string{"count", "count_async"} {
			chunks, err := p.stream(action, 3)
			require.NoError(t, err, action)
			assert.Equal(t, []any{int64(0), int64(1), int64(2)}, chunks, action)

			chunks, err = p.stream(action, 0)
			require.NoError(t, err, action)
			assert.Empty(t, chunks, action)
		}
		values := []any{nil, true, int64(-1), 1.5, []byte{0, 255}, "text", []any{}, map[string]any{"k": nil}}
		chunks, err := p.stream("chunks", values)
		require.NoError(t, err)
		assert.Equal(t, values, chunks)

		chunks, err = p.stream("count", 2000)
		require.NoError(t, err)
		assert.Len(t, chunks, 2000)
	})
}

// TestStreamBreaksOff: an error ends a stream and leaves the connection usable.
func TestStreamBreaksOff(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		for _, action := range []string{"break_off", "break_off_async"} {
			chunks, err := p.stream(action, 2)
			require.ErrorIs(t, err, dirty.ErrApp, action)
			assert.ErrorContains(t, err, "broke off", action)
			assert.Equal(t, []any{int64(0), int64(1)}, chunks, action)
		}
		chunks, err := p.stream("bad_chunk")
		require.ErrorIs(t, err, dirty.ErrApp)
		assert.Equal(t, []any{"good"}, chunks)
		assert.Equal(t, "still here", p.call("identity", "still here"))
	})
}
