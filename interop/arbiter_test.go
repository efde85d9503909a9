//go:build unix

package interop

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
)

func (p *peer) status() map[string]any {
	p.t.Helper()
	result, err := p.send(dirty.NewStatusRequest(p.nextID()))
	require.NoError(p.t, err)
	require.IsType(p.t, map[string]any{}, result)
	return result.(map[string]any)
}

func TestStatus(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		pid := g.pidOfLivingWorker(t)
		status := g.dial(t).status()
		assert.IsType(t, int64(0), status["arbiter_pid"])
		assert.Equal(t, int64(1), status["worker_count"])
		assert.Equal(t, []any{app}, status["apps"])

		require.Len(t, status["workers"], 1)
		require.IsType(t, map[string]any{}, status["workers"].([]any)[0])
		worker := status["workers"].([]any)[0].(map[string]any)
		assert.Equal(t, pid, worker["pid"])
		assert.Equal(t, []any{app}, worker["apps"])
		assert.IsType(t, int64(0), worker["age"])
		assert.IsType(t, false, worker["booted"])
		assert.IsType(t, 0.0, worker["last_heartbeat"])
	})
}

// TestPIDFileMode: from 27.0 on only gunicorn's own user can read the pid file.
// Before, that depends on the umask.
func TestPIDFileMode(t *testing.T) {
	eachRelease(t, func(t *testing.T, g *gunicorn) {
		info, err := os.Lstat(g.pidFile())
		require.NoError(t, err)
		assert.True(t, info.Mode().IsRegular())
		if g.release >= "27" {
			assert.Equal(t, fs.FileMode(0o600), info.Mode())
		}
	})
}

// TestManage has servers of its own, because a removed worker takes a while to end
// and may lose the requests of others.
func TestManage(t *testing.T) {
	eachFresh(t, options{}, func(t *testing.T, g *gunicorn) {
		p := g.dial(t)
		result, err := p.send(dirty.NewManageRequest(p.nextID(), dirty.ManageAdd, 2))
		require.NoError(t, err)
		require.IsType(t, map[string]any{}, result)
		added := result.(map[string]any)
		assert.Equal(t, true, added["success"])
		assert.Equal(t, "add", added["operation"])
		assert.Equal(t, int64(2), added["spawned"])
		assert.Equal(t, int64(3), p.status()["worker_count"])

		result, err = p.send(dirty.NewManageRequest(p.nextID(), dirty.ManageRemove, 2))
		require.NoError(t, err)
		require.IsType(t, map[string]any{}, result)
		removed := result.(map[string]any)
		assert.Equal(t, "remove", removed["operation"])
		assert.Equal(t, int64(2), removed["removed"])

		_, err = p.send(dirty.NewManageRequest(p.nextID(), 9, 1))
		requireKind(t, nil, err)
		assert.ErrorContains(t, err, "Unknown manage operation: 9")
	})
}
