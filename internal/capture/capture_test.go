package capture_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/internal/capture"
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

func TestTruncatedAtEveryByte(t *testing.T) {
	borders := map[int]bool{len(capture.Magic): true, 20: true, len(golden): true}
	for n := range len(golden) + 1 {
		r := capture.NewReader(strings.NewReader(golden[:n]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if borders[n] {
			assert.Equal(t, io.EOF, err, "cut at %d", n)
			continue
		}
		var fe *capture.FormatError
		require.ErrorAs(t, err, &fe, "cut at %d", n)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, int64(n), fe.Offset)
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name, in, reason string
		offset           int64
	}{
		{"frame", "GD\x01\x11\x00\x00\x00\x00", "bad magic", 0},
		{"short, other", "XX", "bad magic", 0},
		{"version", "GDCAP\x00\x02\n", "version", 5},
		{"direction", capture.Magic + "?\x00\x00\x00\x01\x00\x00\x00\x01a", "direction 0x3f", 8},
		{"connection", capture.Magic + ">\x00\x00\x00\x00\x00\x00\x00\x01a", "connection 0", 9},
		{"empty record", capture.Magic + ">\x00\x00\x00\x01\x00\x00\x00\x00", "record of 0 bytes", 13},
		{"large record", capture.Magic + ">\x00\x00\x00\x01\x00\x10\x00\x01a", "record of 1048577 bytes", 13},
		{"huge record", capture.Magic + "<\x00\x00\x00\x01\xff\xff\xff\xff", "record of 4294967295 bytes", 13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := capture.NewReader(strings.NewReader(tt.in))
			_, err := r.Next()
			var fe *capture.FormatError
			require.ErrorAs(t, err, &fe)
			assert.Equal(t, tt.offset, fe.Offset)
			assert.Contains(t, err.Error(), tt.reason)
			_, again := r.Next()
			assert.Equal(t, err, again, "errors are final")
		})
	}
}

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

// An announced megabyte that is not there must not be allocated.
func TestAllocatesWhatIsThere(t *testing.T) {
	in := capture.Magic + ">\x00\x00\x00\x01\x00\x10\x00\x00abc"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := capture.NewReader(strings.NewReader(in)).Next()
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
}

func TestErrorsOfTheUnderlying(t *testing.T) {
	boom := errors.New("boom")
	r := capture.NewReader(io.MultiReader(strings.NewReader(golden[:22]), iotest.ErrReader(boom)))
	_, err := r.Next()
	require.NoError(t, err)
	_, err = r.Next()
	require.ErrorIs(t, err, boom)
	assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)

	_, err = capture.NewWriter(failAfter(0))
	require.Error(t, err)
	w, err := capture.NewWriter(failAfter(1))
	require.NoError(t, err)
	require.Error(t, w.Write('?', 1, []byte("a")))
	require.Error(t, w.Write(capture.ToArbiter, 0, []byte("a")))
	err = w.Write(capture.ToArbiter, 1, []byte("a"))
	require.ErrorIs(t, err, io.ErrShortWrite)
	assert.Equal(t, err, w.Write(capture.ToArbiter, 1, []byte("a")))
	assert.Equal(t, "Direction(0x3f)", capture.Direction('?').String())
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

// failAfter is a writer that accepts so many writes.
func failAfter(n int) io.Writer { return &limited{n} }

type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n--; l.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(golden[:25]))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := capture.NewReader(bytes.NewReader(in))
		var out bytes.Buffer
		w, err := capture.NewWriter(&out)
		require.NoError(t, err)
		for {
			rec, err := r.Next()
			if err == nil {
				require.Equal(t, rec.Data, in[rec.Offset:rec.Offset+int64(len(rec.Data))])
				require.NoError(t, w.Write(rec.Direction, rec.Conn, rec.Data))
				continue
			}
			if err == io.EOF {
				require.Equal(t, in, out.Bytes(), "a whole capture is written back as it was")
			}
			return
		}
	})
}
