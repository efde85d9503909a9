package dirty_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The folder interop has one more target, FuzzOracle, which compares with gunicorn.

// addVectors seeds a target with some of the vectors in the files, so that it still
// runs fast.
func addVectors(f *testing.F, files ...string) {
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("testdata", "vectors", file))
		require.NoError(f, err)
		var content struct{ Vectors []struct{ Hex string } }
		require.NoError(f, json.Unmarshal(text, &content))
		for i, v := range content.Vectors {
			if i%7 == 0 && len(v.Hex) < 4096 {
				data, err := hex.DecodeString(v.Hex)
				require.NoError(f, err)
				f.Add(data)
			}
		}
	}
}

// FuzzUnmarshal decodes any bytes. Nothing panics and the memory is bounded. Validate
// and all ways to decode agree. What was decoded can be encoded and decoded again.
func FuzzUnmarshal(f *testing.F) {
	addVectors(f, "values.json", "decode_only.json", "bad_values.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		var (
			plain, ordered any
			before, after  runtime.MemStats
		)
		runtime.ReadMemStats(&before)
		err := dirty.Unmarshal(data, &plain)
		runtime.ReadMemStats(&after)
		// The worst shape is a dict of one entry, which turns 11 bytes into 352.
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10+64*uint64(len(data)) {
			t.Fatalf("decoding %d bytes allocates %d", len(data), used)
		}

		assert.Equal(t, err, dirty.Validate(data))
		assert.Equal(t, err, dirty.DecodeOptions{UseDict: true}.Unmarshal(data, &ordered))
		assert.NotEmpty(t, dirty.Diagnose(data))
		d := dirty.NewDecoder(data)
		raw, skipErr := d.Raw()
		if err != nil {
			checkFault(t, err, data)
			assert.Nil(t, plain)
			var fault *dirty.ProtocolError
			if trailing := errors.Is(err, dirty.ErrTrailingData); trailing {
				assert.NoError(t, skipErr)
			} else if !errors.As(err, &fault) || fault.Rule != "decoded size (Limits.MaxMemory)" {
				assert.Error(t, skipErr)
			}
			return
		}
		assert.Equal(t, data, []byte(raw))
		assert.NoError(t, d.Finish())
		checkRoundTrip(t, plain, dirty.DecodeOptions{})
		checkRoundTrip(t, ordered, dirty.DecodeOptions{UseDict: true})
	})
}

// checkFault checks what holds for every fault of bytes.
func checkFault(t *testing.T, err error, data []byte) {
	t.Helper()
	var fault *dirty.ProtocolError
	require.ErrorAs(t, err, &fault)
	assert.GreaterOrEqual(t, fault.Offset, int64(0))
	assert.LessOrEqual(t, fault.Offset, int64(len(data)))
	assert.NotEmpty(t, fault.Rule)
	assert.False(t, !fault.Fatal && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)), "a malformed payload is no EOF")
}

// checkRoundTrip encodes what was decoded. That need not give the bytes that were
// decoded, but from then on the bytes must stay the same.
func checkRoundTrip(t *testing.T, v any, opts dirty.DecodeOptions) {
	t.Helper()
	first, err := deep.Marshal(v)
	require.NoError(t, err)
	var again any
	require.NoError(t, opts.Unmarshal(first, &again))
	second, err := deep.Marshal(again)
	require.NoError(t, err)
	assert.Equal(t, first, second)
}

// fuzzTarget has a field of every kind, and contains itself.
type fuzzTarget struct {
	Bool    bool             `dirty:"a"`
	Int8    int8             `dirty:"b"`
	Uint64  uint64           `dirty:"c"`
	Float32 float32          `dirty:"d"`
	Float64 *float64         `dirty:"e"`
	String  string           `dirty:"f"`
	Bytes   []byte           `dirty:"g"`
	Array   [3]byte          `dirty:"h"`
	Ints    []int            `dirty:"i"`
	Texts   []string         `dirty:"j"`
	Fixed   [2]any           `dirty:"k"`
	Map     map[string]int   `dirty:"l"`
	Numbers map[int]float64  `dirty:"m"`
	Any     any              `dirty:"n"`
	Dict    dirty.Dict       `dirty:"o"`
	Raw     dirty.RawValue   `dirty:"p"`
	Self    *fuzzTarget      `dirty:"q"`
	List    []fuzzTarget     `dirty:"r"`
	Flags   map[bool]*string `dirty:"s"`
}

