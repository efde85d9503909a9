package dirty_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var allKinds = []error{dirty.ErrPeerTimeout, dirty.ErrPeerConnection, dirty.ErrWorker, dirty.ErrApp, dirty.ErrAppNotFound, dirty.ErrNoWorkers, dirty.ErrPeerProtocol, dirty.ErrKeyNotFound, dirty.ErrTableNotFound}

// TestSentinels checks that no two sentinels match each other.
func TestSentinels(t *testing.T) {
	all := append([]error{dirty.ErrBadMagic, dirty.ErrBadVersion, dirty.ErrUnknownType, dirty.ErrTooLarge, dirty.ErrTooDeep, dirty.ErrMalformed, dirty.ErrTrailingData,
		dirty.ErrInvalidUTF8, dirty.ErrUnsupportedType, dirty.ErrOverflow, dirty.ErrTypeMismatch, dirty.ErrUnknownField, io.EOF, io.ErrUnexpectedEOF}, allKinds...)
	for i, a := range all {
		for j, b := range all {
			assert.Equal(t, i == j, errors.Is(a, b), "%v is %v", a, b)
		}
		if i < 12 || i > 13 {
			assert.True(t, strings.HasPrefix(a.Error(), "dirty: "), a)
		}
	}
}

// TestErrorTexts checks one text of each type of error.
func TestErrorTexts(t *testing.T) {
	_, header := dirty.ParseHeader(make([]byte, 16))
	_, version := dirty.ParseHeader([]byte("GD\x02\x01000000000000"))
	_, short := dirty.ParseHeader([]byte("GD"))
	_, marshal := dirty.Marshal([]any{map[string]any{"f": func() {}}})
	_, overflow := dirty.Marshal(^uint64(0))
	_, failed := dirty.Marshal(eOut{func([]byte) ([]byte, error) { return nil, errBoom }})
	for want, err := range map[string]error{
		"dirty: bad magic: magic at offset 0: found 0x00, want 0x4744":                                 header,
		"dirty: unsupported version: version at offset 2: found 2, want 1":                             version,
		"dirty: unexpected EOF: header length at offset 0: found 2, want 16":                           short,
		"dirty: too large: list count at offset 5 ([0]): found 4294967295, want 1048576":               dirty.Validate([]byte("\x20\x00\x00\x00\x01\x20\xff\xff\xff\xff")),
		"dirty: unsupported type: Go value of type func() at [0].f":                                    marshal,
		"dirty: overflow: Go value of type uint64: it is above the largest int64, 9223372036854775807": overflow,
		"dirty: type mismatch: cannot decode string at offset 5 ([0]) into Go value of type int":       dirty.Unmarshal(mustMarshal(t, []any{"s"}), new([]int)),
		"dirty: boom: Go value of type dirty_test.eOut: AppendTLV failed":                              failed,
		// The zero values have texts too.
		"dirty: unknown error:  at offset 0":                   new(dirty.ProtocolError),
		"dirty: unknown error":                                 new(dirty.MarshalError),
		"dirty: unknown error: cannot decode None at offset 0": new(dirty.UnmarshalTypeError),
		"dirty: DirtyError: ":                                  new(dirty.RemoteError),
	} {
		assert.EqualError(t, err, want)
	}
}

// TestNothingWritten checks that only errors from before the first byte count.
func TestNothingWritten(t *testing.T) {
	refused := dirty.NewWriter(io.Discard).WriteMessage(dirty.NewChunk(1, make(chan int)))
	require.Error(t, refused)
	assert.True(t, dirty.NothingWritten(refused))
	assert.True(t, dirty.NothingWritten(fmt.Errorf("more: %w", refused)))
	broken := dirty.NewWriter(&failingWriter{}).WriteMessage(dirty.NewEnd(1))
	require.Error(t, broken)
	assert.False(t, dirty.NothingWritten(broken))
	assert.False(t, dirty.NothingWritten(nil))
}

type failingWriter struct{}

func (*failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestErrorsHideValues checks that no error shows a value of the data.
func TestErrorsHideValues(t *testing.T) {
	secret := "hunter2"
	var dst struct{ A []int }
	for _, data := range [][]byte{
		dirty.AppendString(nil, secret+"\xff"),
		join(dirty.AppendString(nil, secret), "\x00"),
		dirty.AppendString(nil, secret),
		mustMarshal(t, map[string]any{"A": secret}),
		mustMarshal(t, map[string]any{"A": []any{secret}}),
	} {
		err := dirty.Unmarshal(data, &dst)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret)
	}
	_, err := dirty.Marshal([]any{secret + "\xff"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret)
	assert.True(t, errors.Is(err, dirty.ErrInvalidUTF8))
}
