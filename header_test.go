package dirty_test

import (
	"encoding"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	_ encoding.BinaryAppender    = dirty.Header{}
	_ encoding.BinaryMarshaler   = dirty.Header{}
	_ encoding.BinaryUnmarshaler = (*dirty.Header)(nil)
	_ encoding.BinaryAppender    = dirty.Frame{}
	_ encoding.BinaryMarshaler   = dirty.Frame{}
	_ encoding.BinaryUnmarshaler = (*dirty.Frame)(nil)
)

func TestHeaderGolden(t *testing.T) {
	for _, tt := range []struct {
		h   dirty.Header
		hex string
	}{
		{dirty.Header{Type: dirty.TypeRequest}, "4744 01 01 00000000 0000000000000000"},
		{dirty.Header{Type: dirty.TypeEnd, RequestID: 1}, "4744 01 05 00000000 0000000000000001"},
		{dirty.Header{Type: dirty.TypeStash, Length: 0x01020304, RequestID: 0x0102030405060708}, "4744 01 10 01020304 0102030405060708"},
		{dirty.Header{Type: dirty.TypeManage, Length: dirty.MaxPayloadSize, RequestID: 1 << 63}, "4744 01 12 04000000 8000000000000000"},
		{dirty.Header{Type: dirty.TypeStatus, RequestID: math.MaxUint64}, "4744 01 11 00000000 ffffffffffffffff"},
		{dirty.Header{Type: dirty.TypeError, Length: 1, RequestID: 1<<63 - 1}, "4744 01 03 00000001 7fffffffffffffff"},
	} {
		want := unhex(t, tt.hex)
		b, err := tt.h.AppendBinary([]byte("x"))
		require.NoError(t, err)
		assert.Equal(t, append([]byte("x"), want...), b)
		b, err = tt.h.MarshalBinary()
		require.NoError(t, err)
		assert.Equal(t, want, b)
		h, err := dirty.ParseHeader(append(want, "rest"...))
		require.NoError(t, err)
		assert.Equal(t, tt.h, h)
		var u dirty.Header
		require.NoError(t, u.UnmarshalBinary(want))
		assert.Equal(t, tt.h, u)
		assert.ErrorIs(t, u.UnmarshalBinary(append(want, 0)), dirty.ErrTrailingData)
		assert.ErrorIs(t, u.UnmarshalBinary(want[:15]), io.ErrUnexpectedEOF)
		assert.Equal(t, tt.h, u, "unchanged on error")
	}
}

// TestHeaderFaults checks each fault by itself and together with all that are checked
// after it, which proves the order of the checks.
func TestHeaderFaults(t *testing.T) {
	for _, tt := range []struct {
		name, hex    string
		want         error
		offset       int64
		limit, found int64
		hint         string
	}{
		{"short and all else", "0000 02 00 ffffffff 00000000000000", io.ErrUnexpectedEOF, 0, 16, 15, ""},
		{"nothing", "", io.ErrUnexpectedEOF, 0, 16, 0, ""},
		{"magic and all else", "4745 02 00 ffffffff 0000000000000000", dirty.ErrBadMagic, 0, 0x4744, 0x4745, ""},
		{"magic alone", "0044 01 01 00000000 0000000000000000", dirty.ErrBadMagic, 0, 0x4744, 0x0044, ""},
		{"version and all else", "4744 02 00 ffffffff 0000000000000000", dirty.ErrBadVersion, 2, 1, 2, ""},
		{"version alone", "4744 00 01 00000000 0000000000000000", dirty.ErrBadVersion, 2, 1, 0, ""},
		{"type and length", "4744 01 00 ffffffff 0000000000000000", dirty.ErrUnknownType, 3, 0, 0, ""},
		{"type alone", "4744 01 13 00000000 0000000000000000", dirty.ErrUnknownType, 3, 0, 0x13, "0x01 to 0x05"},
		{"length", "4744 01 01 04000001 0000000000000007", dirty.ErrTooLarge, 4, 64 << 20, 64<<20 + 1, ""},
		{"the greatest length", "4744 01 01 ffffffff 0000000000000007", dirty.ErrTooLarge, 4, 64 << 20, math.MaxUint32, ""},
		{"HTTP answer", "48545450 2f312e31 2034303020426164", dirty.ErrBadMagic, 0, 0x4744, 0, "HTTP"},
		{"HTTP request", "47455420 2f204854 54502f312e310d0a", dirty.ErrBadMagic, 0, 0x4744, 0, "HTTP"},
		{"HTTP post", "504f5354 202f2048 5454502f312e310d", dirty.ErrBadMagic, 0, 0x4744, 0, "HTTP"},
		{"JSON of gunicorn 25.0", "0000002e 7b227479 7065223a20226572", dirty.ErrBadMagic, 0, 0x4744, 0, "gunicorn 25.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := dirty.ParseHeader(unhex(t, tt.hex))
			var e *dirty.ProtocolError
			require.ErrorAs(t, err, &e)
			for _, s := range []error{io.ErrUnexpectedEOF, dirty.ErrBadMagic, dirty.ErrBadVersion, dirty.ErrUnknownType, dirty.ErrTooLarge} {
				assert.Equal(t, s == tt.want, errors.Is(err, s), "%v is %v", err, s)
			}
			assert.True(t, e.Fatal)
			assert.Equal(t, tt.offset, e.Offset)
			assert.Equal(t, tt.limit, e.Limit)
			if tt.hint == "" || tt.found != 0 {
				assert.Equal(t, tt.found, e.Found)
			}
			assert.Contains(t, err.Error(), tt.hint)
			if tt.want == dirty.ErrTooLarge { // so that the request can be named
				assert.EqualValues(t, 7, h.RequestID)
				assert.Equal(t, h, e.Header)
			} else {
				assert.Zero(t, h)
			}
		})
	}
}