// FuzzTyped decodes any bytes into Go types. Nothing panics, errors have the right
// type, and what was decoded can be encoded and decoded again.
func FuzzTyped(f *testing.F) {
	addVectors(f, "values.json", "bad_values.json")
	for _, key := range "abcdefghijklmnopqrs" {
		for _, v := range []any{nil, true, 1, -1, 1.0, 1e300, "x", []byte("abc"), []any{}, []any{1, 2.5}, map[string]any{"1": 1}, map[string]any{"True": "x"}} {
			data, err := dirty.Marshal(map[string]any{string(key): v, "A": v})
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		targets := []func() any{
			func() any { return new(fuzzTarget) }, func() any { return new([]fuzzTarget) }, func() any { return new(map[string]fuzzTarget) },
			func() any { return new([]float64) }, func() any { return new([]int64) }, func() any { return new([]string) },
			func() any { return new(int) }, func() any { return new(string) }, func() any { return new(dirty.Dict) },
		}
		for _, target := range targets {
			v := target()
			if err := dirty.Unmarshal(data, v); err != nil {
				var mismatch *dirty.UnmarshalTypeError
				if !errors.As(err, &mismatch) {
					assert.Equal(t, dirty.Validate(data), err)
				}
				continue
			}
			first, err := deep.Marshal(v)
			if errors.Is(err, dirty.ErrOverflow) {
				continue // a float can be a uint64 that no int64 holds
			}
			require.NoError(t, err)
			again := target()
			require.NoError(t, dirty.Unmarshal(first, again))
			second, err := deep.Marshal(again)
			require.NoError(t, err)
			assert.Equal(t, first, second)
		}
	})
}

// FuzzHeader parses any bytes as a header. A header that is accepted is encoded to the
// same bytes.
func FuzzHeader(f *testing.F) {
	addVectors(f, "headers.json", "bad_headers.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := dirty.ParseHeader(data)
		if err != nil {
			checkFault(t, err, data)
			return
		}
		b, err := h.MarshalBinary()
		require.NoError(t, err)
		assert.Equal(t, data[:dirty.HeaderSize], b)
	})
}

// FuzzMessage decodes any bytes as a message. The message agrees with the frame, and it
// can be encoded and decoded again.
func FuzzMessage(f *testing.F) {
	addVectors(f, "messages.json", "bad_messages.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := dirty.DecodeOptions{UseDict: true}
		m, n, err := opts.DecodeMessage(data)
		if err != nil {
			checkFault(t, err, data)
			assert.Nil(t, m)
			return
		}
		var frame dirty.Frame
		require.NoError(t, frame.UnmarshalBinary(data[:n]))
		assert.Equal(t, frame.RequestID, m.RequestID())
		assert.Equal(t, frame.Type, m.Type())

		first, err := deep.AppendMessage(nil, m)
		require.NoError(t, err)
		again, size, err := opts.DecodeMessage(first)
		require.NoError(t, err)
		assert.Equal(t, len(first), size)
		second, err := deep.AppendMessage(nil, again)
		require.NoError(t, err)
		assert.Equal(t, first, second)
	})
}

// FuzzReader reads any bytes as a stream, in pieces of any size. The result does not
// depend on the sizes.
func FuzzReader(f *testing.F) {
	addVectors(f, "messages.json", "bad_messages.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		cuts := data
		want := readAll(dirty.NewReader(bytes.NewReader(data)))
		for name, r := range map[string]io.Reader{
			"one byte": iotest.OneByteReader(bytes.NewReader(data)),
			"half":     iotest.HalfReader(bytes.NewReader(data)),
			"with EOF": iotest.DataErrReader(bytes.NewReader(data)),
			"random":   &cutReader{data: data, cuts: cuts},
		} {
			assert.Equal(t, want, readAll(dirty.NewReader(r)), name)
		}
		small := dirty.NewReader(bytes.NewReader(data), dirty.WithBufferSize(1))
		assert.Equal(t, want, readAll(small), "small buffer")
	})
}

// readAll returns the messages and errors of a Reader up to the first fatal one.
func readAll(r *dirty.Reader) (story []string) {
	for {
		m, err := r.ReadMessage()
		var fault *dirty.ProtocolError
		switch {
		case err == nil:
			b, err := deep.AppendMessage(nil, m)
			story = append(story, string(b))
			if err != nil {
				return append(story, err.Error())
			}
		case errors.As(err, &fault) && !fault.Fatal:
			story = append(story, err.Error())
		default:
			return append(story, err.Error())
		}
	}
}

// cutReader returns its data in pieces whose sizes come from cuts.
type cutReader struct {
	data, cuts []byte
	i          int
}

func (r *cutReader) Read(b []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	size := 1 + int(r.cuts[r.i%len(r.cuts)])%17
	r.i++
	n := copy(b[:min(size, len(b))], r.data)
	r.data = r.data[n:]
	return n, nil
}
