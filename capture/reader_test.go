package capture_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/capture"
)

// TestTruncatedAtEveryByte: whatever of a record is there is returned before
// the error.
func TestTruncatedAtEveryByte(t *testing.T) {
	borders := map[int]bool{len(capture.Magic): true, 20: true, len(golden): true}
	for n := range len(golden) + 1 {
		r := capture.NewReader(strings.NewReader(golden[:n]))
		var data string
		var err error
		for err == nil {
			var rec capture.Record
			rec, err = r.Next()
			data += string(rec.Data)
		}
		assert.Equal(t, golden[17:max(17, min(n, 20))]+golden[29:max(29, n)], data, "cut at %d", n)
		_, again := r.Next()
		assert.Equal(t, err, again)
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

// TestAllocatesWhatIsThere: a record that announces a megabyte allocates no
// more than a little, as long as the bytes do not come.
func TestAllocatesWhatIsThere(t *testing.T) {
	in := capture.Magic + ">\x00\x00\x00\x01\x00\x10\x00\x00abc"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := capture.NewReader(strings.NewReader(in))
	rec, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, "abc", string(rec.Data))
	_, err = r.Next()
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
}

// TestReadErrors: an error of the underlying reader comes after the bytes that
// it gave, and is not taken for the end of the capture.
func TestReadErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		n    int
		data string
	}{{4, ""}, {8, ""}, {12, ""}, {17, ""}, {19, "ab"}, {20, "abc"}, {22, "abc"}} {
		r := capture.NewReader(io.MultiReader(strings.NewReader(golden[:tt.n]), iotest.ErrReader(boom)))
		if tt.data != "" {
			rec, err := r.Next()
			require.NoError(t, err)
			assert.Equal(t, tt.data, string(rec.Data))
		}
		_, err := r.Next()
		require.ErrorIs(t, err, boom, "after %d bytes", tt.n)
		assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(golden[:25]))
	f.Add([]byte(golden[:18]))
	f.Add([]byte(capture.Magic + ">\x00\x00\x00\x01\xff\xff\xff\xff"))
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
