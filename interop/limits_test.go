//go:build unix

package interop

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

// room returns how many bytes the argument may have in a request of the largest size.
func room(t *testing.T, action string) int {
	t.Helper()
	frame, err := dirty.AppendMessage(nil, dirty.NewRequest(0, app, action, []any{[]byte{}}, nil))
	require.NoError(t, err)
	return dirty.MaxPayloadSize - (len(frame) - dirty.HeaderSize)
}

// TestLargestRequest: a request of 64 MiB arrives. One byte more is refused on our
// side, before anything is written.
func TestLargestRequest(t *testing.T) {
	skipIfShort(t)
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		argument := make([]byte, room(t, "size")+1)
		assert.Equal(t, int64(len(argument)-1), p.call("size", argument[1:]))

		_, err := p.try("size", argument)
		require.ErrorIs(t, err, dirty.ErrTooLarge)
		require.NotErrorAs(t, err, new(*dirty.RemoteError))
		assert.Equal(t, "usable", p.call("identity", "usable"))
	})
}

// TestLargestResponse: a response of 64 MiB arrives. With one byte more, an error does.
func TestLargestResponse(t *testing.T) {
	skipIfShort(t)
	const overhead = 21 // of {"result": bytes}
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		result := p.call("zeros", dirty.MaxPayloadSize-overhead)
		require.IsType(t, []byte{}, result)
		assert.Len(t, result, dirty.MaxPayloadSize-overhead)

		remote := p.fail("zeros", dirty.MaxPayloadSize-overhead+1)
		requireKind(t, dirty.ErrWorker, remote)
		assert.Contains(t, remote.Message, "Message too large: 67108865 bytes")

		remote = p.fail("zeros", dirty.MaxPayloadSize+1)
		requireKind(t, dirty.ErrApp, remote)
		assert.Contains(t, remote.Message, "Bytes too large: 67108865 bytes")
		assert.Equal(t, "usable", p.call("identity", "usable"))
	})
}

func TestLargestList(t *testing.T) {
	skipIfShort(t)
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		list := make([]any, dirty.MaxElements+1)
		assert.Equal(t, int64(dirty.MaxElements), p.call("size", list[1:]))
		_, err := p.try("size", list)
		require.ErrorIs(t, err, dirty.ErrTooLarge)
		require.NotErrorAs(t, err, new(*dirty.RemoteError))

		assert.Len(t, p.call("nones", dirty.MaxElements), dirty.MaxElements)
		requireKind(t, dirty.ErrApp, p.fail("nones", dirty.MaxElements+1))
	})
}

func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("moves 64 MiB")
	}
}

// nested returns lists inside each other, to this depth.
func nested(depth int) any {
	value := []any{}
	for range depth - 1 {
		value = []any{value}
	}
	return value
}

func depthOf(value any) int {
	depth := 0
	for {
		list, ok := value.([]any)
		if !ok {
			return depth
		}
		depth++
		if len(list) == 0 {
			return depth
		}
		value = list[0]
	}
}

// TestDepthOfRequests: what our default allows to send arrives. Deeper values are
// refused on our side. The payload and its list of arguments take two levels.
func TestDepthOfRequests(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		const deepest = dirty.DefaultMaxEncodeDepth - 2
		assert.Equal(t, int64(deepest), p.call("depth", nested(deepest)))
		_, err := p.try("depth", nested(deepest+1))
		require.ErrorIs(t, err, dirty.ErrTooDeep)
		assert.Equal(t, "usable", p.call("identity", "usable"))

		// Without our limit a little deeper values still arrive. Beyond that gunicorn
		// closes the connection, or says that its worker did.
		p = g.dial(t, dirty.WithLimits(dirty.Limits{MaxDepth: 2000}))
		assert.Equal(t, int64(950), p.call("depth", nested(950)))
		_, err = p.try("depth", nested(1500))
		require.Error(t, err)
	})
}

// TestDepthOfResponses: our defaults read whatever gunicorn can send.
func TestDepthOfResponses(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		deepest := 0
		for depth := 900; ; depth++ {
			result, err := p.try("nested", depth)
			if err != nil {
				var remote *dirty.RemoteError
				require.ErrorAs(t, err, &remote)
				break
			}
			require.Equal(t, depth, depthOf(result))
			deepest = depth
		}
		t.Logf("deepest result: %d levels", deepest)
		assert.Greater(t, deepest, 950)
		assert.Less(t, deepest, dirty.DefaultMaxDepth)
		g.pidOfLivingWorker(t)
	})
}

// TestDepthOfStash: the arbiter has a little more stack left than its workers.
func TestDepthOfStash(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		p := g.dial(t, dirty.WithLimits(dirty.Limits{MaxDepth: dirty.DefaultMaxDepth}))
		deepest := 0
		for depth := 900; ; depth++ {
			_, err := p.send(dirty.NewStashRequest(p.nextID(), dirty.StashPut, "deep", "k", nested(depth), ""))
			if err != nil {
				require.NotErrorIs(t, err, dirty.ErrTooDeep)
				break // it closes the connection
			}
			result, err := p.send(dirty.NewStashRequest(p.nextID(), dirty.StashGet, "deep", "k", nil, ""))
			if remote := (*dirty.RemoteError)(nil); errors.As(err, &remote) {
				break // it can store what it cannot send
			}
			require.NoError(t, err)
			require.Equal(t, depth, depthOf(result))
			deepest = depth
		}
		t.Logf("deepest stash value: %d levels", deepest)
		assert.Greater(t, deepest, 950)
		g.dial(t).stash(dirty.StashDeleteTable, "deep", nil, nil, "")
	})
}
