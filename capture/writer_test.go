package capture_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/capture"
)

func TestLongDataIsSplit(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (2*capture.MaxRecord+16)/16)
	var b bytes.Buffer
	w, err := capture.NewWriter(&b)
	require.NoError(t, err)
	require.NoError(t, w.Write(capture.ToArbiter, 7, data))
	r := capture.NewReader(&b)
	var got []byte
	var sizes []int
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		sizes = append(sizes, len(rec.Data))
		got = append(got, rec.Data...)
	}
	assert.Equal(t, []int{capture.MaxRecord, capture.MaxRecord, 16}, sizes)
	assert.True(t, bytes.Equal(data, got))
}

func TestConcurrentWrites(t *testing.T) {
	var b bytes.Buffer
	w, err := capture.NewWriter(&b)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for conn := range uint32(4) {
		wg.Go(func() {
			for range 50 {
				assert.NoError(t, w.Write(capture.FromArbiter, conn+1, bytes.Repeat([]byte{byte(conn)}, 100)))
			}
		})
	}
	wg.Wait()
	r := capture.NewReader(&b)
	n := 0
	for ; ; n++ {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		assert.Equal(t, bytes.Repeat([]byte{byte(rec.Conn - 1)}, 100), rec.Data)
	}
	assert.Equal(t, 200, n)
}

func TestWriteErrors(t *testing.T) {
	_, err := capture.NewWriter(&failingWriter{})
	require.ErrorIs(t, err, errFull)
	w, err := capture.NewWriter(&failingWriter{left: 1})
	require.NoError(t, err)
	require.ErrorContains(t, w.Write('?', 1, []byte("a")), "Direction(0x3f)")
	require.ErrorContains(t, w.Write(capture.ToArbiter, 0, []byte("a")), "from 1")
	for range 2 {
		require.ErrorIs(t, w.Write(capture.ToArbiter, 1, []byte("a")), errFull)
	}
}

var errFull = errors.New("full")

// failingWriter accepts a number of writes and fails after them.
type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}