// TestHeaderTypes checks every type byte, encoded and decoded.
func TestHeaderTypes(t *testing.T) {
	known := map[dirty.MessageType]bool{1: true, 2: true, 3: true, 4: true, 5: true, 0x10: true, 0x11: true, 0x12: true}
	raw := unhex(t, "4744 01 00 00000000 0000000000000000")
	for i := range 256 {
		typ := dirty.MessageType(i)
		raw[3] = byte(i)
		h, err := dirty.ParseHeader(raw)
		b, appendErr := dirty.Header{Type: typ}.AppendBinary([]byte("x"))
		f, frameErr := dirty.Frame{Header: dirty.Header{Type: typ}}.AppendBinary([]byte("x"))
		_, messageErr := dirty.Frame{Header: dirty.Header{Type: typ}}.Message()
		if known[typ] {
			require.NoError(t, err)
			require.NoError(t, appendErr)
			require.NoError(t, frameErr)
			require.NoError(t, messageErr)
			assert.Equal(t, typ, h.Type)
			assert.Equal(t, raw, b[1:])
			assert.Equal(t, raw, f[1:])
			continue
		}
		for _, err := range []error{err, appendErr, frameErr, messageErr} {
			assert.ErrorIs(t, err, dirty.ErrUnknownType)
		}
		assert.Equal(t, "x", string(b), "unchanged on error")
		assert.Equal(t, "x", string(f))
	}
	b, err := dirty.Header{Type: 1, Length: dirty.MaxPayloadSize + 1}.AppendBinary([]byte("x"))
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
	assert.Equal(t, "x", string(b))
}

func TestFrameBinary(t *testing.T) {
	want := unhex(t, "4744 01 04 00000003 0000000000000009 010203")
	f := dirty.Frame{Header: dirty.Header{Type: dirty.TypeChunk, Length: 999, RequestID: 9}, Payload: dirty.RawValue{1, 2, 3}}
	b, err := f.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, want, b, "the length is that of the payload")
	b, err = f.AppendBinary([]byte("x"))
	require.NoError(t, err)
	assert.Equal(t, append([]byte("x"), want...), b)

	var got dirty.Frame
	data := append([]byte{}, want...)
	require.NoError(t, got.UnmarshalBinary(data))
	data[16] = 0xee
	f.Length = 3
	assert.Equal(t, f, got, "the payload is copied")
	before := got
	for cut := range want {
		assert.ErrorIs(t, got.UnmarshalBinary(want[:cut]), io.ErrUnexpectedEOF)
	}
	assert.ErrorIs(t, got.UnmarshalBinary(append(want, 0)), dirty.ErrTrailingData)
	assert.Equal(t, before, got, "unchanged on error")
	require.NoError(t, got.UnmarshalBinary(unhex(t, "4744 01 05 00000000 0000000000000001")))
	assert.Equal(t, dirty.Header{Type: dirty.TypeEnd, RequestID: 1}, got.Header)
	assert.Empty(t, got.Payload)

	large := dirty.Frame{Header: f.Header, Payload: make(dirty.RawValue, dirty.MaxPayloadSize+1)}
	b, err = large.AppendBinary([]byte("x"))
	assert.ErrorIs(t, err, dirty.ErrTooLarge)
	assert.Equal(t, "x", string(b))
	large.Payload = large.Payload[:dirty.MaxPayloadSize]
	b, err = large.AppendBinary(nil)
	require.NoError(t, err)
	assert.Len(t, b, dirty.HeaderSize+dirty.MaxPayloadSize)
}
