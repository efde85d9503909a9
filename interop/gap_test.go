//go:build unix

package interop

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	goserver "github.com/gunicorn-go/dirty/server"
)

// TestPythonStreamGap: gunicorn's synchronous client before 27.0 gives up on a stream
// after 5 s without a chunk, and takes the late chunk for the reply to its next call.
// docs/DIFFERENCES.md and server.StreamFunc tell users of it.
func TestPythonStreamGap(t *testing.T) {
	t.Parallel()
	const gap = 6500 * time.Millisecond
	mux := goserver.NewMux()
	mux.Handle("go:App", "gap", goserver.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if !yield("early", nil) {
				return
			}
			select {
			case <-time.After(gap):
				yield("late", nil)
			case <-ctx.Done():
			}
		}
	}))
	mux.Handle("go:App", "next", goserver.Func(func(context.Context, struct{}) (string, error) { return "next", nil }))
	socket := filepath.Join(shortFolder(t), "arbiter.sock")
	serveAt(t, socket, mux)
	eachPython(t, func(t *testing.T, p python) {
		cmd := exec.CommandContext(newLongContext(t), p.path, "-B", "gap.py", socket)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		var got []any
		require.NoError(t, json.Unmarshal(out, &got))
		want := []any{[]any{"early", "late"}, "complete", "next"}
		if p.release < "27" {
			want = []any{[]any{"early"}, "gave up", "Unknown response type: chunk"}
		}
		assert.Equal(t, want, got)
	})
}
