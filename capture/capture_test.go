package capture_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/capture"
)

// golden is written out so that a change of the format cannot go unseen.
const golden = "GDCAP\x00\x01\n" +
	">\x00\x00\x00\x01\x00\x00\x00\x03abc" +
	"<\x00\x00\x01\x00\x00\x00\x00\x01d"

func TestGolden(t *testing.T) {
	var b bytes.Buffer
	w, err := capture.NewWriter(&b)
	require.NoError(t, err)
	require.NoError(t, w.Write(capture.ToArbiter, 1, []byte("abc")))
	require.NoError(t, w.Write(capture.ToArbiter, 1, nil))
	require.NoError(t, w.Write(capture.FromArbiter, 256, []byte("d")))
	assert.Equal(t, golden, b.String())

	// Any chunking of the reads gives the same records.
	for _, src := range []io.Reader{strings.NewReader(golden), iotest.OneByteReader(strings.NewReader(golden)), iotest.DataErrReader(strings.NewReader(golden))} {
		r := capture.NewReader(src)
		rec, err := r.Next()
		require.NoError(t, err)
		assert.Equal(t, capture.Record{Direction: capture.ToArbiter, Conn: 1, Data: []byte("abc"), Offset: 17}, rec)
		rec, err = r.Next()
		require.NoError(t, err)
		assert.Equal(t, capture.Record{Direction: capture.FromArbiter, Conn: 256, Data: []byte("d"), Offset: 29}, rec)
		for range 2 {
			_, err = r.Next()
			assert.Equal(t, io.EOF, err)
		}
	}
}

func TestDirectionString(t *testing.T) {
	assert.Equal(t, ">", capture.ToArbiter.String())
	assert.Equal(t, "<", capture.FromArbiter.String())
	assert.Equal(t, "Direction(0x3f)", capture.Direction('?').String())
}
