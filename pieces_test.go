package dirty_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frameOfSize is a frame with bytes that differ.
func frameOfSize(n int) (f dirty.Frame, b []byte) {
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i*i>>8 + i)
	}
	f = dirty.Frame{Header: dirty.Header{Type: dirty.TypeResponse, Length: uint32(n), RequestID: 9}, Payload: payload}
	b, err := f.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return f, b
}

// TestReadPayload checks that a payload comes whole in pieces of all sizes, and the next
// frame after it.
func TestReadPayload(t *testing.T) {
	for _, size := range []int{0, 1, 5, 4 << 10, 64<<10 - 16, 64 << 10, 200 << 10} {
		for _, piece := range []int{1, 1000, 64 << 10, 1 << 20} {
			if size/piece > 10000 {
				continue
			}
			for name, stream := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "with the error": iotest.DataErrReader, "in halves": iotest.HalfReader,
			} {
				want, b := frameOfSize(size)
				next, more := frameOfSize(3)
				r := dirty.NewReader(stream(bytes.NewReader(append(b, more...))))
				h, err := r.NextHeader()
				require.NoError(t, err, name)
				require.Equal(t, want.Header, h)
				var got []byte
				buf := make([]byte, piece)
				for err == nil {
					var n int
					n, err = r.ReadPayload(buf)
					got = append(got, buf[:n]...)
				}
				require.Equal(t, io.EOF, err, name)
				require.True(t, bytes.Equal(want.Payload, got), "%s: %d bytes in pieces of %d", name, size, piece)
				require.EqualValues(t, len(b), r.Offset())
				f, err := r.ReadFrame()
				require.NoError(t, err, name)
				require.Equal(t, next, f)
				_, err = r.ReadPayload(buf)
				require.Equal(t, io.EOF, err, "there is no frame")
			}
		}
	}
}

// TestReadPayloadCut checks that a stream which ends inside a payload is a fatal error.
func TestReadPayloadCut(t *testing.T) {
	_, b := frameOfSize(100 << 10)
	for _, at := range []int{16, 17, 4 << 10, 64 << 10, len(b) - 1} {
		r := dirty.NewReader(bytes.NewReader(b[:at]))
		_, err := r.NextHeader()
		require.NoError(t, err)
		n := 0
		for buf := make([]byte, 10000); err == nil; {
			var m int
			m, err = r.ReadPayload(buf)
			n += m
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, at)
		assert.Equal(t, at-16, n)
		_, again := r.ReadFrame()
		assert.Equal(t, err, again)
	}
}

// TestReadPayloadTimeout checks that a timeout inside a payload loses nothing.
func TestReadPayloadTimeout(t *testing.T) {
	want, b := frameOfSize(100)
	near, far := net.Pipe()
	defer near.Close()
	wrote := make(chan error, 1)
	resume := make(chan struct{})
	go func() {
		_, err := far.Write(b[:50])
		<-resume
		_, rest := far.Write(b[50:])
		wrote <- errors.Join(err, rest, far.Close())
	}()
	r := dirty.NewReader(near)
	_, err := r.NextHeader()
	require.NoError(t, err)
	buf := make([]byte, 100)
	n, err := io.ReadFull(readerFunc(r.ReadPayload), buf[:34])
	require.NoError(t, err)
	require.NoError(t, near.SetReadDeadline(time.Unix(1, 0)))
	_, err = r.ReadPayload(buf[n:])
	require.Error(t, err)
	require.NoError(t, near.SetReadDeadline(time.Time{}))
	close(resume)
	_, err = io.ReadFull(readerFunc(r.ReadPayload), buf[n:])
	require.NoError(t, err)
	assert.Equal(t, []byte(want.Payload), buf)
	require.NoError(t, <-wrote)
}

