package dirty_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/capture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSessions decodes what gunicorn's own clients and a real arbiter said to
// each other, and encodes it again to the same bytes.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "sessions", "*.bin"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			seen := map[dirty.MessageType]int{}
			stashOps := map[dirty.StashOp]bool{}
			kinds := map[error]bool{}
			for _, stream := range streamsOf(t, file) {
				r := dirty.NewReader(bytes.NewReader(stream), dirty.WithDict())
				for {
					begin := r.Offset()
					m, err := r.ReadMessage()
					if err == io.EOF {
						break
					}
					require.NoError(t, err)
					seen[m.Type()]++
					again, err := dirty.AppendMessage(nil, m)
					require.NoError(t, err)
					assert.Equal(t, stream[begin:r.Offset()], again, "%v at %d", m.Type(), begin)
					switch m := m.(type) {
					case *dirty.StashRequest:
						stashOps[m.Op] = true
					case *dirty.ErrorReply:
						for _, kind := range []error{dirty.ErrApp, dirty.ErrNoWorkers, dirty.ErrPeerTimeout, dirty.ErrWorker, dirty.ErrKeyNotFound, dirty.ErrTableNotFound} {
							kinds[kind] = kinds[kind] || errors.Is(m.Err, kind)
						}
					}
				}
			}
			for typ := range 256 {
				if typ := dirty.MessageType(typ); typ.String()[0] != 'M' {
					assert.NotZero(t, seen[typ], "no %v", typ)
				}
			}
			for op := dirty.StashPut; op <= dirty.StashExists; op++ {
				assert.True(t, stashOps[op], "no stash %v", op)
			}
			for kind, met := range kinds {
				assert.True(t, met, "no error of the kind %v", kind)
			}
		})
	}
}

// streamsOf returns the bytes of each direction of each connection.
func streamsOf(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	streams := map[string][]byte{}
	r := capture.NewReader(f)
	for {
		record, err := r.Next()
		if err == io.EOF {
			return streams
		}
		require.NoError(t, err)
		key := string(rune(record.Direction)) + string(rune(record.Conn))
		streams[key] = append(streams[key], record.Data...)
	}
}
