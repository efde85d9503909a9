package dirty_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/capture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errorKinds are the kinds of errors that a recorded session has.
var errorKinds = []error{
	dirty.ErrApp, dirty.ErrNoWorkers, dirty.ErrPeerTimeout, dirty.ErrWorker, dirty.ErrKeyNotFound, dirty.ErrTableNotFound,
}

// TestSessions decodes what gunicorn's own clients and a real arbiter said to
// each other, and encodes it again to the same bytes. Each session has everything
// that can be said.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "sessions", "*.bin"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			types := map[dirty.MessageType]bool{}
			ops := map[dirty.StashOp]bool{}
			kinds := map[error]bool{}
			for _, stream := range readStreams(t, file) {
				for _, m := range decodeAndEncode(t, stream) {
					types[m.Type()] = true
					switch m := m.(type) {
					case *dirty.StashRequest:
						ops[m.Op] = true
					case *dirty.ErrorReply:
						for _, kind := range errorKinds {
							kinds[kind] = kinds[kind] || errors.Is(m.Err, kind)
						}
					}
				}
			}
			for n := range 256 {
				typ := dirty.MessageType(n)
				_, err := dirty.ParseMessageType(typ.String())
				assert.Equal(t, err == nil, types[typ], "%v", typ)
			}
			for op := dirty.StashPut; op <= dirty.StashExists; op++ {
				assert.True(t, ops[op], "no stash %v", op)
			}
			for _, kind := range errorKinds {
				assert.True(t, kinds[kind], "no error of the kind %v", kind)
			}
		})
	}
}

// decodeAndEncode decodes the messages of a stream, and checks that each is
// encoded to the bytes that it was decoded from.
func decodeAndEncode(t *testing.T, stream []byte) []dirty.Message {
	t.Helper()
	var messages []dirty.Message
	r := dirty.NewReader(bytes.NewReader(stream), dirty.WithDict())
	for {
		begin := r.Offset()
		m, err := r.ReadMessage()
		if err == io.EOF {
			return messages
		}
		require.NoError(t, err)
		again, err := dirty.AppendMessage(nil, m)
		require.NoError(t, err)
		assert.Equal(t, stream[begin:r.Offset()], again, "%v at %d", m.Type(), begin)
		messages = append(messages, m)
	}
}

// oneWay is one direction of one connection.
type oneWay struct {
	conn      uint32
	direction byte
}

// readStreams returns the bytes that went each way.
func readStreams(t *testing.T, file string) map[oneWay][]byte {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	streams := map[oneWay][]byte{}
	r := capture.NewReader(f)
	for {
		record, err := r.Next()
		if err == io.EOF {
			return streams
		}
		require.NoError(t, err)
		way := oneWay{record.Conn, byte(record.Direction)}
		streams[way] = append(streams[way], record.Data...)
	}
}