// TestInPieces checks that nothing else is read or written inside a frame.
func TestInPieces(t *testing.T) {
	_, b := frameOfSize(100)
	r := dirty.NewReader(bytes.NewReader(b))
	_, err := r.NextHeader()
	require.NoError(t, err)
	_, err = r.ReadPayload(make([]byte, 1))
	require.NoError(t, err)
	for name, read := range map[string]func() error{
		"NextHeader":  func() error { _, err := r.NextHeader(); return err },
		"ReadFrame":   func() error { _, err := r.ReadFrame(); return err },
		"ReadMessage": func() error { _, err := r.ReadMessage(); return err },
	} {
		assert.ErrorContains(t, read(), "only a part of the payload", name)
	}
	_, err = io.Copy(io.Discard, readerFunc(r.ReadPayload))
	require.NoError(t, err, "the rest can be read")
	_, err = r.NextHeader()
	require.Equal(t, io.EOF, err)

	var out bytes.Buffer
	w := dirty.NewWriter(&out)
	require.NoError(t, w.WriteHeader(dirty.Header{Type: dirty.TypeChunk, Length: 3}))
	for range 2 {
		require.ErrorContains(t, w.WriteFrame(dirty.Frame{Header: dirty.Header{Type: dirty.TypeEnd}}), "only a part of the payload")
		require.ErrorContains(t, w.WriteMessage(dirty.NewEnd(1)), "only a part of the payload")
		require.ErrorContains(t, w.WriteHeader(dirty.Header{Type: dirty.TypeEnd}), "only a part of the payload")
		require.NoError(t, w.WritePayload([]byte{1}))
	}
	require.ErrorContains(t, w.WritePayload([]byte{1, 2}), "of which 1 are left")
	require.NoError(t, w.WritePayload([]byte{1}))
	require.NoError(t, w.WriteMessage(dirty.NewEnd(1)))
	assert.Equal(t, 16+3+len(frameBytes(t, dirty.NewEnd(1))), out.Len())
}

// frameBytes encodes a message.
func frameBytes(t *testing.T, m dirty.Message) []byte {
	b, err := dirty.AppendMessage(nil, m)
	require.NoError(t, err)
	return b
}

// TestWritePayload checks that a frame in pieces is the same as one at once.
func TestWritePayload(t *testing.T) {
	for _, size := range []int{0, 1, 100 << 10} {
		f, want := frameOfSize(size)
		for _, piece := range []int{1000, 1 << 20} {
			var out bytes.Buffer
			w := dirty.NewWriter(&out)
			require.NoError(t, w.WriteHeader(f.Header))
			for at := 0; at < size; at += piece {
				require.NoError(t, w.WritePayload(f.Payload[at:min(at+piece, size)]))
			}
			require.NoError(t, w.WriteFrame(f), "the next one")
			assert.True(t, bytes.Equal(append(want[:len(want):len(want)], want...), out.Bytes()))
		}
	}
}

// TestWritePayloadFails checks that a header that is refused leaves the Writer as it was,
// and that after an error inside a frame nothing can be written.
func TestWritePayloadFails(t *testing.T) {
	var out bytes.Buffer
	w := dirty.NewWriter(&out, dirty.WithLimits(dirty.Limits{MaxPayload: 10}))
	err := w.WriteHeader(dirty.Header{Type: dirty.TypeChunk, Length: 11})
	require.ErrorIs(t, err, dirty.ErrTooLarge)
	require.True(t, dirty.NothingWritten(err))
	require.ErrorIs(t, w.WriteHeader(dirty.Header{Type: 0x7f}), dirty.ErrUnknownType)
	require.Zero(t, out.Len())
	require.NoError(t, w.WriteHeader(dirty.Header{Type: dirty.TypeChunk}))

	near, far := net.Pipe()
	go func() {
		_, _ = io.ReadFull(far, make([]byte, 16))
		_ = far.Close()
	}()
	w = dirty.NewWriter(near)
	require.NoError(t, w.WriteHeader(dirty.Header{Type: dirty.TypeChunk, Length: 11}))
	err = w.WritePayload(make([]byte, 5))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	assert.Equal(t, err, w.WritePayload(make([]byte, 5)))
	assert.Equal(t, err, w.WriteMessage(dirty.NewEnd(1)))
}
